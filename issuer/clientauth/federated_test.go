package clientauth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	githubIss = "https://github.example"
	mainRef   = "repo:acme/orders:ref:refs/heads/main"
)

// federate makes two identities of orders, and one of the disabled client.
func (w *world) federate() *world {
	w.t.Helper()
	identities := `{"federated":[{"issuer":"github","sub":"` + mainRef + `","aud":"https://auth.example.com"},{"issuer":"github","sub":"pods:orders-*","aud":"vault"}]}`
	for _, name := range []string{"orders", "closed"} {
		w.clients.Apply(events.Entry{Name: name, Value: []byte(identities), Revision: w.clients.Revision() + 1, Time: time.Now()})
	}
	return w
}

// foreign are the claims of a good assertion of github, with changes.
func foreign(changes map[string]any) map[string]any {
	c := map[string]any{"iss": githubIss, "sub": mainRef, "jti": nil, "exp": time.Now().Unix() + 600}
	maps.Copy(c, changes)
	return claims(c)
}

// asClient authenticates a request with an assertion as the given client.
func (w *world) asClient(clientID, assertion string) (*Client, error) {
	return w.auth.Authenticate(w.t.Context(), &Request{ClientID: clientID, AssertionType: AssertionType, Assertion: assertion})
}

func TestI5_AFederatedIdentityIsTheClientThatItIsRegisteredFor(t *testing.T) {
	w := newWorld(t).federate()
	for name, changes := range map[string]map[string]any{
		"exact":                    nil,
		"aud is an array of one":   {"aud": []string{testIssuer}},
		"by a prefix":              {"sub": "pods:orders-7f9c", "aud": "vault"},
		"by a prefix, and no more": {"sub": "pods:orders-", "aud": "vault"},
		"what an ID token has":     {"nonce": "n", "at_hash": "x", "azp": "y", "token_use": "id", "client_id": "theirs"},
		"what GitHub has":          {"repository": "acme/orders", "run_id": "1", "jti": "j", "nbf": time.Now().Unix() - 300},
		"what Kubernetes has":      {"kubernetes.io": map[string]any{"namespace": "shop", "pod": map[string]any{"name": "a"}}},
		"an iss with no iat":       {"iat": nil},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := w.asClient("orders", w.assertion(jws.Header{}, foreign(changes)))
			if err != nil {
				t.Fatal(err)
			}
			sub, _ := foreign(changes)["sub"].(string)
			if client.Name != "orders" || client.Method != "federated" || client.Credential != "github "+sub || client.Record.Scope.String() != "billing:read" {
				t.Errorf("client %+v", client)
			}
		})
	}
	if len(w.memory.used) > 0 {
		t.Error("it was remembered: the same token is used many times")
	}
	if names := w.auth.Names(); !slices.Equal(names, []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth"}) {
		t.Errorf("names for the metadata are %s: federated is none (RFC 7591 §2)", names)
	}
}

func TestI5_AFederatedAssertionIsRefusedForWhatItsTextShows(t *testing.T) {
	now := time.Now().Unix()
	for _, test := range []struct {
		name, clientID string
		header         jws.Header
		changes        map[string]any
		word           string
	}{
		{"no client_id", "", jws.Header{}, nil, "client_id is required"},
		{"no sub", "orders", jws.Header{}, map[string]any{"sub": nil}, "sub must be"},
		{"a sub longer than any that is registered", "orders", jws.Header{}, map[string]any{"sub": "pods:orders-" + strings.Repeat("x", events.MaxURI)}, "sub must be"},
		{"no aud", "orders", jws.Header{}, map[string]any{"aud": nil}, "one audience alone"},
		{"for somebody else, too", "orders", jws.Header{}, map[string]any{"aud": []string{testIssuer, "https://other"}}, "one audience alone"},
		{"no exp", "orders", jws.Header{}, map[string]any{"exp": nil}, "exp is required"},
		{"exp before iat", "orders", jws.Header{}, map[string]any{"exp": now, "iat": now + 1}, "exp is not after iat"},
		{"bound to a key", "orders", jws.Header{}, map[string]any{"cnf": map[string]any{"jkt": "x"}}, "bound to a key"},
		{"an access token", "orders", jws.Header{Type: "at+jwt"}, nil, "another kind of token"},
		{"a DPoP proof", "orders", jws.Header{Type: "dpop+jwt"}, nil, "another kind of token"},
		{"a logout token", "orders", jws.Header{Type: "logout+jwt"}, nil, "another kind of token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t).federate()
			client, err := w.asClient(test.clientID, w.assertion(test.header, foreign(test.changes)))
			e := refused(t, client, err, InvalidClient)
			if !strings.Contains(e.Description, test.word) || e.Method != "federated" {
				t.Errorf("description %q, method %s", e.Description, e.Method)
			}
			for _, part := range []string{"acme", githubIss} {
				if strings.Contains(e.Description+e.Reason, part) {
					t.Errorf("the refusal has a part of the assertion: %s", e.Description+e.Reason)
				}
			}
		})
	}
}

func TestI6_TheTypeOfAFederatedAssertionSaysNothingOrThatItIsOne(t *testing.T) {
	w := newWorld(t).federate()
	for _, typ := range []string{"", "JWT", "jwt", "JOSE", "application/jwt", "client-authentication+jwt"} {
		if _, err := w.asClient("orders", w.assertion(jws.Header{Type: typ}, foreign(nil))); err != nil {
			t.Errorf("typ %q: %v", typ, err)
		}
	}
}

func TestI8_AFederatedAssertionLivesAsLongAsItsIssuersRecordSays(t *testing.T) {
	tests := []struct {
		name          string
		record        string        // members more
		iat, exp, nbf time.Duration // from now; never: not in the assertion
		ok            bool
	}{
		{"an hour, by default", "", 0, time.Hour, never, true},
		{"a second more", "", 0, time.Hour + time.Second, never, false},
		{"an hour that is almost over", "", -59 * time.Minute, time.Minute, never, true},
		{"a day that is almost over", "", -23 * time.Hour, time.Minute, never, false},
		{"a day, as the record says", `,"max_token_ttl":86400`, 0, 24 * time.Hour, never, true},
		{"ten minutes, as the record says", `,"max_token_ttl":600`, 0, 10 * time.Minute, never, true},
		{"longer than the record says", `,"max_token_ttl":600`, 0, 10*time.Minute + time.Second, never, false},
		{"no iat, an hour", "", never, time.Hour, never, true},
		{"no iat, a second more", "", never, time.Hour + time.Second, never, false},
		{"expired within the leeway", "", -time.Minute, -29 * time.Second, never, true},
		{"expired", "", -time.Minute, -30 * time.Second, never, false},
		{"made in the future, within the leeway", "", 30 * time.Second, time.Minute, never, true},
		{"made in the future", "", 31 * time.Second, time.Minute, never, false},
		{"nbf within the leeway", "", 0, time.Minute, 30 * time.Second, true},
		{"nbf later", "", 0, time.Minute, 31 * time.Second, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t).federate()
				w.put("issuer.github", `{"type":"external","status":"active","iss":"`+githubIss+`","use":["assertion"]`+test.record+`}`)
				changes := map[string]any{}
				for claim, at := range map[string]time.Duration{"iat": test.iat, "exp": test.exp, "nbf": test.nbf} {
					changes[claim] = nil
					if at != never {
						changes[claim] = time.Now().Add(at).Unix()
					}
				}
				client, err := w.asClient("orders", w.assertion(jws.Header{}, foreign(changes)))
				if test.ok && err != nil {
					t.Fatal(err)
				}
				if !test.ok {
					refused(t, client, err, InvalidClient)
				}
			})
		})
	}
}

func TestI4_WhoeverIsNoFederatedIdentityGetsOneMessage(t *testing.T) {
	now := time.Now().Unix()
	external := func(members string) func(*world) {
		return func(w *world) {
			w.put("issuer.github", `{"type":"external","status":"active","iss":"`+githubIss+`","use":["assertion"]`+members+`}`)
		}
	}
	tests := []struct {
		name     string
		clientID string
		changes  map[string]any
		prepare  func(w *world)
		reason   string
	}{
		{"unknown issuer", "orders", map[string]any{"iss": "https://other.example"}, nil, "unknown issuer"},
		{"an issuer with a slash more", "orders", map[string]any{"iss": githubIss + "/"}, nil, "unknown issuer"},
		{"an issuer in capitals", "orders", map[string]any{"iss": strings.ToUpper(githubIss)}, nil, "unknown issuer"},
		{"an issuer that two claim", "orders", nil, func(w *world) {
			w.put("issuer.twin", `{"type":"external","status":"active","iss":"`+githubIss+`","use":["assertion"]}`)
		}, "unknown issuer"},
		{"the platform", "orders", map[string]any{"iss": testIssuer}, nil, "not an external issuer"},
		{"the client itself, by its URL", "orders", map[string]any{"iss": testIssuer + "/v1/clients/orders"}, nil, "not an external issuer"},
		{"an issuer disabled a second ago", "orders", nil, func(w *world) {
			w.put("issuer.github", `{"type":"external","status":"disabled","iss":"`+githubIss+`","use":["assertion"]}`)
		}, "disabled issuer"},
		{"an issuer that was disabled and enabled", "orders", nil, external(fmt.Sprintf(`,"not_before":%d`, now+5)), "assertion from before the issuer's not_before"},
		{"no iat, and an issuer that was disabled and enabled", "orders", map[string]any{"iat": nil}, external(`,"not_before":1`), "assertion from before the issuer's not_before"},
		{"an issuer of access tokens only", "orders", nil, func(w *world) {
			w.put("issuer.github", `{"type":"external","status":"active","iss":"`+githubIss+`","use":["access_token"],"aud":["`+testIssuer+`"]}`)
		}, "issuer is not one for assertions"},
		{"an audience that the issuer's record does not have", "orders", nil, external(`,"aud":["vault"]`), "audience that the issuer's record does not allow"},
		{"unknown client", "stranger", nil, nil, "unknown client"},
		{"a name that no client can have", "a b", nil, nil, "unknown client"},
		{"disabled client", "closed", nil, nil, "disabled client"},
		{"the issuer as a client", "github", nil, nil, "not a client"},
		{"a client that was disabled and enabled", "orders", nil, func(w *world) {
			w.put("issuer.orders", fmt.Sprintf(`{"type":"client","status":"active","not_before":%d}`, now+5))
		}, "assertion from before the client's not_before"},
		{"a client with no identities", "orders", nil, func(w *world) { w.secrets("orders") }, "not a federated identity of the client"},
		{"another client's", "nothing", nil, func(w *world) { w.put("issuer.nothing", `{"type":"client","status":"active"}`) }, "not a federated identity of the client"},
		{"another subject", "orders", map[string]any{"sub": "repo:acme/orders:ref:refs/heads/next"}, nil, "not a federated identity of the client"},
		{"a subject that goes on", "orders", map[string]any{"sub": mainRef + "2"}, nil, "not a federated identity of the client"},
		{"a subject in capitals", "orders", map[string]any{"sub": strings.ToUpper(mainRef)}, nil, "not a federated identity of the client"},
		{"the registered prefix without its end", "orders", map[string]any{"sub": "pods:orders", "aud": "vault"}, nil, "not a federated identity of the client"},
		{"the audience of the other identity", "orders", map[string]any{"aud": "vault"}, nil, "not a federated identity of the client"},
		{"the token endpoint as audience", "orders", map[string]any{"aud": testIssuer + "/oauth/token"}, nil, "not a federated identity of the client"},
		{"another issuer's subject of the same name", "orders", map[string]any{"iss": "https://k8s.example"}, func(w *world) {
			w.put("issuer.k8s", `{"type":"external","status":"active","iss":"https://k8s.example","use":["assertion"]}`)
			w.key("k8s", "k1", events.Key{Public: w.private.Public()})
		}, "not a federated identity of the client"},
		{"wrong signature", "orders", nil, func(w *world) { w.private = newPrivateKey(w.t) }, "wrong signature"},
		{"a client's key", "orders", nil, func(w *world) {
			w.key("github", "k1", events.Key{Public: newPrivateKey(w.t).Public()})
		}, "wrong signature"},
		{"revoked key", "orders", nil, func(w *world) { w.put("revoked.github.k1", "{}") }, "revoked key"},
		{"expired key", "orders", nil, func(w *world) {
			w.key("github", "k1", events.Key{Public: w.private.Public(), Expires: now})
		}, "expired key"},
		{"pending key", "orders", nil, func(w *world) {
			w.key("github", "k1", events.Key{Public: w.private.Public(), NotBefore: now + 60})
		}, "pending key"},
		{"too long a life", "orders", map[string]any{"exp": now + 3700}, nil, "assertion with a longer life than the issuer's max_token_ttl"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t).federate()
			if test.prepare != nil {
				test.prepare(w)
			}
			client, err := w.asClient(test.clientID, w.assertion(jws.Header{}, foreign(test.changes)))
			e := refused(t, client, err, InvalidClient)
			if e.Description != failed {
				t.Errorf("description %q tells more than others", e.Description)
			}
			if e.Reason != test.reason || e.Method != "federated" {
				t.Errorf("reason %q, want %q; method %s", e.Reason, test.reason, e.Method)
			}
			if len(w.unknown) > 0 {
				t.Error("the keys of the issuer would be looked for")
			}
		})
	}
}

func TestI21_AnUnknownKeyOfAGoodIdentityIsToldAndAnsweredLikeAnyOther(t *testing.T) {
	w := newWorld(t).federate()
	for _, test := range []struct {
		name, clientID string
		changes        map[string]any
		told           []string
	}{
		{"all is right", "orders", nil, []string{"github k9"}},
		{"another subject", "orders", map[string]any{"sub": "x"}, nil},
		{"another client", "stranger", nil, nil},
		{"another issuer", "orders", map[string]any{"iss": "https://other.example"}, nil},
		{"it has expired", "orders", map[string]any{"exp": 1, "iat": nil}, nil},
	} {
		w.unknown = nil
		client, err := w.asClient(test.clientID, w.assertion(jws.Header{KeyID: "k9"}, foreign(test.changes)))
		e := refused(t, client, err, InvalidClient)
		if !slices.Equal(w.unknown, test.told) {
			t.Errorf("%s: told of %q, want %q", test.name, w.unknown, test.told)
		}
		if test.told != nil && (e.Description != failed || e.Reason != "unknown key") {
			t.Errorf("%s: description %q, reason %q", test.name, e.Description, e.Reason)
		}
	}
	w.key("github", "k9", events.Key{Public: w.private.Public()})
	if _, err := w.asClient("orders", w.assertion(jws.Header{KeyID: "k9"}, foreign(nil))); err != nil {
		t.Errorf("when the key has come: %v", err)
	}
}

func TestAFederatedAssertionIsUsedAgainWhileItLives(t *testing.T) {
	w := newWorld(t).federate()
	w.memory.err = ErrReplayed
	assertion := w.assertion(jws.Header{}, foreign(map[string]any{"jti": "j1"}))
	for range 3 {
		if _, err := w.asClient("orders", assertion); err != nil {
			t.Fatal(err)
		}
	}
	w.put("issuer.github", `{"type":"external","status":"disabled","iss":"`+githubIss+`","use":["assertion"]}`)
	client, err := w.asClient("orders", assertion)
	refused(t, client, err, InvalidClient)
}
