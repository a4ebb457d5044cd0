package registry_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func newPublic(t *testing.T) ed25519.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestAddKeyMakesAPair(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	key := must(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{}))(t)

	access := must(events.ParseAccessKey(key.AccessKey.Reveal()))(t)
	if access.Client != "orders" || access.KeyID != key.KeyID || access.Account != w.set().Platform().Record.Account {
		t.Errorf("the access key is %s", access)
	}
	if !regexp.MustCompile(`^[a-zA-Z0-9]{6}$`).MatchString(string(key.KeyID)) {
		t.Errorf("kid is %q", key.KeyID)
	}
	live := w.set().Key("orders", key.KeyID)
	if live == nil || live.Revision != key.Revision || live.State(w.clock.Now()) != events.KeyActive {
		t.Fatalf("the live set has %+v", live)
	}
	sig := ed25519.Sign(access.Private(), []byte("m"))
	if !ed25519.Verify(live.Record.Public.(ed25519.PublicKey), []byte("m"), sig) {
		t.Error("the live key does not verify what the access key signs")
	}
	e := w.stored(bus.Keys, "key.orders."+string(key.KeyID))
	m := members(t, e)
	if len(m) != 7 || m["kty"] != "OKP" || m["crv"] != "Ed25519" || m["alg"] != "EdDSA" || m["use"] != "sig" || m["kid"] != string(key.KeyID) || m["iat"] != float64(w.clock.Now().Unix()) {
		t.Errorf("record is %s", e.Value)
	}
	if e.Caller != alice.Name {
		t.Errorf("caller is %q", e.Caller)
	}
}

// P7: whatever is printed of a new key, its private half is not in it.
func TestP7_ANewKeyDoesNotPrintItsPrivateHalf(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	key := w.add("orders", "k1")
	secret := strings.Split(key.AccessKey.Reveal(), ".")[3]
	seed := key.AccessKey.Private().Seed()
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		out := fmt.Sprintf(format, key)
		if strings.Contains(out, secret) || strings.Contains(out, fmt.Sprint(seed)[1:40]) {
			t.Errorf("%s prints the private key", format)
		}
	}
	if strings.Contains(w.audit.String(), secret) {
		t.Error("the audit log has the private key")
	}
	if strings.Contains(string(w.stored(bus.Keys, "key.orders.k1").Value), secret[20:]) {
		t.Error("the bucket has the private key")
	}
}

func TestAddKeyTakesAPublicKey(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	from, to := w.clock.Now().Add(time.Hour), w.clock.Now().Add(2*time.Hour)
	for name, c := range map[string]struct {
		spec  registry.KeySpec
		alg   events.Algorithm
		state events.KeyState
	}{
		"Ed25519":                  {registry.KeySpec{Public: newPublic(t)}, events.EdDSA, events.KeyActive},
		"P-256":                    {registry.KeySpec{KeyID: "kms-1", Public: ec.Public()}, events.ES256, events.KeyActive},
		"RSA that says which":      {registry.KeySpec{Public: rsaKey.Public(), Algorithm: events.PS256, Expires: to}, events.PS256, events.KeyRetiring},
		"one that is yet to begin": {registry.KeySpec{Public: newPublic(t), NotBefore: from, Expires: to}, events.EdDSA, events.KeyPending},
	} {
		t.Run(name, func(t *testing.T) {
			key := must(w.AddKey(t.Context(), alice, "orders", c.spec))(t)
			if key.AccessKey != nil {
				t.Error("there is an access key for a key that was brought along")
			}
			if c.spec.KeyID != "" && key.KeyID != c.spec.KeyID {
				t.Errorf("kid is %q", key.KeyID)
			}
			live := w.set().Key("orders", key.KeyID)
			if live.Record.Algorithm != c.alg || live.State(w.clock.Now()) != c.state {
				t.Errorf("the live key is %s and %s, want %s and %s", live.Record.Algorithm, live.State(w.clock.Now()), c.alg, c.state)
			}
			if !live.Record.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(c.spec.Public) {
				t.Error("the live key is another")
			}
		})
	}
	keys := must(w.Keys(t.Context(), "orders"))(t)
	if len(keys) != 4 {
		t.Errorf("%d keys are listed, want 4", len(keys))
	}
}

func TestAddKeyForAnExternalIssuer(t *testing.T) {
	w := newWorld(t)
	if _, err := w.AddIssuer(t.Context(), alice, "github", github); err != nil {
		t.Fatal(err)
	}
	const kid = "https://example/keys#1"
	key := must(w.AddKey(t.Context(), alice, "github", registry.KeySpec{KeyID: kid, Public: newPublic(t)}))(t)
	if live := w.set().Key("github", kid); live == nil || live.Revision != key.Revision {
		t.Errorf("the live set has %+v", live)
	}
	for i := range events.MaxClientKeys { // the limit is for clients
		w.ok(w.AddKey(t.Context(), alice, "github", registry.KeySpec{KeyID: events.KeyID(fmt.Sprint("k", i)), Public: newPublic(t)}))
	}
	_, err := w.AddKey(t.Context(), alice, "github", registry.KeySpec{KeyID: "x"})
	wantError(t, err, registry.ErrInvalid, "makes its keys itself")
	_, err = w.AddKey(t.Context(), alice, "github", registry.KeySpec{Public: newPublic(t)})
	wantError(t, err, registry.ErrInvalid, "needs the kid that its tokens carry")
}

// ok fails the test if there was an error.
func (w *world) ok(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAddKeyRefuses(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("disabled")
	w.ok(w.DisableClient(t.Context(), alice, "disabled"))
	w.add("orders", "used")
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "never", ""))
	now := w.clock.Now()
	_, private, _ := ed25519.GenerateKey(nil)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)

	for name, c := range map[string]struct {
		client events.Name
		spec   registry.KeySpec
		kind   error
		want   string
	}{
		"an unknown client":                {"nobody", registry.KeySpec{}, registry.ErrNotFound, "there is no issuer or client nobody"},
		"the platform":                     {"platform", registry.KeySpec{}, registry.ErrNotFound, "type platform, not client"},
		"a disabled client":                {"disabled", registry.KeySpec{}, registry.ErrDisabled, "client disabled is disabled: enable it first"},
		"a name that is none":              {"a.b", registry.KeySpec{}, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
		"a kid in use":                     {"orders", registry.KeySpec{KeyID: "used"}, registry.ErrExists, `orders has a key "used" already`},
		"a kid that was revoked":           {"orders", registry.KeySpec{KeyID: "never"}, registry.ErrExists, "a revoked kid stays dead"},
		"a kid outside the alphabet":       {"orders", registry.KeySpec{KeyID: "a.b"}, registry.ErrInvalid, `kid "a.b"`},
		"a kid with a control character":   {"orders", registry.KeySpec{KeyID: "a\n"}, registry.ErrInvalid, "without control characters"},
		"a window that is over":            {"orders", registry.KeySpec{Expires: now}, registry.ErrInvalid, "expired at"},
		"a window that was over in 1970":   {"orders", registry.KeySpec{Expires: time.Unix(0, 0)}, registry.ErrInvalid, "expired at"},
		"a window that ends first":         {"orders", registry.KeySpec{NotBefore: now.Add(time.Hour), Expires: now.Add(time.Minute)}, registry.ErrInvalid, "before it begins"},
		"a private Ed25519 key":            {"orders", registry.KeySpec{Public: private}, registry.ErrPrivateKey, "this is a private key"},
		"a private P-256 key":              {"orders", registry.KeySpec{Public: ec}, registry.ErrPrivateKey, "this is a private key"},
		"a private RSA key":                {"orders", registry.KeySpec{Public: rsaKey, Algorithm: events.RS256}, registry.ErrPrivateKey, "this is a private key"},
		"a key on another curve":           {"orders", registry.KeySpec{Public: p384.Public()}, registry.ErrInvalid, "must be on the curve P-256"},
		"RSA that does not say which":      {"orders", registry.KeySpec{Public: rsaKey.Public()}, registry.ErrInvalid, "neither RS256 nor PS256"},
		"an algorithm of another key":      {"orders", registry.KeySpec{Public: ec.Public(), Algorithm: events.EdDSA}, registry.ErrInvalid, "is not ES256"},
		"a point of small order":           {"orders", registry.KeySpec{Public: ed25519.PublicKey(make([]byte, 32))}, registry.ErrInvalid, "small order"},
		"something that is no key":         {"orders", registry.KeySpec{Public: "key"}, registry.ErrInvalid, "a key of type string"},
		"a pair of another algorithm":      {"orders", registry.KeySpec{Algorithm: events.ES256}, registry.ErrInvalid, "key pairs are made for EdDSA only"},
		"a pair that would begin too late": {"orders", registry.KeySpec{NotBefore: now.Add(time.Hour), Expires: now.Add(time.Hour)}, registry.ErrInvalid, "before it begins"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.set().Revision()
			key, err := w.AddKey(t.Context(), alice, c.client, c.spec)
			wantError(t, err, c.kind, c.want)
			if key.AccessKey != nil || key.Record != nil {
				t.Error("a key came with the error")
			}
			if after := w.set().Revision(); after != before {
				t.Errorf("something was written: revision %d, before %d", after, before)
			}
		})
	}
}

func TestAddKeyNeedsAnAccount(t *testing.T) {
	w := emptyWorld(t)
	w.client("orders")
	_, err := w.AddKey(t.Context(), alice, "orders", registry.KeySpec{})
	wantError(t, err, registry.ErrNotFound, "no platform with an account", "start keyherald serve once")
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{Public: newPublic(t)})) // no access key, no account
}

func TestAClientHasFiveKeysAtMost(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("billing")
	now := w.clock.Now()
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "pending", NotBefore: now.Add(time.Hour)}))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "retiring", Expires: now.Add(time.Minute)}))
	for _, kid := range []events.KeyID{"a", "b", "c"} {
		w.add("orders", kid)
	}
	_, err := w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "sixth"})
	wantError(t, err, registry.ErrTooManyKeys, "client orders has 5 keys already", "pending", "retire or revoke one")
	_, err = w.RotateKey(t.Context(), alice, "orders", registry.Rotation{})
	wantError(t, err, registry.ErrTooManyKeys)
	w.absent(bus.Keys, "key.orders.sixth")
	w.add("billing", "a") // another client's are not counted

	w.clock.advance(time.Minute) // one has expired
	w.add("orders", "sixth")
	_, err = w.AddKey(t.Context(), alice, "orders", registry.KeySpec{})
	wantError(t, err, registry.ErrTooManyKeys)
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "a", "")) // one is dead
	w.add("orders", "seventh")
}

func TestAPublicKeyIsRegisteredOnce(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("billing")
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "ghost", "")) // is known, and has no public key
	public := newPublic(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "k1", Public: public}))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "r1", Public: rsaKey.Public(), Algorithm: events.RS256}))

	// At once after the first, before any feed need have brought it.
	_, err := w.AddKey(t.Context(), alice, "billing", registry.KeySpec{Public: public})
	wantError(t, err, registry.ErrKeyTaken, `it is key "k1" of orders, active`)
	_, err = w.AddKey(t.Context(), alice, "orders", registry.KeySpec{Public: public})
	wantError(t, err, registry.ErrKeyTaken, `it is key "k1" of orders`)
	_, err = w.AddKey(t.Context(), alice, "billing", registry.KeySpec{Public: &rsa.PublicKey{N: rsaKey.N, E: rsaKey.E}, Algorithm: events.PS256})
	wantError(t, err, registry.ErrKeyTaken, `it is key "r1" of orders`)

	// From another registry, with its own key set.
	other := w.join(nil)
	_, err = other.AddKey(t.Context(), alice, "billing", registry.KeySpec{Public: public})
	wantError(t, err, registry.ErrKeyTaken, "k1")

	// A leaked key does not come back under another kid.
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "k1", "leaked"))
	_, err = w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "k2", Public: public})
	wantError(t, err, registry.ErrKeyTaken, `it is key "k1" of orders, revoked`)
}

// What was only deleted may come back, and garbage is in nobody's way: the kid stands for nothing.
func TestAddKeyTakesAKidThatStandsForNothing(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.add("orders", "k1")
	w.server.Delete(bus.Keys, "key.orders.k1")
	w.add("orders", "k1")

	w.server.Write(bus.Keys, "key.orders.k2", "not json")
	w.add("orders", "k2")
	w.server.Write(bus.Keys, "key.orders.k2", "not json")
	_, err := w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "k2"})
	wantError(t, err, registry.ErrExists, `orders has a key "k2" already`)
	if got := w.states("orders"); len(got) != 2 || got["k1"] != events.KeyActive || got["k2"] != events.KeyActive {
		t.Errorf("the keys are %v", got)
	}
}

func TestKeysOfNobody(t *testing.T) {
	w := newWorld(t)
	_, err := w.Keys(t.Context(), "nobody")
	wantError(t, err, registry.ErrNotFound, "there is no issuer or client nobody")
	w.client("orders")
	if keys := must(w.Keys(t.Context(), "orders"))(t); len(keys) != 0 {
		t.Errorf("keys of a new client: %v", keys)
	}
}
