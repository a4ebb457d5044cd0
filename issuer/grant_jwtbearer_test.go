package issuer

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// assertionClaims are those of an assertion as common libraries sign it for the jwt-bearer grant: for an hour, an array as audience, no jti.
func assertionClaims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": "orders", "sub": "orders", "aud": []string{testIssuer}, "iat": now, "exp": now + 3600}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// sign signs claims with a key.
func sign(t testing.TB, header jws.Header, c map[string]any, key crypto.Signer) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.Sign(header, text, key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// signed signs claims as orders.
func (f *fixture) signed(changes map[string]any) string {
	f.t.Helper()
	return sign(f.t, jws.Header{Algorithm: jws.EdDSA, KeyID: "k1"}, assertionClaims(changes), f.private)
}

func withGrant(assertion string, params ...string) *http.Request {
	return tokenRequestWith(append([]string{"grant_type", grantJWTBearer, "assertion", assertion}, params...)...)
}

func TestI7_AnAssertionOfAClientIsAGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		f.bucket.put("key.orders.r1", encodeKey(t, "r1", events.Key{Algorithm: events.RS256, Public: rsaKey.Public()}))
		for name, assertion := range map[string]string{
			"EdDSA":              f.signed(nil),
			"RS256":              sign(t, jws.Header{Algorithm: jws.RS256, KeyID: "r1"}, assertionClaims(nil), rsaKey),
			"the token endpoint": f.signed(map[string]any{"aud": testIssuer + "/oauth/token"}),
		} {
			token := f.granted(withGrant(assertion, "scope", "billing:read", "resource", "https://ledger"))
			c := token.Claims
			if c.Subject != "orders" || c.ClientID != "orders" || c.Scope != "billing:read" || len(c.Audience) != 1 || c.Audience[0] != "https://ledger" {
				t.Errorf("%s: claims %+v", name, c)
			}
		}
		lines := linesOf(t, f.log, "token issued")
		if last := lines[len(lines)-1]; last["method"] != "jwt-bearer" || last["client"] != "orders" {
			t.Errorf("audit line %v", last)
		}
		if a := f.token(withGrant(f.signed(nil), "scope", "admin")); a.status != 400 || a.Error != "invalid_scope" {
			t.Errorf("more scope than the client has: status %d, error %s", a.status, a.Error)
		}
		if a := f.token(withGrant(f.signed(map[string]any{"aud": "https://other"}))); a.status != 400 || a.Error != "invalid_grant" {
			t.Errorf("for another server: status %d, error %s, want invalid_grant (RFC 7523 §3.1)", a.status, a.Error)
		}
		if a := f.token(withAssertion(f.signed(map[string]any{"aud": "https://other"}))); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("as client_assertion: status %d, error %s, want invalid_client (RFC 7523 §3.2)", a.status, a.Error)
		}
		// At the path of the SDKs, as JSON.
		body, err := json.Marshal(map[string]string{"grant_type": grantJWTBearer, "assertion": f.signed(nil)})
		if err != nil {
			t.Fatal(err)
		}
		f.granted(request("POST", "/api/authentication/oauth/tokens", "application/json", string(body)))
	})
}

func TestI2_ClientAuthenticationBesideAGrantIsGoodAndOfTheSameClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		stock := events.NewAPIKey("stock")
		f.bucket.put("issuer.stock", ordersJSON)
		f.putClient("stock", events.Secret{ID: "s1", SHA256: stock.Hash()})
		good, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name   string
			params []string
			status int
			code   string
		}{
			{"none", nil, 200, ""},
			{"the client's name", []string{"client_id", "orders"}, 200, ""},
			{"the client's API key", []string{"client_secret", f.apiKey.Reveal()}, 200, ""},
			{"the client's assertion", []string{"client_assertion", good, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, 200, ""},
			{"another client's name", []string{"client_id", "stock"}, 400, "invalid_grant"},
			{"another client's API key", []string{"client_secret", stock.Reveal()}, 400, "invalid_grant"},
			{"a wrong API key", []string{"client_secret", events.NewAPIKey("orders").Reveal()}, 401, "invalid_client"},
			{"half an assertion", []string{"client_assertion", good}, 400, "invalid_request"},
			{"two ways", []string{"client_secret", f.apiKey.Reveal(), "client_assertion", good}, 400, "invalid_request"},
		}
		for _, test := range tests {
			if a := f.token(withGrant(f.signed(nil), test.params...)); a.status != test.status || a.Error != test.code {
				t.Errorf("%s: status %d, error %s (%s), want %d %s", test.name, a.status, a.Error, a.Description, test.status, test.code)
			}
		}
		r := withGrant(f.signed(nil))
		r.Header.Set("Authorization", "Bearer x")
		if a := f.token(r); a.status != 401 {
			t.Errorf("an Authorization header of another scheme: status %d", a.status)
		}
	})
}

func TestI1_TheAssertionOfAGrantIsAParameterLikeTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		assertion := f.signed(nil)
		for name, r := range map[string]*http.Request{
			"twice":      withGrant(assertion, "assertion", assertion),
			"missing":    withGrant(""),
			"in the URL": request("POST", "/oauth/token?assertion="+assertion, form, "grant_type="+grantJWTBearer+"&assertion="+assertion),
			"no string":  request("POST", "/api/authentication/oauth/tokens", "application/json", `{"grant_type":"`+grantJWTBearer+`","assertion":["`+assertion+`"]}`),
		} {
			if a := f.token(r); a.status != 400 || a.Error != "invalid_request" {
				t.Errorf("%s: status %d, error %s", name, a.status, a.Error)
			}
		}
		f.granted(withGrant(assertion)) // nothing of this used it up
	})
}

func TestI22_ThereIsNoGrantOfAUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, grant := range []string{"password", "authorization_code", "refresh_token", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
			"urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "JWT-bearer", "client_credentials "} {
			r := tokenRequestWith("grant_type", grant, "client_secret", f.apiKey.Reveal(), "username", "a", "password", "b", "code", "c",
				"refresh_token", "d", "assertion", f.signed(nil))
			if a := f.token(r); a.status != 400 || a.Error != "unsupported_grant_type" || a.AccessToken != "" {
				t.Errorf("%s: status %d, error %s", grant, a.status, a.Error)
			}
		}
		for _, path := range []string{"/oauth/authorize", "/authorize"} {
			if w := f.get(path + "?response_type=token&client_id=orders"); w.Code != http.StatusNotFound {
				t.Errorf("%s: status %d", path, w.Code)
			}
		}
	})
}

func TestI22_TheTwoGrantsOfMachinesAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		others := []string{"username", "a", "password", "b", "response_type", "token", "code", "c"} // are ignored (RFC 6749 §3.2)
		for name, r := range map[string]*http.Request{"client_credentials": f.withKey(others...), "jwt-bearer": withGrant(f.signed(nil), others...)} {
			if c := f.granted(r).Claims; c.Subject != "orders" || c.ClientID != "orders" {
				t.Errorf("%s: claims %+v", name, c)
			}
		}
		var m metadata
		if err := json.Unmarshal(f.get("/.well-known/oauth-authorization-server").Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.GrantTypes, []string{"client_credentials", grantJWTBearer}) {
			t.Errorf("the metadata say %v", m.GrantTypes)
		}
	})
}

func TestI9_AGrantIsNotUsedUpByANodeThatCannotSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t) // it does not run
		assertion := f.signed(map[string]any{"jti": "j1"})
		if a := f.token(withGrant(assertion)); a.status != 503 || a.header.Get("Retry-After") != "5" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
		f.start()
		time.Sleep(2 * time.Second)
		f.granted(withGrant(assertion))
		if a := f.token(withGrant(assertion)); a.status != 400 || a.Error != "invalid_grant" {
			t.Errorf("the second time: status %d, error %s", a.status, a.Error)
		}
	})
}
