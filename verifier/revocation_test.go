package verifier_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

func textID(t *testing.T, token string) events.TokenID {
	t.Helper()
	parsed, err := jws.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return events.TokenByText(parsed.SigningInput())
}

func TestATokenIsRevokedByItsJTI(t *testing.T) {
	for _, kind := range each {
		t.Run(kind.name, func(t *testing.T) {
			f := installation(t)
			v := f.verifier()
			jti := func(id string) string { return kind.mint(t, kind.claims.with("jti", `"`+id+`"`)) }
			var iss string
			if err := json.Unmarshal([]byte(kind.claims[0][1]), &iss); err != nil {
				t.Fatal(err)
			}
			first, again, other := jti("j1"), kind.mint(t, kind.claims.with("jti", `"j1"`).with("exp", "1790000100")), jti("j2")
			expect(t, v, first, accepted)
			f.revokeToken(events.TokenByID("https://elsewhere.example.com", "j1"), `{"exp":1790000890}`)
			f.revokeToken(events.TokenByID(iss, "J1"), `{"exp":1790000890}`)
			f.revokeToken(textID(t, first), `{"exp":1790000890}`) // a token with a jti has no other name
			expect(t, v, first, accepted)
			f.revokeToken(events.TokenByID(iss, "j1"), `{"exp":1790000890}`)
			expect(t, v, first, verifier.ReasonRevoked)
			expect(t, v, again, verifier.ReasonRevoked)
			expect(t, v, other, accepted)
		})
	}
}

func TestATokenWithoutJTIIsRevokedByItsText(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	for _, s := range ordersKeys() {
		token := mint(t, s, "at+jwt", offlineClaims)
		twin := mint(t, s, "at+jwt", offlineClaims) // for ES256 and PS256, with another signature
		other := mint(t, s, "at+jwt", offlineClaims.with("iat", "1789999991"))
		expect(t, v, token, accepted)
		f.revokeToken(textID(t, token), `{"exp":1790000890,"reason":"stolen"}`)
		expect(t, v, token, verifier.ReasonRevoked)
		expect(t, v, twin, verifier.ReasonRevoked)
		expect(t, v, other, accepted)
	}
}

func TestARevocationHoldsWhateverItSays(t *testing.T) {
	for _, value := range []string{``, `not json`, `{}`, `{"exp":"x"}`, `{"exp":0}`, `{"exp":9007199254740991}`, `{"exp":1790000890,"exp":1}`} {
		f := installation(t)
		f.revokeToken(events.TokenByID(platformURL, "0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11"), value)
		expect(t, f.verifier(), online(t, onlineClaims), verifier.ReasonRevoked)
	}
}

// As long as any leeway lets an expired token in, its revocation is kept, if no longer.
func TestARevocationIsKeptForAsLongAsTheTokenCanBeAccepted(t *testing.T) {
	f := installation(t)
	f.putKey("platform", platformKey, "")
	token := online(t, onlineClaims)
	f.revokeToken(events.TokenByID(platformURL, "0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11"), `{"exp":1790000890}`)
	for _, second := range []int64{1790000889, 1790000890, 1790000949} {
		moment := time.Unix(second, 0)
		f.confirm(moment)
		// Another revocation arrives: that is when those that have expired are forgotten.
		f.revocations.Apply(events.Entry{Name: events.TokenByID("x", "y").String(), Revision: 1, Time: moment}, moment)
		expect(t, f.verifier(at(moment), func(cfg *verifier.Config) { cfg.Leeway = time.Minute }), token, verifier.ReasonRevoked)
	}
	moment := time.Unix(1790000950, 0)
	f.confirm(moment)
	expect(t, f.verifier(at(moment), func(cfg *verifier.Config) { cfg.Leeway = time.Minute }), token, verifier.ReasonExpired)
}

func TestTheResultSaysWhatTheTokenSaysAndWhoSpeaks(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	two := `["` + billing + `","` + reports + `"]`
	for _, c := range []struct {
		name  string
		token string
		want  verifier.Token
	}{
		{"online", online(t, onlineClaims.with("aud", two)), verifier.Token{
			Issuer: platformURL, IssuerName: "platform", IssuerType: events.TypePlatform, Subject: "orders", Client: "orders",
			Audience: []string{billing, reports}, ID: "0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11", KeyID: "p1",
			Expires: time.Unix(1790000890, 0), IssuedAt: time.Unix(1789999990, 0),
		}},
		{"offline", offline(t, offlineClaims), verifier.Token{
			Issuer: ordersURL, IssuerName: "orders", IssuerType: events.TypeClient, Subject: "orders", Client: "orders",
			Audience: []string{billing}, KeyID: "k1", Expires: time.Unix(1790000890, 0), IssuedAt: time.Unix(1789999990, 0),
		}},
		{"external", external(t, externalClaims.without("iat")), verifier.Token{
			Issuer: loginURL, IssuerName: "login", IssuerType: events.TypeExternal, Subject: "user|77",
			Audience: []string{billing}, KeyID: "x1", Expires: time.Unix(1790000890, 0),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := expect(t, v, c.token, accepted)
			payload, err := base64.RawURLEncoding.DecodeString(segments(c.token)[1])
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Claims()) != string(payload) {
				t.Errorf("claims %s, want %s", got.Claims(), payload)
			}
			if got.Scope.IsEmpty() {
				t.Error("no scope")
			}
			// The exported fields; the scope has its own tests.
			want, have := reflect.ValueOf(c.want), reflect.ValueOf(*got)
			for _, field := range reflect.VisibleFields(want.Type()) {
				if !field.IsExported() || field.Name == "Scope" {
					continue
				}
				if w, h := want.FieldByIndex(field.Index).Interface(), have.FieldByIndex(field.Index).Interface(); !reflect.DeepEqual(w, h) {
					t.Errorf("%s is %v, want %v", field.Name, h, w)
				}
			}
		})
	}
}

// Who appends to what Verify returned must not write over another part of it.
func TestTheResultsPartsDoNotShareRoom(t *testing.T) {
	got := expect(t, installation(t).verifier(), offline(t, offlineClaims), accepted)
	claims := string(got.Claims())
	_ = append(got.Audience, "x")
	_ = append(got.Claims(), "x"...)
	_ = append(got.Scope.Values(), "x")
	if string(got.Claims()) != claims || len(got.Audience) != 1 || got.Scope.String() != "billing:read" {
		t.Errorf("the result has changed: %+v", got)
	}
}
