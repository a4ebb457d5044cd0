package clientauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestAnAssertionOfAnActiveClientIsAccepted(t *testing.T) {
	w := newWorld(t)
	client, err := w.try(w.assertion(jws.Header{Type: "client-authentication+jwt"}, claims(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if client.Name != "orders" || client.Method != "private_key_jwt" || client.Credential != "k1" || client.Record.Scope.String() != "billing:read" {
		t.Errorf("client %+v", client)
	}
}

func TestI5_AnAssertionIsForThisIssuerAloneAndAboutItsSigner(t *testing.T) {
	tests := []struct {
		name     string
		changes  map[string]any
		clientID string
		ok       bool
	}{
		{"aud is the issuer", nil, "", true},
		{"aud is an array with the issuer alone", map[string]any{"aud": []string{testIssuer}}, "", true},
		{"aud is the token endpoint", map[string]any{"aud": testIssuer + "/oauth/token"}, "", false},
		{"aud is the issuer with a slash", map[string]any{"aud": testIssuer + "/"}, "", false},
		{"aud is the issuer in capitals", map[string]any{"aud": strings.ToUpper(testIssuer)}, "", false},
		{"aud has somebody else, too", map[string]any{"aud": []string{testIssuer, "https://other"}}, "", false},
		{"aud has the issuer twice", map[string]any{"aud": []string{testIssuer, testIssuer}}, "", false},
		{"aud is somebody else", map[string]any{"aud": "https://other"}, "", false},
		{"aud is missing", map[string]any{"aud": nil}, "", false},
		{"client_id of the request is the client", nil, "orders", true},
		{"client_id of the request is another", nil, "closed", false},
		{"client_id of the request differs in case", nil, "Orders", false},
		{"client_id claim is the client", map[string]any{"client_id": "orders"}, "", true},
		{"client_id claim is another", map[string]any{"client_id": "closed"}, "", false},
		{"iss is missing", map[string]any{"iss": nil}, "", false},
		{"sub is missing", map[string]any{"sub": nil}, "", false},
		{"iss is another", map[string]any{"iss": "closed"}, "", false},
		{"sub is another", map[string]any{"sub": "closed"}, "", false},
		{"iss is the client's URL", map[string]any{"iss": testIssuer + "/v1/clients/orders", "sub": "orders"}, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			client, err := w.auth.Authenticate(t.Context(), &Request{ClientID: test.clientID, AssertionType: AssertionType,
				Assertion: w.assertion(jws.Header{}, claims(test.changes))})
			if test.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused(t, client, err, InvalidClient)
			if len(w.memory.used) > 0 {
				t.Error("a refused assertion was remembered")
			}
		})
	}
}

func TestI6_TheTypeOfAnAssertionIsRightOrAbsent(t *testing.T) {
	for typ, ok := range map[string]bool{
		"": true, "JWT": true, "jwt": true, "client-authentication+jwt": true, "application/client-authentication+jwt": true,
		"Client-Authentication+JWT": true,
		"at+jwt":                    false, "application/at+jwt": false, "dpop+jwt": false, "oauth-authz-req+jwt": false, "JOSE": false,
		"client-authentication": false, "x": false,
	} {
		t.Run("typ "+typ, func(t *testing.T) {
			w := newWorld(t)
			client, err := w.try(w.assertion(jws.Header{Type: typ}, claims(nil)))
			if ok && err != nil {
				t.Error(err)
			}
			if !ok {
				refused(t, client, err, InvalidClient)
			}
		})
	}
}

func TestI8_AnAssertionLivesForFiveMinutesAtMost(t *testing.T) {
	tests := []struct {
		name          string
		iat, exp, nbf time.Duration // from now; never: not in the assertion
		ok            bool
	}{
		{"a minute", 0, time.Minute, never, true},
		{"five minutes", 0, 5 * time.Minute, never, true},
		{"a second more", 0, 5*time.Minute + time.Second, never, false},
		{"five minutes, made a while ago", -4 * time.Minute, time.Minute, never, true},
		{"a long life that is almost over", -time.Hour, time.Minute, never, false},
		{"expired within the leeway", -time.Minute, -29 * time.Second, never, true},
		{"expired", -time.Minute, -30 * time.Second, never, false},
		{"no exp", 0, never, never, false},
		{"made in the future, within the leeway", 30 * time.Second, time.Minute, never, true},
		{"made in the future", 31 * time.Second, time.Minute, never, false},
		{"no iat, five minutes", never, 5 * time.Minute, never, true},
		{"no iat, five minutes and the leeway", never, 5*time.Minute + 30*time.Second, never, true},
		{"no iat, a second more", never, 5*time.Minute + 31*time.Second, never, false},
		{"no iat, a year", never, 365 * 24 * time.Hour, never, false},
		{"nbf within the leeway", 0, time.Minute, 30 * time.Second, true},
		{"nbf later", 0, time.Minute, 31 * time.Second, false},
		{"nbf in the past", 0, time.Minute, -time.Hour, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				changes := map[string]any{}
				for claim, at := range map[string]time.Duration{"iat": test.iat, "exp": test.exp, "nbf": test.nbf} {
					changes[claim] = nil
					if at != never {
						changes[claim] = time.Now().Add(at).Unix()
					}
				}
				client, err := w.try(w.assertion(jws.Header{}, claims(changes)))
				if test.ok && err != nil {
					t.Fatal(err)
				}
				if !test.ok {
					refused(t, client, err, InvalidClient)
				}
				if test.ok && w.memory.used["orders\nj1"].Before(time.Now().Add(test.exp).Add(leeway)) {
					t.Error("it can be forgotten while it is still accepted")
				}
			})
		})
	}
}

const never = time.Duration(-1 << 63)

func TestARefusalSaysWhatIsWrongWithTheAssertionItself(t *testing.T) {
	for word, changes := range map[string]map[string]any{
		"exp is required":        {"exp": nil},
		"expired":                {"iat": nil, "exp": 1},
		"jti":                    {"jti": nil},
		"aud must be the issuer": {"aud": "x"},
		"iss and sub":            {"iss": "x"},
		"too long":               {"exp": time.Now().Unix() + 3600},
	} {
		w := newWorld(t)
		client, err := w.try(w.assertion(jws.Header{}, claims(changes)))
		if e := refused(t, client, err, InvalidClient); !strings.Contains(e.Description, word) {
			t.Errorf("description %q does not say %q", e.Description, word)
		}
	}
}

func TestI8_TimesAtTheEndsOfTheScaleAreRefused(t *testing.T) {
	const most = 1<<53 - 1
	for name, changes := range map[string]map[string]any{
		"exp at the end of time":          {"iat": nil, "exp": most},
		"iat and exp at the end of time":  {"iat": most, "exp": most},
		"all of time":                     {"iat": 0, "exp": most},
		"the beginning of time":           {"iat": 0, "exp": 0},
		"exp at the beginning of time":    {"exp": 0},
		"nbf at the end of time":          {"nbf": most},
		"iat at the beginning of time":    {"iat": 0},
		"exp at the beginning, no iat":    {"iat": nil, "exp": 0},
		"iat at the end of time, exp now": {"iat": most},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			client, err := w.try(w.assertion(jws.Header{}, claims(changes)))
			refused(t, client, err, InvalidClient)
		})
	}
}

func TestI8_AnAssertionIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	assertion := w.assertion(jws.Header{}, claims(nil))
	if _, err := w.try(assertion); err != nil {
		t.Fatal(err)
	}
	client, err := w.try(assertion)
	if e := refused(t, client, err, InvalidClient); !errors.Is(e, ErrReplayed) {
		t.Errorf("reason %s", e.Reason)
	}
	client, err = w.try(w.assertion(jws.Header{Type: "JWT"}, claims(map[string]any{"exp": time.Now().Unix() + 61})))
	refused(t, client, err, InvalidClient) // another text with the same jti
	if _, err := w.try(w.assertion(jws.Header{}, claims(map[string]any{"jti": "j2"}))); err != nil {
		t.Error(err)
	}
	client, err = w.try(w.assertion(jws.Header{}, claims(map[string]any{"jti": nil})))
	refused(t, client, err, InvalidClient)
}

func TestI9_WithoutReplayMemoryAssertionsAreUndecidedAndAPIKeysGoOn(t *testing.T) {
	w := newWorld(t)
	w.memory.err = errors.New("no responders")
	client, err := w.try(w.assertion(jws.Header{}, claims(nil)))
	refused(t, client, err, Unavailable)
	if _, err := w.auth.Authenticate(t.Context(), &Request{Secret: w.apiKeys["orders"].Reveal()}); err != nil {
		t.Error(err)
	}
}

func TestI9_AReplayMemoryThatHangsIsGivenUpAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.memory.hangs = true
		start := time.Now()
		client, err := w.try(w.assertion(jws.Header{}, claims(nil)))
		refused(t, client, err, Unavailable)
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("answered after %v", waited)
		}
	})
}

func TestI4_WhoeverCannotProveItselfGetsOneMessage(t *testing.T) {
	foreign := newPrivateKey(t)
	tests := []struct {
		name    string
		header  jws.Header
		changes map[string]any
		prepare func(w *world)
		reason  string
	}{
		{"unknown client", jws.Header{}, map[string]any{"iss": "stranger", "sub": "stranger"}, nil, "unknown client"},
		{"a name that no client can have", jws.Header{}, map[string]any{"iss": "a b", "sub": "a b"}, nil, "unknown client"},
		{"key without a client", jws.Header{}, map[string]any{"iss": "nobody", "sub": "nobody"}, nil, "unknown client"},
		{"disabled client", jws.Header{}, map[string]any{"iss": "closed", "sub": "closed"}, nil, "disabled client"},
		{"external issuer", jws.Header{}, map[string]any{"iss": "github", "sub": "github"}, nil, "not a client"},
		{"the platform", jws.Header{}, map[string]any{"iss": "platform", "sub": "platform"}, nil, "not a client"},
		{"unknown key", jws.Header{KeyID: "k9"}, nil, nil, "unknown key"},
		{"wrong key", jws.Header{}, nil, func(w *world) { w.private = foreign }, "wrong signature"},
		{"another client's key", jws.Header{}, nil, func(w *world) {
			w.key("orders", "k1", events.Key{Public: foreign.Public()})
		}, "wrong signature"},
		{"revoked key", jws.Header{}, nil, func(w *world) { w.put("revoked.orders.k1", "{}") }, "revoked key"},
		{"expired key", jws.Header{}, nil, func(w *world) {
			w.key("orders", "k1", events.Key{Public: w.private.Public(), Expires: time.Now().Unix()})
		}, "expired key"},
		{"pending key", jws.Header{}, nil, func(w *world) {
			w.key("orders", "k1", events.Key{Public: w.private.Public(), NotBefore: time.Now().Unix() + 60})
		}, "pending key"},
		{"key of another algorithm", jws.Header{}, nil, func(w *world) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				w.t.Fatal(err)
			}
			w.key("orders", "k1", events.Key{Algorithm: events.ES256, Public: key.Public()})
		}, "algorithm of another kind of key"},
		{"from before the client's not_before", jws.Header{}, nil, func(w *world) {
			w.put("issuer.orders", fmt.Sprintf(`{"type":"client","status":"active","not_before":%d}`, time.Now().Unix()+1))
		}, "assertion from before the client's not_before"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			if test.prepare != nil {
				test.prepare(w)
			}
			client, err := w.try(w.assertion(test.header, claims(test.changes)))
			e := refused(t, client, err, InvalidClient)
			if e.Description != failed {
				t.Errorf("description %q tells more than others", e.Description)
			}
			if e.Reason != test.reason {
				t.Errorf("reason %q, want %q", e.Reason, test.reason)
			}
			if len(w.memory.used) > 0 {
				t.Error("a refused assertion was remembered")
			}
		})
	}
}

func TestI4_ADecoyTakesAsMuchWorkAsAKey(t *testing.T) {
	decoys, err := newDecoys()
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range jws.Algorithms() {
		var e *jws.Error
		err := jws.Verify(alg, decoys[alg], []byte("input"), make([]byte, 64))
		if !errors.As(err, &e) || e.Reason != jws.ReasonSignature {
			t.Errorf("%s: %v, want a signature that was checked and is wrong", alg, err)
		}
	}
}

func TestI4_OneSignatureIsCheckedWhateverIsWrongWithTheKey(t *testing.T) {
	w := newWorld(t)
	w.key("orders", "old", events.Key{Public: w.private.Public(), Expires: time.Now().Unix()})
	w.put("revoked.orders.dead", "{}")
	for _, test := range []struct {
		issuer  events.Name
		kid     string
		problem string
	}{
		{"orders", "k1", ""}, {"orders", "k9", "unknown key"}, {"orders", "old", "expired key"}, {"orders", "dead", "revoked key"},
		{"stranger", "k1", "unknown key"}, {"", "k1", "unknown key"},
	} {
		token, err := jws.Parse(w.assertion(jws.Header{KeyID: test.kid}, claims(nil)))
		if err != nil {
			t.Fatal(err)
		}
		alg, public, problem := w.assertions.keyOrDecoy(w.set, token, test.issuer, time.Now())
		if problem != test.problem || !alg.Fits(public) {
			t.Errorf("%s %s: problem %q, and a key of type %T for %s", test.issuer, test.kid, problem, public, alg)
		}
		if good := jws.Verify(alg, public, token.SigningInput(), token.Signature()) == nil; good != (test.problem == "") {
			t.Errorf("%s %s: the signature is good: %v", test.issuer, test.kid, good)
		}
	}
}

func TestEveryAlgorithmOfTheMetadataWorks(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	for i, name := range (*Assertions)(nil).Algorithms() {
		t.Run(name, func(t *testing.T) {
			var key crypto.Signer = w.private
			registered := events.Algorithm(name)
			switch jws.Algorithm(name) {
			case jws.Ed25519:
				registered = events.EdDSA
			case jws.ES256:
				key = ec
			case jws.RS256, jws.PS256:
				key = rsaKey
			}
			w.key("orders", events.KeyID(name), events.Key{Algorithm: registered, Public: key.Public()})
			text, _ := json.Marshal(claims(map[string]any{"jti": fmt.Sprint("alg", i)}))
			assertion, err := jws.Sign(jws.Header{Algorithm: jws.Algorithm(name), KeyID: name}, text, key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.try(assertion); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnUnreadableAssertionIsRefusedWithoutShowingIt(t *testing.T) {
	w := newWorld(t)
	good := w.assertion(jws.Header{}, claims(nil))
	parts := strings.Split(good, ".")
	for name, assertion := range map[string]string{
		"garbage":              "garbage",
		"no signature":         parts[0] + "." + parts[1] + ".",
		"padding":              good + "=",
		"algorithm none":       "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ." + parts[1] + "." + parts[2],
		"HMAC with public key": "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0." + parts[1] + "." + parts[2],
		"dots":                 strings.Repeat(".", 60_000),
	} {
		t.Run(name, func(t *testing.T) {
			client, err := w.try(assertion)
			e := refused(t, client, err, InvalidClient)
			if strings.Contains(e.Error()+e.Description, parts[1][:10]) {
				t.Error("the refusal has a part of the assertion")
			}
		})
	}
}

func TestI1_AnAssertionNeedsItsType(t *testing.T) {
	w := newWorld(t)
	good := w.assertion(jws.Header{}, claims(nil))
	for name, r := range map[string]*Request{
		"no type":      {Assertion: good},
		"wrong type":   {Assertion: good, AssertionType: "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
		"no assertion": {AssertionType: AssertionType},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := w.auth.Authenticate(t.Context(), r)
			refused(t, client, err, InvalidRequest)
		})
	}
}
