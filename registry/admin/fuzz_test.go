package admin

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/registry"
)

// FuzzBodies feeds bodies to everything that reads one. What is refused is the caller's fault, and what is taken can be described.
func FuzzBodies(f *testing.F) {
	seeds := []string{
		`{}`, `{"name":"a","options":{"x":[1]},"tags":{"a":"b"},"scope":"a b","audience":["c"],"resource":[],"offline":false,"maxTokenTtl":60,"clientId":"orders"}`,
		`{"name":null,"tags":null,"expires":null}`, `{"publicKey":"MCowBQYDK2VwAyEAJxtSC5tZZJuaW7Aeu5Kh/3tgCpPZRkHaaFyTj5sQ3KU=","alg":"EdDSA"}`,
		`{"expires":"2027-01-31T12:00:00Z"}`, `{"a":1,"a":2}`, `[`, ``, "\xff", `{"scope":"\u0000"}`,
	}
	if len(seeds) < 10 {
		f.Fatal("seeds have gone")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for name, member := range map[string]func(string, []byte) error{
			"client": new(clientRequest).member, "key": new(keyRequest).member, "secret": new(secretRequest).member,
		} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			err := (&request{http: r, writer: httptest.NewRecorder()}).readBody(member)
			var p *problem
			if err != nil && (!errors.As(err, &p) || p.Status >= 500 || p.Detail == "") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := registry.ParsePublicKey([]byte(body)); err != nil && asProblem(err).Status != 400 {
			t.Errorf("public key: %v", err)
		}
	})
}

// FuzzPages feeds queries to the reader of a list's parameters.
func FuzzPages(f *testing.F) {
	for _, s := range []string{"limit=1", "limit=0", "limit=-1", "limit=99999999999999999999", "cursor=a&limit=20", "limit=1&limit=2", "%zz", "limit=+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		limit, _, err := readPage(r.URL.Query())
		if err == nil && (limit < 1 || limit > maxPage) {
			t.Errorf("a page of %d", limit)
		}
	})
}
