package httpauth_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/httpauth"
	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	platformURL = "https://auth.example.com"
	billing     = "https://billing.example.com"
	stock       = "https://stock.example.com"
)

// feed is a key set in memory, with the client orders in it. It is confirmed as long as it is told to be.
type feed struct {
	keys      *events.Set
	revoked   *events.Revocations
	confirmed time.Time
}

var _ verifier.Feed = (*feed)(nil)

func (f *feed) Keys() *events.Set                { return f.keys }
func (f *feed) Revocations() *events.Revocations { return f.revoked }
func (f *feed) Confirmed() time.Time             { return f.confirmed }

var ordersKey = func() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key of orders"))
	return ed25519.NewKeyFromSeed(seed[:])
}()

func newFeed() *feed {
	f := &feed{keys: events.NewSet(nil), revoked: events.NewRevocations(nil), confirmed: time.Now()}
	key, err := (&events.Key{Algorithm: events.EdDSA, Public: ordersKey.Public()}).Encode("k1")
	if err != nil {
		panic(err)
	}
	for i, record := range [][2]string{
		{"issuer.platform", `{"type":"platform","status":"active","iss":"` + platformURL + `"}`},
		{"issuer.orders", `{"type":"client","status":"active","aud":["` + billing + `","` + stock + `"],"scope":"billing:read billing:write","offline":true}`},
		{"key.orders.k1", string(key)},
	} {
		f.keys.Apply(events.Entry{Name: record[0], Value: []byte(record[1]), Revision: uint64(i + 1), Time: f.confirmed})
	}
	if issuers, keys := f.keys.Len(); issuers != 2 || keys != 1 {
		panic("the set does not take the records")
	}
	return f
}

// newVerifier is the verifier of billing.
func newVerifier(f *feed) *verifier.Verifier {
	v, err := verifier.New(verifier.Config{Audience: billing}, f)
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
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "at+jwt"}, payload, ordersKey)
	if err != nil {
		panic(err)
	}
	return token
}

// newGuard is one of billing that wants billing:read.
func newGuard(t testing.TB, change func(*httpauth.Config)) *httpauth.Guard {
	t.Helper()
	cfg := httpauth.Config{Verifier: newVerifier(newFeed()), Scopes: []string{"billing:read"}, Realm: "billing"}
	if change != nil {
		change(&cfg)
	}
	g, err := httpauth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// hello greets the caller that the guard has let in.
var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	token, ok := httpauth.FromContext(r.Context())
	if !ok {
		http.Error(w, "no token in the context", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "hello %s", token.Client)
})

func get(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

type answer struct {
	status                             int
	challenge, retryAfter, cache, body string
	header                             http.Header
}

func ask(h http.Handler, r *http.Request) answer {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	resp := w.Result()
	body, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("WWW-Authenticate"), resp.Header.Get("Retry-After"), resp.Header.Get("Cache-Control"), string(body), resp.Header}
}
