package events

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"
)

func fromBase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustScope(t *testing.T, s string) Scope {
	t.Helper()
	scope, err := ParseScope(s)
	if err != nil {
		t.Fatal(err)
	}
	return scope
}

// goldenPublic reads the public key of a golden record with nothing but the standard library.
func goldenPublic(t *testing.T, data []byte) crypto.PublicKey {
	t.Helper()
	var j map[string]any
	if err := json.Unmarshal(data, &j); err != nil {
		t.Fatal(err)
	}
	text := func(name string) []byte { s, _ := j[name].(string); return fromBase64(t, s) }
	return publicFromParts(t, j["kty"].(string), text("x"), text("y"), text("n"), text("e"))
}

func TestGoldenIssuers(t *testing.T) {
	want := map[string]*Issuer{
		"issuer-platform": {
			Type: TypePlatform, Status: Active, Iss: "https://auth.example.com",
			MaxTokenTTL: 900, NotBefore: 1790000000, Account: "acc-0123456789ab",
		},
		"issuer-client": {
			Type: TypeClient, Status: Active, Audience: []string{"https://billing", "https://stock?a=1&b=<2>"},
			Scope: mustScope(t, "billing:write billing:read"), Resource: []string{"https://orders"}, Offline: true,
			MaxTokenTTL: 3600, NotBefore: 1790000000,
			Extra: Extra{"color": json.RawMessage(`{"of":["a","newer",1.5e3]}`)},
		},
		"issuer-external": {
			Type: TypeExternal, Status: Disabled, Iss: "https://idp.example.net/tenant", Audience: []string{"https://billing"},
			Scope: mustScope(t, "billing:read"), Use: []string{UseAccessToken, UseAssertion}, JWKSURI: "https://idp.example.net/keys?v=2",
		},
	}
	for name, data := range goldenFiles(t, "issuer-") {
		got, err := ParseIssuer(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s is read as\n%+v, want\n%+v", name, got, want[name])
		}
		checkBytes(t, name, want[name].Encode, data)
	}
}

func TestGoldenKeys(t *testing.T) {
	want := map[string]*Key{
		"key-ed25519": {
			Algorithm: EdDSA, IssuedAt: 1790000000, NotBefore: 1790000060, Expires: 1795000000,
			Revoked: &KeyRevocation{RevokedAt: 1791000000, Reason: "leaked", Extra: Extra{"by": json.RawMessage(`"ops"`)}},
			Extra:   Extra{"x5t": json.RawMessage(`"AAAA"`)},
		},
		"key-p256": {Algorithm: ES256},
		"key-rsa":  {Algorithm: PS256, Expires: 1795000000},
	}
	kids := map[string]KeyID{"key-ed25519": "k1", "key-p256": "a/b c", "key-rsa": "2011-04-29"}
	for name, data := range goldenFiles(t, "key-") {
		got, err := ParseKey(kids[name], data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want[name].Public = goldenPublic(t, data)
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s is read as\n%+v, want\n%+v", name, got, want[name])
		}
		checkBytes(t, name, func() ([]byte, error) { return want[name].Encode(kids[name]) }, data)
	}
}

func TestGoldenRevocations(t *testing.T) {
	key := &KeyRevocation{RevokedAt: 1791000000, Reason: `laptop stolen <in "Köln">`, Extra: Extra{"by": json.RawMessage(`"ops"`)}}
	data := goldenFiles(t, "revoked-key")["revoked-key"]
	if got, err := parseKeyRevocation(data); err != nil || !reflect.DeepEqual(got, key) {
		t.Errorf("revoked-key is read as %+v, %v", got, err)
	}
	checkBytes(t, "revoked-key", key.Encode, data)

	token := &TokenRevocation{Expires: 1790003600, Reason: "logged out", Extra: Extra{"by": json.RawMessage(`"ops"`)}}
	data = goldenFiles(t, "revoked-token")["revoked-token"]
	if got, err := ParseTokenRevocation(data); err != nil || !reflect.DeepEqual(got, token) {
		t.Errorf("revoked-token is read as %+v, %v", got, err)
	}
	checkBytes(t, "revoked-token", token.Encode, data)
}

func TestGoldenClient(t *testing.T) {
	hash := func(s string) [32]byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return [32]byte(b)
	}
	want := &Client{
		Secrets: []Secret{
			{ID: "k3", SHA256: hash("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"), IssuedAt: 1790000000, Expires: 1795000000,
				Extra: Extra{"note": json.RawMessage(`"ci"`)}},
			{ID: "k4", SHA256: hash("60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752")},
		},
		RequireJTI: true,
		Federated:  []Federated{{Issuer: "github", Subject: "repo:acme/orders:ref:refs/heads/main", Audience: "https://auth.example.com"}},
		TLS:        &TLS{DNS: "orders.example.com"},
	}
	data := goldenFiles(t, "client-")["client-orders"]
	got, err := ParseClient(data)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("client-orders is read as\n%+v, %v, want\n%+v", got, err, want)
	}
	checkBytes(t, "client-orders", want.Encode, data)
}

func checkBytes(t *testing.T, name string, encode func() ([]byte, error), want []byte) {
	t.Helper()
	got, err := encode()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s is written as\n%s, want\n%s", name, got, want)
	}
}
