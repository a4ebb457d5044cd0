package gate_test

import (
	"crypto/ed25519"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/gate"
	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	platformURL = "https://auth.example.com"
	loginURL    = "https://login.example.net/"
	billing     = "https://billing.example.com"
	stock       = "https://stock.example.com"
)

// feed is a key set in memory: the client orders, and the identity provider login, each with the key k1.
type feed struct {
	keys      *events.Set
	revoked   *events.Revocations
	confirmed time.Time
}

var _ verifier.Feed = (*feed)(nil)

func (f *feed) Keys() *events.Set                { return f.keys }
func (f *feed) Revocations() *events.Revocations { return f.revoked }
func (f *feed) Confirmed() time.Time             { return f.confirmed }

var key = ed25519.NewKeyFromSeed([]byte("the seed of a test's private key"))

func newFeed() *feed {
	f := &feed{keys: events.NewSet(nil), revoked: events.NewRevocations(nil), confirmed: time.Now()}
	public, err := (&events.Key{Algorithm: events.EdDSA, Public: key.Public()}).Encode("k1")
	if err != nil {
		panic(err)
	}
	for i, record := range [][2]string{
		{"issuer.platform", `{"type":"platform","status":"active","iss":"` + platformURL + `"}`},
		{"issuer.orders", `{"type":"client","status":"active","aud":["` + billing + `","` + stock + `"],"scope":"billing:read billing:write a%b","offline":true}`},
		{"issuer.login", `{"type":"external","status":"active","iss":"` + loginURL + `","use":["access_token"],"aud":["` + billing + `"],"scope":"billing:read"}`},
		{"key.orders.k1", string(public)},
		{"key.login.k1", string(public)},
	} {
		f.keys.Apply(events.Entry{Name: record[0], Value: []byte(record[1]), Revision: uint64(i + 1), Time: f.confirmed})
	}
	if rejected := f.keys.Rejected(); len(rejected) > 0 {
		panic(rejected[0].Reason)
	}
	return f
}

func newVerifier(f *feed) *verifier.Verifier {
	v, err := verifier.New(verifier.Config{Audience: billing, Externals: []events.Name{"login"}}, f)
	if err != nil {
		panic(err)
	}
	return v
}

// mint makes a token of orders for billing with the scope billing:read, changed by claims.
func mint(claims map[string]any) string {
	now := time.Now().Unix()
	all := map[string]any{"iss": platformURL + "/v1/clients/orders", "sub": "orders", "client_id": "orders", "aud": billing, "iat": now, "exp": now + 900, "scope": "billing:read"}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "at+jwt"}, payload, key)
	if err != nil {
		panic(err)
	}
	return token
}

// newGate has two policies beside the default one, which asks for nothing.
func newGate(t testing.TB, change func(*gate.Config)) http.Handler {
	t.Helper()
	cfg := gate.Config{Verifier: newVerifier(newFeed()), Policies: map[string]gate.Policy{
		"write": {Scopes: []string{"billing:write"}},
		"stock": {Audience: stock},
	}}
	if change != nil {
		change(&cfg)
	}
	g, err := gate.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g.Handler()
}

// ask sends a request with the headers, name, value and so on.
func ask(h http.Handler, method, target string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}
