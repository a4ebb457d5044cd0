package verifier_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// The rules about what a token looks like: V1 to V9.

func TestV1_AlgorithmsAreThoseOfTheListSpelledExactly(t *testing.T) {
	v := installation(t).verifier()
	payload := offlineClaims.String()
	rows := []row{
		{"EdDSA is on the list", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), payload), accepted},
		{"Ed25519 is EdDSA by another name", forge(t, ordersKey, header("Ed25519", "k1", "at+jwt"), payload), accepted},
	}
	for _, alg := range []string{
		"none", "None", "noNE", "NONE", "", " EdDSA", "EdDSA ", "eddsa", "EDDSA", "ed25519", "ED25519", "Ed448", "es256", "ES384", "ES512",
		"ES256K", "RS384", "RS512", "PS384", "PS512", "rs256", "HS256", "HS384", "HS512", "RSA1_5", "dir", "A128GCMKW", "EdDSA\x00",
	} {
		h, err := json.Marshal(map[string]string{"alg": alg, "kid": "k1", "typ": "at+jwt"})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{"alg " + string(h), forge(t, ordersKey, string(h), payload), verifier.ReasonAlgorithm})
	}
	for _, alg := range []string{`null`, `0`, `true`, `["EdDSA"]`, `{"EdDSA":1}`} {
		rows = append(rows, row{"alg is " + alg, forge(t, ordersKey, `{"alg":`+alg+`,"kid":"k1","typ":"at+jwt"}`, payload), verifier.ReasonAlgorithm})
	}
	rows = append(rows, row{"no alg", forge(t, ordersKey, `{"kid":"k1","typ":"at+jwt"}`, payload), verifier.ReasonAlgorithm})
	judge(t, v, rows)
}

func TestV2_AKeyVerifiesOnlyItsOwnAlgorithm(t *testing.T) {
	v := installation(t).verifier()
	var rows []row
	for _, s := range ordersKeys() {
		for _, alg := range jws.Algorithms() {
			// Where the key can sign by alg it does, so that only the rule stands in the way.
			signed := s
			if alg.Fits(s.key.Public()) {
				signed.alg = alg
			}
			want := verifier.ReasonAlgorithm
			if alg.Same(s.alg) {
				want = accepted
			}
			name := string(s.kid) + ", a key for " + string(s.alg) + ", under alg " + string(alg)
			rows = append(rows, row{name, forge(t, signed, header(string(alg), s.kid, "at+jwt"), offlineClaims.String()), want})
		}
	}
	judge(t, v, rows)
}

func TestV2_ARecordThatSaysEd25519IsAKeyForEdDSA(t *testing.T) {
	f := installation(t)
	x := base64.RawURLEncoding.EncodeToString(bytesOf(t, strangerKey))
	f.put("key.orders.k9", `{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"`+x+`"}`)
	for _, alg := range []string{"EdDSA", "Ed25519"} {
		expect(t, f.verifier(), forge(t, strangerKey, header(alg, "k9", "at+jwt"), offlineClaims.String()), accepted)
	}
}

func TestV3_NoneCannotBeConfigured(t *testing.T) {
	f := installation(t)
	x := base64.RawURLEncoding.EncodeToString(bytesOf(t, strangerKey))
	for _, record := range []string{
		`{"kty":"OKP","crv":"Ed25519","alg":"none","x":"` + x + `"}`,
		`{"kty":"none"}`,
		`{"kty":"oct","alg":"HS256","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
	} {
		f.putAnything("key.orders.k9", record)
		if key := f.Keys().Key("orders", "k9"); key != nil {
			t.Errorf("record %s became a key", record)
		}
	}
	// What a verifier is configured with has no say about algorithms, and nothing to switch a check off.
	for _, field := range reflect.VisibleFields(reflect.TypeFor[verifier.Config]()) {
		for _, word := range []string{"alg", "skip", "insecure", "disable", "allow", "none"} {
			if strings.Contains(strings.ToLower(field.Name), word) {
				t.Errorf("Config.%s", field.Name)
			}
		}
	}
	for _, token := range []string{
		b64(header("none", "k1", "at+jwt")) + "." + b64(offlineClaims.String()) + ".",
		b64(`{"alg":"none"}`) + "." + b64(offlineClaims.String()) + ".",
	} {
		expect(t, f.verifier(), token, verifier.ReasonMalformed)
	}
}

func TestV4_OnlySignedTokensInCompactFormAreRead(t *testing.T) {
	v := installation(t).verifier()
	good := offline(t, offlineClaims)
	s := segments(good)
	judge(t, v, []row{
		{"three segments", good, accepted},
		{"an encrypted token has five", b64(`{"alg":"dir","enc":"A128GCM","kid":"k1"}`) + ".." + b64("iv") + "." + b64("text") + "." + b64("tag"), verifier.ReasonMalformed},
		{"five segments around a good token", good + "." + s[1] + "." + s[2], verifier.ReasonMalformed},
		{"a header of an encrypted token in three segments", forge(t, ordersKey, `{"alg":"EdDSA","enc":"A128GCM","kid":"k1","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"a nested token is no JSON", forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1","typ":"at+jwt","cty":"JWT"}`, good), verifier.ReasonMalformed},
		{"flattened JSON serialization", `{"protected":"` + s[0] + `","payload":"` + s[1] + `","signature":"` + s[2] + `"}`, verifier.ReasonMalformed},
		{"general JSON serialization", `{"payload":"` + s[1] + `","signatures":[{"protected":"` + s[0] + `","signature":"` + s[2] + `"}]}`, verifier.ReasonMalformed},
		{"JSON serialization without protected", `{"payload":"` + s[1] + `","signature":"` + s[2] + `"}`, verifier.ReasonMalformed},
		{"detached content", s[0] + ".." + s[2], verifier.ReasonMalformed},
		{"two segments", s[0] + "." + s[1], verifier.ReasonMalformed},
		{"four segments", good + "." + s[2], verifier.ReasonMalformed},
		{"no header", "." + s[1] + "." + s[2], verifier.ReasonMalformed},
		{"no signature", s[0] + "." + s[1] + ".", verifier.ReasonMalformed},
		{"nothing", "", verifier.ReasonMalformed},
		{"dots", "..", verifier.ReasonMalformed},
	})
}

func TestV5_EveryOtherCharacterIsRefusedWhereverItStands(t *testing.T) {
	v := installation(t).verifier()
	good := offline(t, offlineClaims)
	expect(t, v, good, accepted)
	places := []int{0, 1, strings.Index(good, ".") - 1, strings.Index(good, ".") + 1, strings.LastIndex(good, ".") + 1, len(good) - 1, len(good)}
	for c := range 256 {
		char := string([]byte{byte(c)})
		if strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", char) {
			continue
		}
		for _, at := range places {
			expect(t, v, good[:at]+char+good[at:], verifier.ReasonMalformed)
		}
	}
	s := segments(good)
	standard := strings.NewReplacer("-", "+", "_", "/")
	judge(t, v, []row{
		{"padded segments", s[0] + "." + s[1] + "." + s[2] + "==", verifier.ReasonMalformed},
		{"the other base64 alphabet", s[0] + "." + s[1] + "." + standard.Replace(strings.Repeat("-_", 43)), verifier.ReasonMalformed},
		{"the word Bearer before it", "Bearer " + good, verifier.ReasonMalformed},
		{"letters of other scripts", strings.Replace(good, "A", "А", 1), verifier.ReasonMalformed},
		{"percent-encoding", strings.Replace(good, ".", "%2E", 1), verifier.ReasonMalformed},
	})
}

func TestV6_DuplicateMembersAreRefused(t *testing.T) {
	v := installation(t).verifier()
	h, p := header("EdDSA", "k1", "at+jwt"), offlineClaims.String()
	// member puts one more member at the end of an object.
	member := func(object, more string) string { return strings.TrimSuffix(object, "}") + "," + more + "}" }
	judge(t, v, []row{
		{"each once", forge(t, ordersKey, h, p), accepted},
		{"alg twice, alike", forge(t, ordersKey, member(h, `"alg":"EdDSA"`), p), verifier.ReasonMalformed},
		{"alg twice, none last", forge(t, ordersKey, member(h, `"alg":"none"`), p), verifier.ReasonMalformed},
		{"kid twice", forge(t, ordersKey, member(h, `"kid":"s1"`), p), verifier.ReasonMalformed},
		{"kid twice, once escaped", forge(t, ordersKey, member(h, `"\u006bid":"s1"`), p), verifier.ReasonMalformed},
		{"an unknown member twice", forge(t, ordersKey, member(h, `"x":1,"x":2`), p), verifier.ReasonMalformed},
		{"sub twice", forge(t, ordersKey, h, member(p, `"sub":"shipping"`)), verifier.ReasonMalformed},
		{"sub twice, once escaped", forge(t, ordersKey, h, member(p, `"s\u0075b":"shipping"`)), verifier.ReasonMalformed},
		{"iss twice", forge(t, ordersKey, h, member(p, `"iss":"`+platformURL+`"`)), verifier.ReasonMalformed},
		{"aud twice", forge(t, ordersKey, h, member(p, `"aud":"`+billing+`"`)), verifier.ReasonMalformed},
		{"exp twice", forge(t, ordersKey, h, member(p, `"exp":1790000891`)), verifier.ReasonMalformed},
		{"a duplicate inside of an unknown claim", forge(t, ordersKey, h, member(p, `"x":{"a":[{"b":1,"b":2}]}`)), verifier.ReasonMalformed},
	})
}

func TestV7_NamesOfMembersAreCaseSensitive(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	h := header("EdDSA", "k1", "at+jwt")
	renamed := func(from, to string) string {
		return forge(t, ordersKey, h, strings.Replace(offlineClaims.String(), `"`+from+`":`, `"`+to+`":`, 1))
	}
	judge(t, v, []row{
		{"ALG is not alg", forge(t, ordersKey, `{"ALG":"EdDSA","kid":"k1","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonAlgorithm},
		{"Kid is not kid", forge(t, ordersKey, `{"alg":"EdDSA","Kid":"k1","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"TYP is not typ", forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1","TYP":"at+jwt"}`, offlineClaims.String()), verifier.ReasonType},
		{"ISS is not iss", renamed("iss", "ISS"), verifier.ReasonIssuer},
		{"Sub is not sub", renamed("sub", "Sub"), verifier.ReasonClaims},
		{"Aud is not aud", renamed("aud", "Aud"), verifier.ReasonClaims},
		{"Client_ID is not client_id", renamed("client_id", "Client_ID"), verifier.ReasonClaims},
		{"EXP is not exp", renamed("exp", "EXP"), verifier.ReasonClaims},
		{"Iat is not iat", renamed("iat", "Iat"), verifier.ReasonClaims},
		{"ſub, which folds to sub, is not sub", renamed("sub", "ſub"), verifier.ReasonClaims},
	})
	both := offlineClaims.with("SUB", `"shipping"`).with("Aud", `"x"`).with("EXP", `1`).with("Scope", `"billing:write"`)
	result := expect(t, v, forge(t, ordersKey, strings.TrimSuffix(h, "}")+`,"ALG":"none","KID":"s1"}`, both.String()), accepted)
	if result.Subject != "orders" || result.KeyID != "k1" || result.Scope.String() != "billing:read" || result.Expires.Unix() != 1790000890 {
		t.Errorf("members of another case were read: %+v", result)
	}
}

func TestV8_ExtensionsThatMustBeUnderstoodAreRefused(t *testing.T) {
	v := installation(t).verifier()
	with := func(member string) string {
		return forge(t, ordersKey, strings.TrimSuffix(header("EdDSA", "k1", "at+jwt"), "}")+","+member+"}", offlineClaims.String())
	}
	judge(t, v, []row{
		{"an unknown member that is not critical", with(`"x-extension":{"a":1}`), accepted},
		{"a critical extension", with(`"crit":["exp"],"exp":1`), verifier.ReasonMalformed},
		{"crit of a registered name", with(`"crit":["alg"]`), verifier.ReasonMalformed},
		{"an empty crit", with(`"crit":[]`), verifier.ReasonMalformed},
		{"crit is null", with(`"crit":null`), verifier.ReasonMalformed},
		{"crit is a string", with(`"crit":"b64"`), verifier.ReasonMalformed},
		{"crit, escaped", with(`"\u0063rit":["b64"]`), verifier.ReasonMalformed},
		{"an unencoded payload", with(`"b64":false,"crit":["b64"]`), verifier.ReasonMalformed},
		{"b64 false, not critical", with(`"b64":false`), verifier.ReasonMalformed},
		{"b64 true", with(`"b64":true`), verifier.ReasonMalformed},
	})
}

func TestV9_AKeyThatATokenBringsIsNeverUsedOrFetched(t *testing.T) {
	var fetched atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fetched.Add(1) }))
	defer server.Close()
	var log bytes.Buffer
	v := installation(t).verifier(func(cfg *verifier.Config) { cfg.Logger = zerolog.New(&log) })

	x := base64.RawURLEncoding.EncodeToString(bytesOf(t, strangerKey))
	for name, member := range map[string]string{
		"jwk": `{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"` + x + `"}`,
		"jku": `"` + server.URL + `/keys"`,
		"x5u": `"` + server.URL + `/cert.pem"`,
		"x5c": `["MIIB"]`,
	} {
		h := strings.TrimSuffix(header("EdDSA", "k1", "at+jwt"), "}") + `,"` + name + `":` + member + "}"
		log.Reset()
		expect(t, v, forge(t, strangerKey, h, offlineClaims.String()), verifier.ReasonSignature)
		expect(t, v, forge(t, ordersKey, h, offlineClaims.String()), accepted)
		if got := strings.Count(log.String(), `"header":["`+name+`"]`); got != 2 || strings.Contains(log.String(), server.URL) {
			t.Errorf("%s: logged %s", name, log.String())
		}
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func bytesOf(t *testing.T, s signer) []byte {
	t.Helper()
	key, ok := s.key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatalf("%s is not an Ed25519 key", s.kid)
	}
	return key
}
