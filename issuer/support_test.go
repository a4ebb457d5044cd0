package issuer

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	testIssuer = "https://auth.example.com"
	ordersJSON = `{"type":"client","status":"active","aud":["https://billing","https://ledger"],"scope":"billing:read billing:write","offline":true}`
)

// fixture is a node with everything around it in memory. The client orders has a key and an API key.
type fixture struct {
	t       testing.TB
	bucket  *bucket
	clients *events.Clients
	memory  *replays
	log     *eventstest.Log
	node    *Node
	private ed25519.PrivateKey // of orders, registered as k1
	apiKey  events.APIKey      // of orders
	stop    func()
}

// newFixture makes a node that does not run yet.
func newFixture(t testing.TB, modify ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{
		t: t, bucket: newBucket(), clients: events.NewClients(), memory: &replays{used: map[string]time.Time{}}, log: new(eventstest.Log),
		private: newPrivateKey(t), apiKey: events.NewAPIKey("orders"),
	}
	f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+testIssuer+`"}`)
	f.bucket.put("issuer.orders", ordersJSON)
	f.bucket.put("key.orders.k1", encodeKey(t, "k1", events.Key{Public: f.private.Public()}))
	f.putClient("orders", events.Secret{ID: "s1", SHA256: f.apiKey.Hash()})
	cfg := Config{
		Issuer: testIssuer, Keys: f.bucket, Clients: &clientRecords{Clients: f.clients}, Leases: f.bucket.publish, Assertions: f.memory, Revoke: f.bucket.revoke,
		Logger: zerolog.New(f.log),
	}
	for _, m := range modify {
		m(&cfg)
	}
	node, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.node = node
	return f
}

// clientRecords are CLIENTS, confirmed now unless said otherwise.
type clientRecords struct {
	*events.Clients
	confirmed func() time.Time
}

func (c *clientRecords) Confirmed() time.Time {
	if c.confirmed != nil {
		return c.confirmed()
	}
	return time.Now()
}

// start runs the node until the test ends or stop is called.
func (f *fixture) start() *fixture {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.node.Run(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(f.stop)
	return f
}

// startReady starts a node in a synctest bubble and lets it become ready.
func startReady(t testing.TB, modify ...func(*Config)) *fixture {
	t.Helper()
	f := newFixture(t, modify...).start()
	time.Sleep(2 * time.Second) // of the bubble's clock
	if err := f.node.Ready(); err != nil {
		t.Fatalf("not ready after 2 s: %v", err)
	}
	return f
}

// putClient writes a record of CLIENTS.
func (f *fixture) putClient(name string, secrets ...events.Secret) {
	f.t.Helper()
	value, err := (&events.Client{Secrets: secrets}).Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.clients.Apply(events.Entry{Name: name, Value: value, Revision: f.clients.Revision() + 1, Time: time.Now()})
}

// kid is the kid of the key that signs now.
func (f *fixture) kid() events.KeyID {
	f.t.Helper()
	key := f.node.ring.current.Load()
	if key == nil {
		f.t.Fatal("no signing key")
	}
	return key.kid
}

// do sends a request to the node.
func (f *fixture) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	f.node.Handler().ServeHTTP(w, r)
	return w
}

func (f *fixture) get(path string) *httptest.ResponseRecorder {
	return f.do(httptest.NewRequest("GET", path, nil))
}

// tokenRequestWith returns a token request. The parameters come in pairs, so that one can come twice.
func tokenRequestWith(params ...string) *http.Request {
	var body []string
	for i := 0; i < len(params); i += 2 {
		body = append(body, url.QueryEscape(params[i])+"="+url.QueryEscape(params[i+1]))
	}
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(strings.Join(body, "&")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// withKey is a request of orders by API key.
func (f *fixture) withKey(params ...string) *http.Request {
	return tokenRequestWith(append([]string{"grant_type", "client_credentials", "client_secret", f.apiKey.Reveal()}, params...)...)
}

// withAssertion is a request with a client assertion.
func withAssertion(assertion string, params ...string) *http.Request {
	return tokenRequestWith(append([]string{"grant_type", "client_credentials", "client_assertion_type",
		"urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion}, params...)...)
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// minter mints for orders.
func (f *fixture) minter() *mint.Minter {
	f.t.Helper()
	m, err := mint.New(mint.Config{Issuer: testIssuer, Client: "orders", KeyID: "k1", Key: f.private})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// answer is any answer of the token endpoint.
type answer struct {
	status      int
	header      http.Header
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// token sends a token request and reads the answer.
func (f *fixture) token(r *http.Request) answer {
	f.t.Helper()
	w := f.do(r)
	a := answer{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		f.t.Fatalf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	return a
}

// granted sends a token request that must be granted, and returns the token, verified with the node's own set.
func (f *fixture) granted(r *http.Request) *jws.Token {
	f.t.Helper()
	a := f.token(r)
	if a.status != http.StatusOK {
		f.t.Fatalf("status %d: %s: %s\nlog: %s", a.status, a.Error, a.Description, f.log.String())
	}
	token, err := verify(f.bucket.Keys(), a.AccessToken)
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// verify checks an access token of the platform as a verifier does, as far as it is the issuer's business.
func verify(set *events.Set, text string) (*jws.Token, error) {
	token, err := jws.Parse(text)
	if err != nil {
		return nil, err
	}
	if set.IssuerOf(token.Claims.Issuer) != set.Platform() {
		return nil, fmt.Errorf("iss %s is not the platform", token.Claims.Issuer)
	}
	key := set.Key(events.Platform, events.KeyID(token.Header.KeyID))
	if key == nil || !key.State(time.Now()).Usable() {
		return nil, fmt.Errorf("key %s is not usable", token.Header.KeyID)
	}
	if err := jws.Verify(jws.Algorithm(key.Record.Algorithm), key.Record.Public, token.SigningInput(), token.Signature()); err != nil {
		return nil, err
	}
	if time.Now().Unix() >= token.Claims.Expiry {
		return nil, fmt.Errorf("expired")
	}
	return token, nil
}

// linesOf returns the log's lines with the given message.
func linesOf(t testing.TB, log *eventstest.Log, message string) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(log.Lines(t), func(line map[string]any) bool { return line["message"] != message })
}
