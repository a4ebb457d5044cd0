package verifier_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// V23: a reason is one of a few words, for logs and the labels of metrics, and nothing that came with the token gets into an error.
func TestV23_ErrorsAreFewAndSayNothingOfTheToken(t *testing.T) {
	// The canary stands in every place of the token that it may stand in.
	const canary = "canary0123"
	sung := offlineClaims.with("jti", `"`+canary+`"`).with("x", `"`+canary+`"`).with(canary, "1")
	kid := func(s signer, kid string) signer { s.kid = events.KeyID(kid); return s }

	tokens := map[verifier.Reason]string{
		verifier.ReasonMalformed: forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), sung.with("exp", `"`+canary+`"`).String()),
		verifier.ReasonIssuer:    offline(t, sung.with("iss", `"https://`+canary+`"`)),
		verifier.ReasonKey:       mint(t, kid(ordersKey, canary), "at+jwt", sung),
		verifier.ReasonKeyState:  mint(t, kid(ordersKey, "dead"), "at+jwt", sung),
		verifier.ReasonAlgorithm: forge(t, ordersKey, header(canary, "k1", "at+jwt"), sung.String()),
		verifier.ReasonSignature: mint(t, kid(strangerKey, "k1"), "at+jwt", sung),
		verifier.ReasonType:      mint(t, ordersKey, canary, sung),
		verifier.ReasonClaims:    offline(t, sung.without("sub")),
		verifier.ReasonAudience:  offline(t, sung.with("aud", `"`+canary+`"`)),
		verifier.ReasonExpired:   offline(t, sung.with("iat", "1").with("exp", "2")),
		verifier.ReasonTooEarly:  offline(t, sung.with("nbf", "1790000100")),
		verifier.ReasonLifetime:  offline(t, sung.with("exp", "1790099999")),
		verifier.ReasonSubject:   offline(t, sung.with("sub", `"`+canary+`"`)),
		verifier.ReasonClient:    online(t, onlineClaims.with("sub", `"`+canary+`"`).with("client_id", `"`+canary+`"`)),
		verifier.ReasonCutOff:    offline(t, sung.with("iat", "1789999980")),
		verifier.ReasonRevoked:   offline(t, sung),
		verifier.ReasonBound:     offline(t, sung.with("cnf", `{"jkt":"`+canary+`"}`)),
		verifier.ReasonBehind:    offline(t, sung.with("iss", `"https://`+canary+`"`)),
		verifier.ReasonStale:     offline(t, sung),
	}
	for _, reason := range declaredReasons(t) {
		t.Run(string(reason), func(t *testing.T) {
			if len(reason) > 20 || strings.Trim(string(reason), "abcdefghijklmnopqrstuvwxyz_") != "" {
				t.Errorf("%q is not a word for a label", reason)
			}
			text, there := tokens[reason]
			if !there {
				t.Fatal("this test has no token for the reason")
			}
			f := installation(t)
			f.put("issuer.orders", strings.TrimSuffix(ordersRecord, "}")+`,"not_before":1789999985}`)
			f.putKey("orders", kid(ordersKey, "dead"), `,"exp":1`)
			f.revokeToken(events.TokenByID(ordersURL, canary), "")
			switch reason {
			case verifier.ReasonBehind:
				f.confirm(now.Add(-time.Minute))
			case verifier.ReasonStale:
				f.confirm(time.Time{})
			}
			v := f.verifier()
			expect(t, v, text, reason)
			_, err := v.Verify(text)
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), canary) {
				t.Errorf("the error has a part of the token in it: %#v", err)
			}
			if stats := v.Stats(); stats.Refused[reason] != 2 || stats.Accepted != 0 || len(stats.Refused) != len(declaredReasons(t)) {
				t.Errorf("after two refusals the statistics are %+v", stats)
			}
			if strings.ToLower(err.Error()[:1]) != err.Error()[:1] {
				t.Errorf("error %q does not begin in lower case", err)
			}
		})
	}
}

// declaredReasons are the constants of type Reason in the package's source.
func declaredReasons(t *testing.T) []verifier.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []verifier.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Reason" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, verifier.Reason(text))
		}
		return true
	})
	if len(reasons) < 10 {
		t.Fatalf("found %d reasons", len(reasons))
	}
	return reasons
}

func TestReasonsAreAllThatAreDeclared(t *testing.T) {
	if got, want := verifier.Reasons(), declaredReasons(t); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTheParsersErrorIsWithinOurs(t *testing.T) {
	v := installation(t).verifier()
	for token, want := range map[string]jws.Reason{
		"":                                  jws.ReasonForm,
		strings.Repeat("a", jws.MaxToken+1): jws.ReasonSize,
		b64("x") + "." + b64("x") + "." + b64(""):                                              jws.ReasonForm,
		forge(t, ordersKey, `{"alg":"none","kid":"k1"}`, "{}"):                                 jws.ReasonAlgorithm,
		forge(t, ordersKey, `{"alg":"EdDSA"}`, "{}"):                                           jws.ReasonKeyID,
		forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), "[]"):                             jws.ReasonClaims,
		forge(t, strangerKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.String()):         jws.ReasonSignature,
		forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1","crit":["x"]}`, offlineClaims.String()): jws.ReasonHeader,
	} {
		_, err := v.Verify(token)
		var parse *jws.Error
		if !errors.As(err, &parse) || parse.Reason != want {
			t.Errorf("%v: parser's error %v, want reason %s", err, parse, want)
		}
	}
}
