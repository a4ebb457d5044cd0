package embedded

import (
	"encoding/base64"
	"testing"

	"github.com/nats-io/nkeys"
)

// TestN_ASignatureProvesThatTheKeyIsThere has the forms that clients write, and what would be proof of nothing.
func TestN_ASignatureProvesThatTheKeyIsThere(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sign := func(text []byte) []byte {
		sig, err := pair.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	nonce := []byte("nonce")
	for name, c := range map[string]struct {
		nkey  string
		nonce []byte
		sig   string
		want  bool
	}{
		"as URLs have it":           {public, nonce, base64.RawURLEncoding.EncodeToString(sign(nonce)), true},
		"with padding":              {public, nonce, base64.StdEncoding.EncodeToString(sign(nonce)), true},
		"of no number":              {public, nil, base64.RawURLEncoding.EncodeToString(sign(nil)), false},
		"of another number":         {public, nonce, base64.RawURLEncoding.EncodeToString(sign([]byte("other"))), false},
		"nothing":                   {public, nonce, "", false},
		"no base64":                 {public, nonce, "***", false},
		"for a key in two lines":    {public[:28] + "\n" + public[28:], nonce, base64.RawURLEncoding.EncodeToString(sign(nonce)), false},
		"for a key that is none":    {"UX", nonce, base64.RawURLEncoding.EncodeToString(sign(nonce)), false},
		"for a key that is missing": {"", nonce, base64.RawURLEncoding.EncodeToString(sign(nonce)), false},
	} {
		if got := signed(c.nkey, c.nonce, c.sig); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
