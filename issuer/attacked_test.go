package issuer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// attack is a request to the token endpoint and the error that it must get; empty: a token.
type attack struct {
	name string
	r    *http.Request
	code string
}

// attacked is a fixture with a second client, stock, and an external issuer, github, that vouches for orders.
type attacked struct {
	*fixture
	stock, github ed25519.PrivateKey
	jtis          int
}

func newAttackedFixture(t *testing.T) *attacked {
	f := &attacked{fixture: startReady(t), stock: newPrivateKey(t), github: newPrivateKey(t)}
	f.bucket.put("issuer.stock", ordersJSON)
	f.bucket.put("key.stock.s1", encodeKey(t, "s1", events.Key{Public: f.stock.Public()}))
	f.bucket.put("issuer.github", `{"type":"external","status":"active","iss":"https://github.example","use":["assertion"]}`)
	f.bucket.put("key.github.g1", encodeKey(t, "g1", events.Key{Public: f.github.Public()}))
	f.clients.Apply(events.Entry{Name: "orders", Revision: f.clients.Revision() + 1, Time: time.Now(),
		Value: []byte(`{"federated":[{"issuer":"github","sub":"repo:acme/orders","aud":"` + testIssuer + `"}]}`)})
	return f
}

// expect sends a request and checks the answer.
func (f *attacked) expect(k kind, a attack) {
	f.t.Helper()
	name := k.name + ": " + a.name
	var err error
	if f.node.throttle, err = newThrottle(); err != nil { // each attack is the first: the limit of failures must not be what refuses it
		f.t.Fatal(err)
	}
	answer := f.token(a.r)
	if answer.Error != a.code || (answer.AccessToken == "") != (a.code != "") {
		f.t.Errorf("%s: status %d, error %q (%s), want %q", name, answer.status, answer.Error, answer.Description, a.code)
	}
	if want := map[string]int{"": 200, "invalid_client": 401}[a.code]; want != 0 && answer.status != want || want == 0 && answer.status/100 != 4 {
		f.t.Errorf("%s: status %d with error %q", name, answer.status, answer.Error)
	}
	if len(answer.Description) > 200 {
		f.t.Errorf("%s: description %q has more than words of ours", name, answer.Description)
	}
}

// kind is a way to send an assertion.
type kind struct {
	name   string
	kid    string
	key    ed25519.PrivateKey
	code   string // of what is wrong with the assertion
	send   func(assertion string) *http.Request
	claims func() string // good ones, as JSON
	life   time.Duration
}

func (f *attacked) kinds() []kind {
	claims := func(iss, sub string) func() string {
		return func() string {
			f.jtis++
			now := time.Now().Unix()
			return fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d,"jti":"%d"}`, iss, sub, testIssuer, now, now+60, f.jtis)
		}
	}
	return []kind{
		{"client_assertion", "k1", f.private, "invalid_client", func(a string) *http.Request { return withAssertion(a) }, claims("orders", "orders"), 5 * time.Minute},
		{"grant", "k1", f.private, "invalid_grant", func(a string) *http.Request { return withGrant(a) }, claims("orders", "orders"), time.Hour},
		{"federated", "g1", f.github, "invalid_client", func(a string) *http.Request { return withAssertion(a, "client_id", "orders") },
			claims("https://github.example", "repo:acme/orders"), time.Hour},
	}
}

func (k kind) header() string { return `{"alg":"EdDSA","kid":"` + k.kid + `"}` }

// sign signs any text with the key that is registered.
func (k kind) sign(header, payload string) string { return signText(header, payload, k.key) }

func signText(header, payload string, key ed25519.PrivateKey) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// with replaces the value of a claim that is there, or adds one, as JSON text.
func with(claims, name, value string) string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(claims), &members); err != nil {
		panic(err)
	}
	if old, ok := members[name]; ok {
		return strings.Replace(claims, `"`+name+`":`+string(old), `"`+name+`":`+value, 1)
	}
	return strings.TrimSuffix(claims, "}") + `,"` + name + `":` + value + "}"
}

// plusOrder adds the order of the group, L, to the S of an Ed25519 signature (RFC 8032 §5.1.7: S must be below L).
func plusOrder(signature []byte) []byte {
	l, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	reversed := func(b []byte) []byte {
		out := make([]byte, len(b))
		for i := range b {
			out[len(b)-1-i] = b[i]
		}
		return out
	}
	s := new(big.Int).SetBytes(reversed(signature[32:]))
	return append(append([]byte{}, signature[:32]...), reversed(s.Add(s, l).FillBytes(make([]byte, 32)))...)
}

// otherLastCharacters are the fifteen other texts of a token with an Ed25519 signature that a lenient reader of base64url takes for the same: of
// the last of the 86 characters of 64 bytes four bits are not used (RFC 4648 §3.5).
func otherLastCharacters(t testing.TB, token string) (others []string) {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	signature := token[strings.LastIndexByte(token, '.')+1:]
	want, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(want) != ed25519.SignatureSize {
		t.Fatalf("not an Ed25519 signature: %d bytes, %v", len(want), err)
	}
	last := strings.IndexByte(alphabet, signature[len(signature)-1])
	for bits := 1; bits < 16; bits++ {
		other := token[:len(token)-1] + string(alphabet[last|bits])
		if got, err := base64.RawURLEncoding.DecodeString(other[len(token)-len(signature):]); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("trailing bits %04b: %x, %v, which is another signature", bits, got, err)
		}
		others = append(others, other)
	}
	return others
}
