package claims

import (
	"encoding/base64"
	"encoding/json"
	"testing"
)

func TestClaimsStandInTheOrderOfTheCalls(t *testing.T) {
	tests := []struct {
		name  string
		build func(*Builder)
		want  string
	}{
		{"nothing is an empty object", func(*Builder) {}, `{}`},
		{"one audience is a string", func(b *Builder) { b.Audience([]string{"https://a"}) }, `{"aud":"https://a"}`},
		{"two audiences are an array", func(b *Builder) { b.Audience([]string{"a", "b"}) }, `{"aud":["a","b"]}`},
		{"members keep their order", func(b *Builder) {
			b.String("sub", "x")
			b.Int("iat", 1650000000)
			b.String("iss", "y")
		}, `{"sub":"x","iat":1650000000,"iss":"y"}`},
		{"a certificate is a confirmation", func(b *Builder) { b.Certificate("AAA-_"); b.Int("iat", 1) }, `{"cnf":{"x5t#S256":"AAA-_"},"iat":1}`},
		{"no certificate is nothing", func(b *Builder) { b.Certificate("") }, `{}`},
		{"a text that could break out is escaped", func(b *Builder) { b.String("scope", "a\",\"admin\":\"\\\n") },
			`{"scope":"a\",\"admin\":\"\\\n"}`},
		{"a token stands as it is", func(b *Builder) {
			b.Text("access_token", []byte("e30.e30.-_"))
			b.Int("expires_in", 900)
		}, `{"access_token":"e30.e30.-_","expires_in":900}`},
		{"markup stays readable", func(b *Builder) { b.String("aud", "https://a?x=<1>&y=ü") }, `{"aud":"https://a?x=<1>&y=ü"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var b Builder
			test.build(&b)
			got := b.JSON()
			if string(got) != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if !json.Valid(got) {
				t.Errorf("%s is not JSON", got)
			}
		})
	}
}

func TestAnIDHas128RandomBits(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if raw, err := base64.RawURLEncoding.DecodeString(id); err != nil || len(raw) != 16 {
			t.Fatalf("id %s is not 128 bits", id)
		}
		if seen[id] {
			t.Fatalf("id %s came twice", id)
		}
		seen[id] = true
	}
}
