package clientauth

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

const testIssuer = "https://auth.example.com"

// world has the records that clients are checked against: orders is active, closed is disabled, github is no client.
type world struct {
	t          testing.TB
	set        *events.Set
	clients    *events.Clients
	memory     *memory
	auth       *Authenticator
	unknown    []string // kids that UnknownKey was told of, after their issuer
	assertions *Assertions
	private    ed25519.PrivateKey // registered as k1 of orders and of closed
	apiKeys    map[events.Name]events.APIKey
	roots      *x509.CertPool // accepted authorities of certificates
}

func (w *world) Keys() *events.Set { return w.set }

func (w *world) noteUnknown(issuer events.Name, kid string) {
	w.unknown = append(w.unknown, string(issuer)+" "+kid)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, set: events.NewSet(nil), clients: events.NewClients(), memory: &memory{used: map[string]time.Time{}},
		private: newPrivateKey(t), apiKeys: map[events.Name]events.APIKey{}}
	w.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+testIssuer+`"}`)
	w.put("issuer.orders", `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read"}`)
	w.put("issuer.closed", `{"type":"client","status":"disabled","aud":["https://billing"],"scope":"billing:read"}`)
	w.put("issuer.github", `{"type":"external","status":"active","iss":"https://github.example","use":["assertion"]}`)
	for _, name := range []events.Name{"orders", "closed", "github", "nobody"} {
		w.key(name, "k1", events.Key{Public: w.private.Public()})
		w.apiKeys[name] = events.NewAPIKey(name)
		w.secrets(name, events.Secret{ID: "s1", SHA256: w.apiKeys[name].Hash()})
	}
	var err error
	w.assertions, err = NewAssertions(AssertionConfig{Issuer: testIssuer, TokenEndpoint: testIssuer + "/oauth/token", Keys: w, Clients: w.clients,
		Memory: w.memory, UnknownKey: w.noteUnknown})
	if err != nil {
		t.Fatal(err)
	}
	secrets := NewSecrets(w, w.clients)
	w.auth = New(secrets.Basic(), secrets.Post(), w.assertions.Method(), NewMutualTLS(w, w.clients, func() *x509.CertPool { return w.roots }))
	return w
}

func (w *world) put(name, value string) {
	w.t.Helper()
	w.set.Apply(events.Entry{Name: name, Value: []byte(value), Revision: w.set.Revision() + 1, Time: time.Now()})
	for _, r := range w.set.Rejected() {
		if r.Name == name {
			w.t.Fatal(r.Reason)
		}
	}
}

func (w *world) key(name events.Name, kid events.KeyID, key events.Key) {
	w.t.Helper()
	if key.Algorithm == "" {
		key.Algorithm = events.EdDSA
	}
	value, err := key.Encode(kid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.put(events.KeyRecord(name, kid).String(), string(value))
}

func (w *world) secrets(name events.Name, secrets ...events.Secret) {
	w.t.Helper()
	w.credentials(name, events.Client{Secrets: secrets})
}

func (w *world) credentials(name events.Name, c events.Client) {
	w.t.Helper()
	value, err := c.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	w.clients.Apply(events.Entry{Name: string(name), Value: value, Revision: w.clients.Revision() + 1, Time: time.Now()})
}

// claims are those of a good assertion of orders, with changes; a nil value takes one out.
func claims(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"iss": "orders", "sub": "orders", "aud": testIssuer, "jti": "j1", "iat": now, "exp": now + 60}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// assertion signs claims with the key of orders, the header being as given but for what it leaves out.
func (w *world) assertion(header jws.Header, c map[string]any) string {
	w.t.Helper()
	if header.Algorithm == "" {
		header.Algorithm = jws.EdDSA
	}
	if header.KeyID == "" {
		header.KeyID = "k1"
	}
	text, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	token, err := jws.Sign(header, text, w.private)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// try authenticates a request with an assertion.
func (w *world) try(assertion string) (*Client, error) {
	return w.auth.Authenticate(context.Background(), &Request{AssertionType: AssertionType, Assertion: assertion})
}

// refused checks that err is a refusal with the given code, and returns it.
func refused(t testing.TB, client *Client, err error, code Code) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || client != nil {
		t.Fatalf("got client %v and error %v, want a refusal", client, err)
	}
	if e.Code != code {
		t.Fatalf("code %s (%s), want %s", e.Code, e.Reason, code)
	}
	for _, c := range e.Description {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' { // RFC 6749 §5.2
			t.Errorf("description %q has a character that it must not have", e.Description)
		}
	}
	return e
}

func newPrivateKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// memory is a replay memory.
type memory struct {
	mu   sync.Mutex
	used map[string]time.Time
	err  error
	// hangs says that it answers when the context ends, and not before.
	hangs bool
}

func (m *memory) Use(ctx context.Context, client events.Name, jti string, exp time.Time) error {
	if m.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	id := string(client) + "\n" + jti
	if _, ok := m.used[id]; ok {
		return ErrReplayed
	}
	m.used[id] = exp
	return nil
}
