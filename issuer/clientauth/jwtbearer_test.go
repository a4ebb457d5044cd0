package clientauth

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// grant sends an assertion of orders, as it is by default in tests, as a grant.
func (w *world) grant(header jws.Header, changes map[string]any) (*Client, error) {
	return w.assertions.Grant(w.t.Context(), w.assertion(header, claims(changes)), "")
}

func TestI7_AGrantIsForThisIssuerOrItsTokenEndpoint(t *testing.T) {
	const endpoint = testIssuer + "/oauth/token"
	tests := []struct {
		name     string
		changes  map[string]any
		clientID string
		ok       bool
	}{
		{"aud is the issuer", nil, "", true},
		{"aud is an array with the issuer alone", map[string]any{"aud": []string{testIssuer}}, "", true},
		{"aud is the token endpoint", map[string]any{"aud": endpoint}, "", true},
		{"aud is both", map[string]any{"aud": []string{testIssuer, endpoint}}, "", true},
		{"aud is the token endpoint for SDKs", map[string]any{"aud": testIssuer + "/api/authentication/oauth/tokens"}, "", false},
		{"aud is the issuer with a slash", map[string]any{"aud": testIssuer + "/"}, "", false},
		{"aud has somebody else, too", map[string]any{"aud": []string{testIssuer, "https://other"}}, "", false},
		{"aud is missing", map[string]any{"aud": nil}, "", false},
		{"client_id of the request is the client", nil, "orders", true},
		{"client_id of the request is another", nil, "closed", false},
		{"client_id claim is another", map[string]any{"client_id": "closed"}, "", false},
		{"iss is missing", map[string]any{"iss": nil}, "", false},
		{"sub is missing", map[string]any{"sub": nil}, "", false},
		{"sub is a user", map[string]any{"sub": "user|77"}, "", false},
		{"iss is another client", map[string]any{"iss": "closed"}, "", false},
		{"a federated identity", map[string]any{"iss": githubIss, "sub": mainRef}, "orders", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t).federate()
			client, err := w.assertions.Grant(t.Context(), w.assertion(jws.Header{}, claims(test.changes)), test.clientID)
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				if client.Name != "orders" || client.Method != "jwt-bearer" || client.Credential != "k1" || client.Record == nil {
					t.Errorf("client %+v", client)
				}
				return
			}
			if e := refused(t, client, err, InvalidGrant); !strings.HasPrefix(e.Description, "assertion: ") || e.Method != "jwt-bearer" {
				t.Errorf("description %q, method %s", e.Description, e.Method)
			}
			if len(w.memory.used) > 0 {
				t.Error("a refused assertion was remembered")
			}
		})
	}
}

func TestI6_TheTypeOfAGrantIsAbsent(t *testing.T) {
	for typ, ok := range map[string]bool{
		"": true, "JWT": true, "application/jwt": true,
		"client-authentication+jwt": false, "at+jwt": false, "dpop+jwt": false, "JOSE": false, "x": false,
	} {
		w := newWorld(t)
		client, err := w.grant(jws.Header{Type: typ}, nil)
		if ok && err != nil {
			t.Errorf("typ %q: %v", typ, err)
		}
		if !ok {
			refused(t, client, err, InvalidGrant)
		}
	}
}

func TestI8_AGrantLivesForAnHourAtMost(t *testing.T) {
	tests := []struct {
		name     string
		iat, exp time.Duration // from now; never: not in the assertion
		ok       bool
	}{
		{"an hour", 0, time.Hour, true},
		{"a second more", 0, time.Hour + time.Second, false},
		{"an hour that is almost over", -59 * time.Minute, time.Minute, true},
		{"no iat, an hour and the leeway", never, time.Hour + 30*time.Second, true},
		{"no iat, a second more", never, time.Hour + 31*time.Second, false},
		{"expired", -time.Minute, -30 * time.Second, false},
		{"made in the future", 31 * time.Second, time.Minute, false},
		{"no exp", 0, never, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				changes := map[string]any{}
				for claim, at := range map[string]time.Duration{"iat": test.iat, "exp": test.exp} {
					changes[claim] = nil
					if at != never {
						changes[claim] = time.Now().Add(at).Unix()
					}
				}
				client, err := w.grant(jws.Header{}, changes)
				if test.ok && err != nil {
					t.Fatal(err)
				}
				if !test.ok {
					refused(t, client, err, InvalidGrant)
				}
				if test.ok && w.memory.used["orders\nj1"].Before(time.Now().Add(test.exp).Add(leeway)) {
					t.Error("it can be forgotten while it is still accepted")
				}
			})
		})
	}
}

func TestI8_AGrantWithAJTIIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	if _, err := w.grant(jws.Header{}, nil); err != nil {
		t.Fatal(err)
	}
	client, err := w.grant(jws.Header{}, nil)
	if e := refused(t, client, err, InvalidGrant); !errors.Is(e, ErrReplayed) {
		t.Errorf("reason %s", e.Reason)
	}
	// What was used as one is used up as the other, too.
	client, err = w.try(w.assertion(jws.Header{}, claims(nil)))
	refused(t, client, err, InvalidClient)
	if _, err := w.try(w.assertion(jws.Header{}, claims(map[string]any{"jti": "j2"}))); err != nil {
		t.Fatal(err)
	}
	client, err = w.grant(jws.Header{}, map[string]any{"jti": "j2"})
	refused(t, client, err, InvalidGrant)
}

func TestI8_AGrantNeedsAJTIIfTheClientsRecordSaysSo(t *testing.T) {
	w := newWorld(t)
	without := map[string]any{"jti": nil}
	for range 2 {
		if _, err := w.grant(jws.Header{}, without); err != nil {
			t.Fatal(err)
		}
	}
	w.clients.Apply(events.Entry{Name: "orders", Value: []byte(`{"require_jti":true}`), Revision: w.clients.Revision() + 1, Time: time.Now()})
	client, err := w.grant(jws.Header{}, without)
	if e := refused(t, client, err, InvalidGrant); !strings.Contains(e.Description, "jti is required") {
		t.Errorf("description %q", e.Description)
	}
	if _, err := w.grant(jws.Header{}, nil); err != nil {
		t.Fatal(err)
	}
	w.private = newPrivateKey(t) // a stranger is not told of the record
	client, err = w.grant(jws.Header{}, without)
	if e := refused(t, client, err, InvalidGrant); e.Description != notGranted {
		t.Errorf("description %q", e.Description)
	}
}

func TestI9_WithoutReplayMemoryAGrantIsUndecidedUnlessItHasNoJTI(t *testing.T) {
	w := newWorld(t)
	w.memory.err = errors.New("no responders")
	client, err := w.grant(jws.Header{}, nil)
	refused(t, client, err, Unavailable)
	if _, err := w.grant(jws.Header{}, map[string]any{"jti": nil}); err != nil {
		t.Error(err)
	}
}

func TestI4_WhoeverCannotProveItselfByAGrantGetsOneMessage(t *testing.T) {
	for _, test := range []struct {
		name    string
		header  jws.Header
		changes map[string]any
		prepare func(w *world)
		reason  string
	}{
		{"unknown client", jws.Header{}, map[string]any{"iss": "stranger", "sub": "stranger"}, nil, "unknown client"},
		{"disabled client", jws.Header{}, map[string]any{"iss": "closed", "sub": "closed"}, nil, "disabled client"},
		{"external issuer by its name", jws.Header{}, map[string]any{"iss": "github", "sub": "github"}, nil, "not a client"},
		{"the platform", jws.Header{}, map[string]any{"iss": "platform", "sub": "platform"}, nil, "not a client"},
		{"unknown key", jws.Header{KeyID: "k9"}, nil, nil, "unknown key"},
		{"wrong key", jws.Header{}, nil, func(w *world) { w.private = newPrivateKey(w.t) }, "wrong signature"},
		{"revoked key", jws.Header{}, nil, func(w *world) { w.put("revoked.orders.k1", "{}") }, "revoked key"},
		{"from before the client's not_before", jws.Header{}, nil, func(w *world) {
			w.put("issuer.orders", fmt.Sprintf(`{"type":"client","status":"active","not_before":%d}`, time.Now().Unix()+1))
		}, "assertion from before the client's not_before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.prepare != nil {
				test.prepare(w)
			}
			client, err := w.grant(test.header, test.changes)
			if e := refused(t, client, err, InvalidGrant); e.Description != notGranted || e.Reason != test.reason {
				t.Errorf("description %q, reason %q, want %q", e.Description, e.Reason, test.reason)
			}
		})
	}
}
