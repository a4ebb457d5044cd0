package registry_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// The key of RFC 8037 appendix A.1 and A.2, and its SubjectPublicKeyInfo.
const (
	rfc8037x    = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	rfc8037d    = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	rfc8037spki = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
)

func spki(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	return must(x509.MarshalPKIXPublicKey(public))(t)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
func u64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestParsePublicKeyReadsEveryForm(t *testing.T) {
	ed := ed25519.PublicKey(must(base64.RawURLEncoding.DecodeString(rfc8037x))(t))
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	point := must(ec.PublicKey.Bytes())(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	ecJWK := `{"kty":"EC","crv":"P-256","x":"` + u64(point[1:33]) + `","y":"` + u64(point[33:]) + `"`
	rsaJWK := `{"kty":"RSA","n":"` + u64(rsaKey.N.Bytes()) + `","e":"AQAB"`

	for name, c := range map[string]struct {
		text string
		want crypto.PublicKey
		alg  events.Algorithm
		kid  events.KeyID
	}{
		"a JWK":                               {`{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `"}`, ed, events.EdDSA, ""},
		"a JWK with a kid and more":           {` {"kid":"k7","use":"sig","alg":"EdDSA","kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `","key_ops":["verify"]}` + "\n", ed, events.EdDSA, "k7"},
		"a JWK with the alg name of RFC 9864": {`{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"` + rfc8037x + `"}`, ed, events.EdDSA, ""},
		"a JWK on P-256":                      {ecJWK + `}`, ec.Public(), events.ES256, ""},
		"a JWK of RSA that says which":        {rsaJWK + `,"alg":"PS256"}`, rsaKey.Public(), events.PS256, ""},
		"a JWK of RSA that does not":          {rsaJWK + `}`, rsaKey.Public(), "", ""},
		"PEM":                                 {pemOf("PUBLIC KEY", spki(t, ed)), ed, events.EdDSA, ""},
		"PEM with white space around it":      {"\n " + pemOf("PUBLIC KEY", spki(t, ec.Public())) + "\n\n", ec.Public(), events.ES256, ""},
		"PEM of RSA":                          {pemOf("PUBLIC KEY", spki(t, rsaKey.Public())), rsaKey.Public(), "", ""},
		"base64":                              {rfc8037spki, ed, events.EdDSA, ""},
		"base64 with a line break after it":   {rfc8037spki + "\n", ed, events.EdDSA, ""},
		"base64 of RSA":                       {b64(spki(t, rsaKey.Public())), rsaKey.Public(), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := registry.ParsePublicKey([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if !got.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(c.want) || got.Algorithm != c.alg || got.KeyID != c.kid {
				t.Errorf("it is read as %+v", got)
			}
		})
	}
}

func TestParsePublicKeyRaisesTheAlarmForAPrivateKey(t *testing.T) {
	seed := must(base64.RawURLEncoding.DecodeString(rfc8037d))(t)
	private := ed25519.NewKeyFromSeed(seed)
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(private))(t)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	sec1 := must(x509.MarshalECPrivateKey(ec))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey)
	access := must(events.NewAccessKey("orders", "k1", "acc-0123456789abcdefghij", private))(t)

	for name, text := range map[string]string{
		"a JWK with d":                   `{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `","d":"` + rfc8037d + `"}`,
		"a JWK with d by another name":   `{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `","\u0064":"` + rfc8037d + `"}`,
		"a JWK of RSA with a prime only": `{"kty":"RSA","n":"` + u64(rsaKey.N.Bytes()) + `","e":"AQAB","p":"` + u64(rsaKey.Primes[0].Bytes()) + `"}`,
		"a symmetric JWK":                `{"kty":"oct","k":"c2VjcmV0"}`,
		"PKCS #8 PEM":                    pemOf("PRIVATE KEY", pkcs8),
		"encrypted PKCS #8 PEM":          pemOf("ENCRYPTED PRIVATE KEY", pkcs8),
		"SEC 1 PEM":                      pemOf("EC PRIVATE KEY", sec1),
		"PKCS #1 PEM":                    pemOf("RSA PRIVATE KEY", pkcs1),
		"OpenSSH PEM":                    pemOf("OPENSSH PRIVATE KEY", []byte("x")),
		"a public and a private PEM":     pemOf("PUBLIC KEY", spki(t, ec.Public())) + pemOf("EC PRIVATE KEY", sec1),
		"PKCS #8 labelled as public":     pemOf("PUBLIC KEY", pkcs8),
		"base64 of PKCS #8":              b64(pkcs8),
		"base64 of SEC 1":                b64(sec1),
		"base64 of PKCS #1":              b64(pkcs1),
		"an access key":                  access.Reveal() + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			key, err := registry.ParsePublicKey([]byte(text))
			wantError(t, err, registry.ErrPrivateKey, "this is a private key, and nothing was done with it")
			if key.Public != nil {
				t.Error("a key came with the error")
			}
		})
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))(t)
	weak := &rsa.PublicKey{N: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(1)), E: 65537}
	good := pemOf("PUBLIC KEY", spki(t, ec.Public()))
	der := spki(t, ec.Public())
	jwk := func(members string) string { return `{"kty":"OKP","crv":"Ed25519"` + members + `}` }

	for name, c := range map[string]struct{ text, want string }{
		"nothing":                  {"", "not a SubjectPublicKeyInfo"},
		"words":                    {"my key", "neither a JWK, nor PEM, nor standard base64"},
		"a JWK set":                {`{"keys":[{"kty":"OKP"}]}`, "a JWK set: give one of its keys"},
		"two JWKs":                 {jwk(`,"x":"`+rfc8037x+`"`) + jwk(`,"x":"`+rfc8037x+`"`), "read public key: "},
		"a member twice":           {jwk(`,"x":"` + rfc8037x + `","x":"` + rfc8037x + `"`), "duplicate member name"},
		"a JWK without its key":    {jwk(``), "read public key: "},
		"a JWK for encryption":     {jwk(`,"use":"enc","x":"` + rfc8037x + `"`), `only keys for signatures`},
		"a JWK of another alg":     {jwk(`,"alg":"ES256","x":"` + rfc8037x + `"`), "is not EdDSA"},
		"a JWK with a kid of text": {jwk(`,"kid":7,"x":"` + rfc8037x + `"`), "member kid"},
		"a short x":                {jwk(`,"x":"AAAA"`), "read public key: "},
		"a point of small order":   {jwk(`,"x":"` + u64(make([]byte, 32)) + `"`), "small order"},
		"a JWK on X25519":          {`{"kty":"OKP","crv":"X25519","x":"` + u64(x25519.PublicKey().Bytes()) + `"}`, "read public key: "},
		"a point off the curve":    {`{"kty":"EC","crv":"P-256","x":"` + u64(make([]byte, 32)) + `","y":"` + u64(make([]byte, 32)) + `"}`, "read public key: "},
		"a JWK of no known kind":   {`{"kty":"AKP","pub":"AA"}`, "not a JWK of kty OKP, EC or RSA"},
		"P-384":                    {pemOf("PUBLIC KEY", spki(t, p384.Public())), "must be on the curve P-256"},
		"X25519":                   {pemOf("PUBLIC KEY", spki(t, x25519.PublicKey())), "a key of type *ecdh.PublicKey"},
		"RSA of 1024 bits":         {pemOf("PUBLIC KEY", spki(t, weak)), "of 2048 to 8192 bits"},
		"a certificate":            {pemOf("CERTIFICATE", der), "openssl x509 -pubkey"},
		"a PKCS #1 public key":     {pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(weak)), "openssl rsa -RSAPublicKey_in"},
		"another PEM block":        {pemOf("CERTIFICATE REQUEST", der), `a "CERTIFICATE REQUEST", not a PUBLIC KEY`},
		"two PEM blocks":           {good + good, "something follows the PEM block"},
		"words after a PEM block":  {good + "and so on", "something follows the PEM block"},
		"a damaged PEM block":      {strings.Replace(good, "-----END", "----END", 1), "the PEM block is damaged"},
		"DER with bytes after it":  {b64(append(der[:len(der):len(der)], 0)), "not a SubjectPublicKeyInfo"},
		"base64 on two lines":      {rfc8037spki[:20] + "\n" + rfc8037spki[20:], "neither a JWK"},
		"two lines of base64":      {rfc8037spki + "\n" + rfc8037spki, "neither a JWK"},
		"base64 without padding":   {strings.TrimRight(rfc8037spki, "="), "neither a JWK"},
		"an OpenSSH public key":    {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA alice", "ssh-keygen -e -m PKCS8"},
		"too much":                 {strings.Repeat("A", events.MaxValue+1), "more than a public key has"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := registry.ParsePublicKey([]byte(c.text))
			wantError(t, err, registry.ErrInvalid, c.want)
			if !strings.HasPrefix(err.Error(), "read public key: ") || key.Public != nil {
				t.Errorf("error is %q, key %v", err, key.Public)
			}
		})
	}
}

// What is accepted can be registered: it has a record that reads back as the same key.
func FuzzParsePublicKey(f *testing.F) {
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + rfc8037x + `"}`))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`)) // RFC 7517 appendix A.1
	f.Add([]byte(rfc8037spki))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n" + rfc8037spki + "\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := registry.ParsePublicKey(data)
		if err != nil {
			return
		}
		if key.Algorithm == "" {
			key.Algorithm = events.RS256
		}
		record := events.Key{Algorithm: key.Algorithm, Public: key.Public}
		value, err := record.Encode("k")
		if err != nil {
			t.Fatalf("accepted, but has no record: %v", err)
		}
		back, err := events.ParseKey("k", value)
		if err != nil || !back.Public.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public) {
			t.Fatalf("the record reads back as another key: %v", err)
		}
	})
}
