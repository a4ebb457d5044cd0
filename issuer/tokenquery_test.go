package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// parties are a node with three more clients: billing is the audience https://billing, ledger is https://ledger, and stranger is nobody.
type parties struct {
	*fixture
	keys map[events.Name]events.APIKey
}

func startParties(t *testing.T, modify ...func(*Config)) *parties {
	t.Helper()
	f := startReady(t, modify...)
	p := &parties{f, map[events.Name]events.APIKey{"orders": f.apiKey}}
	for name, resource := range map[events.Name]string{"billing": `["https://billing"]`, "ledger": `["https://ledger"]`, "stranger": `["https://elsewhere"]`} {
		f.bucket.put("issuer."+string(name), `{"type":"client","status":"active","aud":["https://x"],"resource":`+resource+`}`)
		p.keys[name] = events.NewAPIKey(name)
		f.putClient(string(name), events.Secret{ID: "s1", SHA256: p.keys[name].Hash()})
	}
	return p
}

// ask sends a request about a token, by the client's API key.
func (p *parties) ask(path string, client events.Name, params ...string) (status int, body string) {
	r := tokenRequestWith(append([]string{"client_secret", p.keys[client].Reveal()}, params...)...)
	r.URL.Path = path
	w := p.do(r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func (p *parties) introspect(client events.Name, token string) string {
	p.t.Helper()
	status, body := p.ask("/oauth/introspect", client, "token", token)
	if status != http.StatusOK {
		p.t.Fatalf("status %d: %s", status, body)
	}
	return body
}

func (p *parties) revokeBy(client events.Name, token string) int {
	p.t.Helper()
	status, body := p.ask("/oauth/revoke", client, "token", token)
	if status == http.StatusOK && body != "" {
		p.t.Errorf("a revocation is answered with %q", body)
	}
	return status
}

// online returns a token of orders for https://billing.
func (p *parties) online() string {
	p.t.Helper()
	a := p.token(p.withKey("resource", "https://billing", "scope", "billing:read"))
	if a.status != http.StatusOK {
		p.t.Fatalf("status %d: %s", a.status, a.Description)
	}
	return a.AccessToken
}

func (p *parties) offline(ttl time.Duration, noID bool) string {
	p.t.Helper()
	token, err := p.minter().Token(mint.Request{Audience: []string{"https://billing"}, Scope: "billing:read billing:other", TTL: ttl, NoID: noID})
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// verifies reports whether a service accepts the token.
func (p *parties) verifies(token string) bool {
	p.t.Helper()
	v, err := verifier.New(verifier.Config{Audience: "https://billing"}, p.bucket)
	if err != nil {
		p.t.Fatal(err)
	}
	_, err = v.Verify(token)
	return err == nil
}

const inactive = `{"active":false}`

func TestI17_ATokensClientAndItsAudienceLearnWhatItIsWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		for kind, token := range map[string]string{"online": p.online(), "offline": p.offline(0, false), "offline without jti": p.offline(0, true)} {
			parsed, err := jws.Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			for _, client := range []events.Name{"orders", "billing"} {
				var got introspection
				if err := json.Unmarshal([]byte(p.introspect(client, token)), &got); err != nil {
					t.Fatal(err)
				}
				c := parsed.Claims
				if !got.Active || got.Scope != "billing:read" || got.ClientID != "orders" || got.Subject != "orders" || got.TokenType != "Bearer" ||
					got.Expires != c.Expiry || got.IssuedAt != c.IssuedAt || got.Issuer != c.Issuer || got.ID != c.ID || len(got.Audience) != 1 || got.Bound != nil {
					t.Errorf("%s token, asked by %s: %+v", kind, client, got)
				}
			}
			for _, client := range []events.Name{"ledger", "stranger"} {
				if got := p.introspect(client, token); got != inactive {
					t.Errorf("%s token, asked by %s: %s", kind, client, got)
				}
			}
		}
	})
}

func TestI17_WhatIsWorthNothingIsInactiveAndNothingElseIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		token := p.online()
		foreign, err := mint.New(mint.Config{Issuer: testIssuer, Client: "orders", KeyID: "k1", Key: newPrivateKey(t)})
		if err != nil {
			t.Fatal(err)
		}
		forged, err := foreign.Token(mint.Request{Audience: []string{"https://billing"}})
		if err != nil {
			t.Fatal(err)
		}
		assertion, err := p.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{
			"garbage": "x", "a cut token": token[:len(token)-10], "a forged token": forged, "an assertion": assertion, "9 KiB": strings.Repeat("x", 9<<10),
		} {
			if got := p.introspect("orders", text); got != inactive {
				t.Errorf("%s: %s", what, got)
			}
		}
		if p.introspect("billing", token) == inactive {
			t.Fatal("the token is not active")
		}
		if status := p.revokeBy("orders", token); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if got := p.introspect("billing", token); got != inactive {
			t.Errorf("revoked: %s", got)
		}
		next := p.online()
		time.Sleep(16 * time.Minute)
		if got := p.introspect("billing", next); got != inactive {
			t.Errorf("expired: %s", got)
		}
		last := p.offline(0, false)
		p.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1))
		if got := p.introspect("billing", last); got != inactive {
			t.Errorf("of a disabled client: %s", got)
		}
	})
}

func TestI17_I18_OnlyAClientMayAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		token := p.online()
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			send := func(params ...string) (int, string) {
				r := tokenRequestWith(params...)
				r.URL.Path = path
				w := p.do(r)
				return w.Code, w.Body.String()
			}
			for what, c := range map[string]struct {
				params []string
				status int
				code   string
			}{
				"nobody":                {[]string{"token", token}, 401, "invalid_client"},
				"a name alone":          {[]string{"token", token, "client_id", "orders"}, 401, "invalid_client"},
				"a wrong key":           {[]string{"token", token, "client_secret", events.NewAPIKey("orders").Reveal()}, 401, "invalid_client"},
				"no token":              {[]string{"client_secret", p.apiKey.Reveal()}, 400, "invalid_request"},
				"two tokens":            {[]string{"client_secret", p.apiKey.Reveal(), "token", token, "token", token}, 400, "invalid_request"},
				"a hint that is wrong":  {[]string{"client_secret", p.apiKey.Reveal(), "token", token[:9], "token_type_hint", "refresh_token"}, 200, ""},
				"more than a parameter": {[]string{"client_secret", p.apiKey.Reveal(), "token", strings.Repeat("x", 70000)}, 413, "invalid_request"},
			} {
				status, body := send(c.params...)
				if status != c.status || !strings.Contains(body, c.code) {
					t.Errorf("%s, %s: status %d, %s", path, what, status, body)
				}
				if strings.Contains(body, token) {
					t.Errorf("%s, %s: the answer has the token", path, what)
				}
			}
			if w := p.get(path + "?token=" + token); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("GET %s: status %d", path, w.Code)
			}
			r := tokenRequestWith("client_secret", p.apiKey.Reveal())
			r.URL.Path, r.URL.RawQuery = path, "token="+token
			if w := p.do(r); w.Code != 400 || !strings.Contains(w.Body.String(), "in the URL") {
				t.Errorf("%s with the token in the URL: status %d, %s", path, w.Code, w.Body)
			}
		}
		if strings.Contains(p.log.String(), token[len(token)-20:]) {
			t.Error("the log has the token")
		}
	})
}

func TestI18_WhoMayRevokeAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		for _, client := range []events.Name{"orders", "billing"} {
			time.Sleep(time.Second) // two tokens without jti of one second would be one
			for kind, token := range map[string]string{"online": p.online(), "offline": p.offline(0, false), "offline without jti": p.offline(0, true)} {
				if !p.verifies(token) {
					t.Fatalf("%s token is not accepted", kind)
				}
				for _, other := range []events.Name{"ledger", "stranger"} {
					if status := p.revokeBy(other, token); status != http.StatusBadRequest || !p.verifies(token) {
						t.Errorf("%s token, revoked by %s: status %d", kind, other, status)
					}
				}
				for range 2 { // a second time is no error
					if status := p.revokeBy(client, token); status != http.StatusOK || p.verifies(token) {
						t.Errorf("%s token, revoked by %s: status %d, accepted afterwards: %v", kind, client, status, p.verifies(token))
					}
				}
			}
		}
		if lines := linesOf(t, p.log, "token revoked"); len(lines) != 6 || lines[0]["client"] == "" || lines[0]["credential"] != "s1" {
			t.Errorf("the audit log has %v", lines)
		}
	})
}

func TestI18_WhatIsNoTokenHereNeedsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		expired := p.offline(time.Second, false)
		time.Sleep(2 * time.Minute)
		forged := p.online()
		forged = forged[:len(forged)-8] + "AAAAAAAA"
		for what, text := range map[string]string{"garbage": "x", "an expired token": expired, "a forged token": forged} {
			if status := p.revokeBy("orders", text); status != http.StatusOK {
				t.Errorf("%s: status %d", what, status)
			}
		}
		if n := p.bucket.revocations; n != 0 {
			t.Errorf("%d revocations were written", n)
		}
	})
}

// What is not accepted now and may be so later is revoked all the same.
func TestI18_ATokenThatIsNotGoodYetCanBeRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		justOver := p.offline(time.Second, false)
		time.Sleep(45 * time.Second)
		if status := p.revokeBy("orders", justOver); status != http.StatusOK || p.bucket.revocations != 1 {
			t.Errorf("a token that a clock which is behind accepts: status %d, %d revocations", status, p.bucket.revocations)
		}
		next := newPrivateKey(t)
		p.bucket.put("key.orders.k2", encodeKey(t, "k2", events.Key{Public: next.Public(), NotBefore: time.Now().Add(time.Minute).Unix()}))
		early, err := mint.New(mint.Config{Issuer: testIssuer, Client: "orders", KeyID: "k2", Key: next})
		if err != nil {
			t.Fatal(err)
		}
		pending, err := early.Token(mint.Request{Audience: []string{"https://billing"}})
		if err != nil {
			t.Fatal(err)
		}
		forged := pending[:len(pending)-8] + "AAAAAAAA"
		if status := p.revokeBy("orders", forged); status != http.StatusOK || p.bucket.revocations != 1 {
			t.Errorf("a forged token of a key that is not valid yet: status %d, %d revocations", status, p.bucket.revocations)
		}
		if status := p.revokeBy("orders", pending); status != http.StatusOK || p.bucket.revocations != 2 {
			t.Errorf("a token of a key that is not valid yet: status %d, %d revocations", status, p.bucket.revocations)
		}
		time.Sleep(2 * time.Minute)
		if p.verifies(pending) {
			t.Error("it is accepted when its key is valid")
		}
		token := p.online()
		p.bucket.put("issuer.orders", strings.Replace(ordersJSON, `"https://billing",`, "", 1))
		if p.verifies(token) {
			t.Fatal("the record was narrowed")
		}
		if status := p.revokeBy("billing", token); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		p.bucket.put("issuer.orders", ordersJSON)
		if p.verifies(token) {
			t.Error("it is accepted when the record is wide again")
		}
	})
}

// An assertion is good once: it must not be lost at a node that then has no answer.
func TestI17_I18_ANodeThatCannotAnswerDoesNotUseAnAssertionUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var behind atomic.Bool // CLIENTS
		p := startParties(t, func(c *Config) {
			c.Clients.(*clientRecords).confirmed = func() time.Time {
				if behind.Load() {
					return time.Now().Add(-2 * time.Hour)
				}
				return time.Now()
			}
		})
		keysConfirmed := func(at time.Time) {
			p.bucket.mu.Lock()
			defer p.bucket.mu.Unlock()
			p.bucket.confirmed = at
		}
		token := p.online()
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			assertion, err := p.minter().Assertion("")
			if err != nil {
				t.Fatal(err)
			}
			ask := func(when string, want int, params ...string) {
				t.Helper()
				r := withAssertion(assertion, params...)
				r.URL.Path = path
				if w := p.do(r); w.Code != want {
					t.Errorf("%s, %s: status %d, want %d: %s", path, when, w.Code, want, w.Body)
				}
			}
			keysConfirmed(time.Now().Add(-2 * time.Hour))
			ask("with keys of two hours ago", 503, "token", token)
			keysConfirmed(time.Time{})
			behind.Store(true)
			ask("with credentials of two hours ago", 503, "token", token)
			behind.Store(false)
			ask("without a token", 400)
			ask("when it knows", 200, "token", token)
			ask("a second time", 401, "token", token)
		}
	})
}

func TestI17_I18_ANodeThatDoesNotKnowSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		token := p.online()
		p.bucket.revokeFault = errors.New("no connection")
		if status, body := p.ask("/oauth/revoke", "orders", "token", token); status != http.StatusServiceUnavailable || strings.Contains(body, "connection") {
			t.Errorf("a revocation that was not written: status %d, %s", status, body)
		}
		p.bucket.mu.Lock()
		p.bucket.confirmed = time.Now()
		p.bucket.mu.Unlock()
		time.Sleep(time.Minute)
		newer, err := mint.New(mint.Config{Issuer: testIssuer, Client: "orders", KeyID: "k2", Key: newPrivateKey(t)})
		if err != nil {
			t.Fatal(err)
		}
		unknown, err := newer.Token(mint.Request{Audience: []string{"https://billing"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			if status, body := p.ask(path, "orders", "token", unknown); status != http.StatusServiceUnavailable {
				t.Errorf("%s with a key that may not have arrived yet: status %d, %s", path, status, body)
			}
		}
		time.Sleep(2 * time.Hour)
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			if status, body := p.ask(path, "orders", "token", token); status != http.StatusServiceUnavailable {
				t.Errorf("%s with records of two hours ago: status %d, %s", path, status, body)
			}
		}
	})
}

// A user's token of another provider is good at the services that accept it: they may ask about it, and end it.
func TestI17_I18_ATokenOfAnExternalIssuerIsJudgedForItsAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		login := newPrivateKey(t)
		p.bucket.put("issuer.login", `{"type":"external","status":"active","iss":"https://login.example","use":["access_token"],"aud":["https://billing","https://ledger"],"scope":"read"}`)
		p.bucket.put("key.login.l1", encodeKey(t, "l1", events.Key{Public: login.Public()}))
		user := func(aud string) string {
			claims := fmt.Appendf(nil, `{"iss":"https://login.example","sub":"user_1","aud":%s,"exp":%d,"scope":"read"}`, aud, time.Now().Add(10*time.Minute).Unix())
			text, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "l1"}, claims, login)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		token, both := user(`"https://billing"`), user(`["https://billing","https://ledger"]`)
		var got introspection
		if err := json.Unmarshal([]byte(p.introspect("billing", token)), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Active || got.Subject != "user_1" || got.ClientID != "" || got.Scope != "read" || got.IssuedAt != 0 {
			t.Errorf("introspected as %+v", got)
		}
		for _, client := range []events.Name{"orders", "ledger", "stranger"} {
			if got := p.introspect(client, token); got != inactive {
				t.Errorf("asked by %s: %s", client, got)
			}
			if status := p.revokeBy(client, token); status != http.StatusBadRequest {
				t.Errorf("revoked by %s: status %d", client, status)
			}
		}
		if status := p.revokeBy("billing", both); status != http.StatusBadRequest || p.bucket.revocations != 0 {
			t.Errorf("one of two audiences has ended the token: status %d", status)
		}
		if status := p.revokeBy("billing", token); status != http.StatusOK || p.introspect("billing", token) != inactive {
			t.Errorf("revoked by its audience: status %d", status)
		}
	})
}

// What is refused for a record that may change again is revoked all the same.
func TestI18_ATokenOfAnIssuerThatMayComeBackIsRevoked(t *testing.T) {
	for name, c := range map[string]struct{ gone, back func(*parties) }{
		"a disabled client": {
			func(p *parties) { p.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1)) },
			func(p *parties) { p.bucket.put("issuer.orders", ordersJSON) },
		},
		"a key that is deleted": {
			func(p *parties) { p.bucket.del("key.orders.k1") },
			func(p *parties) {
				p.bucket.put("key.orders.k1", encodeKey(p.t, "k1", events.Key{Public: p.private.Public()}))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := startParties(t)
				token := p.offline(0, false)
				c.gone(p)
				by := events.Name("orders")
				if name == "a disabled client" { // which cannot ask for anything
					by = "billing"
				}
				if status := p.revokeBy(by, token); status != http.StatusOK || p.bucket.revocations != 1 {
					t.Fatalf("status %d, %d revocations", status, p.bucket.revocations)
				}
				c.back(p)
				if p.verifies(token) {
					t.Error("the token is good again")
				}
			})
		})
	}
}
