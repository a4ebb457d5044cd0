package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// now is the moment at which all tokens are judged.
var now = time.Unix(1_790_000_000, 0)

const (
	platformURL = "https://auth.example.com"
	loginURL    = "https://login.example.net"
	billing     = "https://billing.example.com"
	leeway      = 30 * time.Second
)

func clientURL(name string) string { return platformURL + "/v1/clients/" + name }

// key is a registered key with its private half.
type key struct {
	iss     string
	kid     string
	alg     string
	private crypto.Signer
}

// world is a set of issuers and keys that all verifiers share.
type world struct {
	t        testing.TB
	feed     *feed
	keys     map[string]map[string]*key // by iss and kid
	list     []*key
	verifier *verifier.Verifier
}

// feed is a key set without a bucket.
type feed struct {
	set         *events.Set
	revocations *events.Revocations
	revision    uint64
}

var _ verifier.Feed = (*feed)(nil)

func (f *feed) Keys() *events.Set                { return f.set }
func (f *feed) Revocations() *events.Revocations { return f.revocations }
func (f *feed) Confirmed() time.Time             { return now }

func config() verifier.Config {
	return verifier.Config{Audience: billing, Externals: []events.Name{"login"}, Leeway: leeway, Now: func() time.Time { return now }}
}

func newWorld(t testing.TB) *world {
	w := &world{
		t:    t,
		feed: &feed{set: events.NewSet(nil), revocations: events.NewRevocations(nil)},
		keys: map[string]map[string]*key{},
	}
	var err error
	w.verifier, err = verifier.New(config(), w.feed)
	if err != nil {
		t.Fatal(err)
	}
	w.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+platformURL+`"}`)
	return w
}

func (w *world) put(name, value string) {
	w.t.Helper()
	w.feed.revision++
	w.feed.set.Apply(events.Entry{Name: name, Value: []byte(value), Revision: w.feed.revision, Time: now})
	if rejected := w.feed.set.Rejected(); len(rejected) > 0 {
		w.t.Fatalf("the set refuses %s: %s", rejected[0].Name, rejected[0].Reason)
	}
}

// client registers a client that may mint its own tokens.
func (w *world) client(name string) {
	w.put("issuer."+name, `{"type":"client","status":"active","aud":["`+billing+`"],"scope":"billing:read billing:write","offline":true}`)
}

// register adds a key of an issuer.
func (w *world) register(issuer, iss, kid, alg string, private crypto.Signer) *key {
	w.t.Helper()
	record := events.Key{Algorithm: events.Algorithm(alg), Public: private.Public()}
	text, err := record.Encode(events.KeyID(kid))
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(events.KeyRecord(events.Name(issuer), events.KeyID(kid)).String(), string(text))
	k := &key{iss, kid, alg, private}
	if w.keys[iss] == nil {
		w.keys[iss] = map[string]*key{}
	}
	w.keys[iss][kid] = k
	w.list = append(w.list, k)
	return k
}

// smallWorld has every type of issuer and every algorithm.
func smallWorld(t testing.TB) *world {
	w := newWorld(t)
	w.client("orders")
	w.client("shipping")
	w.put("issuer.login", `{"type":"external","status":"active","iss":"`+loginURL+`","use":["access_token"],"aud":["`+billing+`"],"scope":"billing:read"}`)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.register("platform", platformURL, "p1", "EdDSA", edKey("p1"))
	w.register("orders", clientURL("orders"), "k1", "EdDSA", edKey("k1"))
	w.register("orders", clientURL("orders"), "es", "ES256", ec)
	w.register("orders", clientURL("orders"), "rs", "RS256", rsaKey)
	w.register("orders", clientURL("orders"), "ps", "PS256", rsaKey)
	w.register("shipping", clientURL("shipping"), "s1", "EdDSA", edKey("s1"))
	w.register("login", loginURL, "x1", "EdDSA", edKey("x1"))
	return w
}

func edKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// goodClaims are those of a valid token of an issuer.
func goodClaims(k *key) object {
	sub := "user|77"
	if name, ok := cutClient(k.iss); ok {
		sub = name
	} else if k.iss == platformURL {
		sub = "orders"
	}
	return object{
		{"iss", quote(k.iss)}, {"sub", quote(sub)}, {"aud", quote(billing)}, {"client_id", quote(sub)},
		{"iat", "1789999990"}, {"nbf", "1789999990"}, {"exp", "1790000890"},
		{"jti", `"0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11"`}, {"scope", `"billing:read"`},
	}
}

func cutClient(iss string) (string, bool) {
	prefix := clientURL("")
	if len(iss) > len(prefix) && iss[:len(prefix)] == prefix {
		return iss[len(prefix):], true
	}
	return "", false
}

func goodHeader(k *key) object {
	return object{{"alg", quote(k.alg)}, {"kid", quote(k.kid)}, {"typ", `"at+jwt"`}}
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
