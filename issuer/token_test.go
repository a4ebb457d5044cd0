package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
)

func TestI3_TheAnswerIsNotStoredAndHasNoRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, r := range []*http.Request{f.withKey(), f.withKey("scope", "admin"), tokenRequestWith("grant_type", "password")} {
			w := f.do(r)
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Pragma") != "no-cache" {
				t.Errorf("status %d with Cache-Control %q, Pragma %q", w.Code, w.Header().Get("Cache-Control"), w.Header().Get("Pragma"))
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
		}
		var members map[string]any
		if err := json.Unmarshal(f.do(f.withKey()).Body.Bytes(), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "access_token")
		want := map[string]any{"token_type": "Bearer", "expires_in": 900.0, "scope": "billing:read billing:write"}
		if fmt.Sprint(members) != fmt.Sprint(want) {
			t.Errorf("answer %v, want %v", members, want)
		}
	})
}

func TestI3_TheAnswerHasATokenAndHowLongItIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for name, r := range map[string]*http.Request{
			"client_credentials": f.withKey("scope", "billing:read"), "jwt-bearer": withGrant(f.signed(nil), "scope", "billing:read"),
		} {
			a := f.token(r)
			if a.status != http.StatusOK || a.TokenType != "Bearer" || a.Scope != "billing:read" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %+v", name, a)
			}
			token, err := verify(f.bucket.Keys(), a.AccessToken)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if c := token.Claims; a.ExpiresIn != 900 || c.Expiry-time.Now().Unix() != a.ExpiresIn || c.Scope != a.Scope {
				t.Errorf("%s: expires_in %d, scope %s, of a token with %+v", name, a.ExpiresIn, a.Scope, c)
			}
		}
	})
}

func TestI4_OnlyAFailedProofIs401AndItNamesTheSchemeIfAHeaderWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		withHeader := func(value string, params ...string) *http.Request {
			r := tokenRequestWith(append([]string{"grant_type", "client_credentials"}, params...)...)
			r.Header.Set("Authorization", value)
			return r
		}
		wrong := events.NewAPIKey("orders").Reveal()
		tests := []struct {
			name      string
			r         *http.Request
			status    int
			code      string
			challenge bool
		}{
			{"wrong key in the header", withHeader(basic("orders", wrong)), 401, "invalid_client", true},
			{"a header of another scheme", withHeader("Bearer x"), 401, "invalid_client", true},
			{"wrong key in the form", tokenRequestWith("grant_type", "client_credentials", "client_secret", wrong), 401, "invalid_client", false},
			{"a name alone", tokenRequestWith("grant_type", "client_credentials", "client_id", "orders"), 401, "invalid_client", false},
			{"two ways at once", withHeader(basic("orders", f.apiKey.Reveal()), "client_secret", f.apiKey.Reveal()), 400, "invalid_request", false},
			{"another grant", withHeader(basic("orders", f.apiKey.Reveal()), "grant_type2", "x"), 200, "", false},
			{"password", tokenRequestWith("grant_type", "password", "username", "a", "password", "b"), 400, "unsupported_grant_type", false},
			{"refresh token", tokenRequestWith("grant_type", "refresh_token"), 400, "unsupported_grant_type", false},
			{"jwt-bearer without an assertion", tokenRequestWith("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "invalid_request", false},
			{"jwt-bearer with a bad one", tokenRequestWith("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", "x"), 400, "invalid_grant", false},
			{"a grant in capitals", tokenRequestWith("grant_type", "Client_Credentials"), 400, "unsupported_grant_type", false},
			{"a scope of others", f.withKey("scope", "admin"), 400, "invalid_scope", false},
		}
		for _, test := range tests {
			a := f.token(test.r)
			if a.status != test.status || a.Error != test.code {
				t.Errorf("%s: status %d, error %s, want %d %s", test.name, a.status, a.Error, test.status, test.code)
			}
			want := ""
			if test.challenge {
				want = `Basic realm="https://auth.example.com", charset="UTF-8"`
			}
			if got := a.header.Get("WWW-Authenticate"); got != want {
				t.Errorf("%s: WWW-Authenticate %q, want %q", test.name, got, want)
			}
			for _, c := range a.Description {
				if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
					t.Errorf("%s: description %q has a character that it must not have", test.name, a.Description)
				}
			}
		}
	})
}

func TestAClientThatIsDisabledGetsNoTokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.granted(f.withKey())
		f.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1))
		if a := f.token(f.withKey()); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
	})
}

func TestPrivateKeyJWTEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		token := f.granted(withAssertion(assertion, "client_id", "orders", "scope", "billing:read"))
		if token.Claims.Subject != "orders" || token.Claims.Scope != "billing:read" {
			t.Errorf("claims %+v", token.Claims)
		}
		if a := f.token(withAssertion(assertion)); a.status != 401 {
			t.Errorf("status %d for the same assertion again, want 401", a.status)
		}
		offline, err := f.minter().Token(mint.Request{Audience: []string{testIssuer}})
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(offline)); a.status != 401 {
			t.Errorf("status %d for an access token as assertion, want 401", a.status)
		}
	})
}

func TestI9_AnAssertionIsNotUsedUpByANodeThatCannotSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t) // it does not run
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(assertion)); a.status != 503 || a.Error != "temporarily_unavailable" || a.header.Get("Retry-After") != "5" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
		f.start()
		time.Sleep(2 * time.Second)
		f.granted(withAssertion(assertion))
	})
}

func TestI9_AssertionsFailClosedAndAPIKeysGoOnWithoutReplayMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.memory.err = errors.New("no responders")
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(assertion)); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("status %d, want 503 with Retry-After", a.status)
		}
		f.granted(f.withKey())
	})
}

// whileUsed does something while the replay memory is asked.
type whileUsed struct {
	ReplayMemory
	do func()
}

func (w whileUsed) Use(ctx context.Context, client events.Name, jti string, exp time.Time) error {
	w.do()
	return w.ReplayMemory.Use(ctx, client, jti, exp)
}

// The replay memory may take seconds. What has happened meanwhile counts: a token from the moment after a client was disabled would be
// good when it is enabled again.
func TestWhatHappensWhileAnAssertionIsRememberedCounts(t *testing.T) {
	for name, happens := range map[string]func(*fixture){
		"the client is disabled": func(f *fixture) { f.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1)) },
		"its key is revoked":     func(f *fixture) { f.bucket.put("revoked.orders.k1", `{}`) },
		"its record is gone": func(f *fixture) {
			f.bucket.put("issuer.orders", `{"type":"external","status":"active","iss":"https://x.example","use":["assertion"]}`)
		},
		"its scope is taken from it": func(f *fixture) {
			f.bucket.put("issuer.orders", strings.Replace(ordersJSON, "billing:write", "other", 1))
		},
	} {
		for _, grant := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var f *fixture
				f = startReady(t, func(c *Config) { c.Assertions = whileUsed{c.Assertions, func() { happens(f) }} })
				assertion, err := f.minter().Assertion("")
				if err != nil {
					t.Fatal(err)
				}
				r := withAssertion(assertion, "scope", "billing:write")
				if grant {
					r = withGrant(f.signed(map[string]any{"jti": "once"}), "scope", "billing:write")
				}
				if a := f.token(r); a.status/100 != 4 || a.AccessToken != "" {
					t.Errorf("%s, grant %v: status %d", name, grant, a.status)
				}
			})
		}
	}
}
