package interop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/profile"
)

// TestJWTProfileExchangeOfZitadelGetsTokens is github.com/zitadel/oidc, which uses the grant jwt-bearer: with an assertion that lives for
// an hour, has the issuer as aud and no typ, and without client authentication beside it. It finds the token endpoint by discovery.
// The client has brought its own public keys.
func TestJWTProfileExchangeOfZitadelGetsTokens(t *testing.T) {
	s := startSystem(t, "")
	v := s.verifier()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for kid, key := range map[string]crypto.Signer{"zed": ed, "zec": ec, "zrsa": rsaKey} {
		s.cli("key", "add", "orders", "--kid", kid, "--public", publicKeyFile(t, key))
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
		for _, scopes := range [][]string{{"billing:read"}, nil} { // none asked for: all that the client has
			source, err := profile.NewJWTProfileTokenSource(t.Context(), s.issuer, "orders", kid, text, scopes)
			if err != nil {
				t.Fatalf("%s: %v", kid, err)
			}
			token, err := source.TokenCtx(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", kid, err)
			}
			if token.Type() != "Bearer" || !token.Valid() || time.Until(token.Expiry) > 15*time.Minute || token.RefreshToken != "" {
				t.Errorf("%s: type %s, expiry %v, refresh token: %v", kid, token.Type(), token.Expiry, token.RefreshToken != "")
			}
			accepted, err := v.Verify(token.AccessToken)
			if err != nil {
				t.Fatalf("%s: %v", kid, err)
			}
			if accepted.Client != "orders" || !accepted.Scope.Has("billing:read") || accepted.Scope.Has("billing:write") != (scopes == nil) {
				t.Errorf("%s: client %s, scope %s", kid, accepted.Client, accepted.Scope)
			}
			if again, err := source.TokenCtx(t.Context()); err != nil || again.AccessToken == token.AccessToken {
				t.Errorf("%s: a second token: error %v", kid, err)
			}
		}
		source, err := profile.NewJWTProfileTokenSource(t.Context(), s.issuer, "orders", "unknown", text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.TokenCtx(t.Context()); err == nil {
			t.Errorf("%s: a token for a key that is not registered", kid)
		}
	}
}

// publicKeyFile writes the public half of a key as an operator gets it from its owner: PEM, or for an RSA key a JWK, which says what PEM
// does not, which of its two algorithms it is for. The library signs with RS256.
func publicKeyFile(t *testing.T, key crypto.Signer) string {
	t.Helper()
	var text []byte
	if public, ok := key.Public().(*rsa.PublicKey); ok {
		n := base64.RawURLEncoding.EncodeToString(public.N.Bytes())
		e := base64.RawURLEncoding.EncodeToString(big.NewInt(int64(public.E)).Bytes())
		text = fmt.Appendf(nil, `{"kty":"RSA","alg":"RS256","n":"%s","e":"%s"}`, n, e)
	} else {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	file := filepath.Join(t.TempDir(), "public")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
