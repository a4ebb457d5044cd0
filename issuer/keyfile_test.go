package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
)

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// keyFileOfRFC8410 is the private key of RFC 8410 §10.3.
const keyFileOfRFC8410 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n"

func TestASigningKeyFileIsReadAsOpenSSLWritesIt(t *testing.T) {
	signer, err := ParseSigningKey([]byte(keyFileOfRFC8410))
	if err != nil {
		t.Fatal(err)
	}
	// The public key of RFC 8410 §10.1.
	if x := base64.StdEncoding.EncodeToString(signer.Public().(ed25519.PublicKey)); x != "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=" {
		t.Errorf("public key %s", x)
	}
}

func TestASigningKeyFileThatIsNoneIsRefusedWithoutAWordOfIt(t *testing.T) {
	key := newPrivateKey(t)
	der := pkcs8(t, key)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := pemOf("PRIVATE KEY", der)
	for name, test := range map[string]struct{ text, want string }{
		"nothing":               {"", "not PEM"},
		"DER":                   {string(der), "not PEM"},
		"a public key":          {pemOf("PUBLIC KEY", public), "not a PRIVATE KEY"},
		"an encrypted key":      {pemOf("ENCRYPTED PRIVATE KEY", der), "encrypted"},
		"another curve":         {pemOf("PRIVATE KEY", pkcs8(t, p256)), "not an Ed25519"},
		"a key of another form": {pemOf("OPENSSH PRIVATE KEY", der), "not a PRIVATE KEY"},
		"a key cut off":         {pemOf("PRIVATE KEY", der[:len(der)-1]), "not an Ed25519"},
		"two keys":              {good + good, "after the first"},
		"a key and a note":      {good + "this is the key", "after the first"},
		"only a seed":           {pemOf("PRIVATE KEY", key.Seed()), "not an Ed25519"},
	} {
		signer, err := ParseSigningKey([]byte(test.text))
		if err == nil || signer != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
	}
}

func TestOnlyAnEd25519KeySigns(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	cfg := f.node.cfg
	cfg.SigningKey = p256
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Ed25519") {
		t.Errorf("a key of P-256: %v", err)
	}
}

func FuzzParseSigningKey(f *testing.F) {
	f.Add([]byte(keyFileOfRFC8410))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		signer, err := ParseSigningKey(text)
		if (err == nil) != (signer != nil) {
			t.Fatalf("signer %v, error %v", signer, err)
		}
		if err != nil {
			return
		}
		if _, err := wrap(signer); err != nil {
			t.Errorf("a key that was read is refused: %v", err)
		}
	})
}
