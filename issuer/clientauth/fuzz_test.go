package clientauth

import (
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

// FuzzAssertion checks that whatever is sent in place of an assertion is refused, with words of ours alone, unless it is one of the
// three that were signed.
func FuzzAssertion(f *testing.F) {
	w := newWorld(f).federate()
	lasting := map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Unix() + 300}
	good := []string{w.assertion(jws.Header{}, claims(lasting)), w.assertion(jws.Header{}, foreign(lasting)), w.assertion(jws.Header{Type: "JWT"}, claims(lasting))}
	seeds := append([]string{"", "..", "e30.e30.AA", strings.Repeat(".", 100), "eyJhbGciOiJub25lIn0.e30.", "\x00", "\xff.\xff.\xff"}, good...)
	for _, text := range good {
		seeds = append(seeds, text+"=", text[:len(text)-2], strings.Replace(text, ".", "..", 1), strings.ToLower(text))
	}
	for _, seed := range seeds {
		f.Add(seed, "orders")
	}
	f.Fuzz(func(t *testing.T, text, clientID string) {
		known := false
		for _, g := range good {
			known = known || g == text
		}
		check := func(client *Client, err error) {
			if err == nil && !known {
				t.Fatalf("accepted as %s", client.Name)
			}
			if err == nil {
				return
			}
			e := asError(err, "")
			if client != nil || e.Code == Unavailable || len(e.Description) > 200 {
				t.Errorf("client %v, error %s: %q", client, e.Code, e.Description)
			}
			for _, c := range e.Description {
				if c < 0x20 || c > 0x7e || c == '"' || c == '\\' { // RFC 6749 §5.2
					t.Errorf("description %q", e.Description)
				}
			}
		}
		check(w.auth.Authenticate(t.Context(), &Request{ClientID: clientID, AssertionType: AssertionType, Assertion: text}))
		check(w.assertions.Grant(t.Context(), text, clientID))
	})
}
