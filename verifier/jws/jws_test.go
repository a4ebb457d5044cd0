package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// What the tests of this package share.

const (
	usualHeader = `{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`
	usualClaims = `{"iss":"https://auth.example.com/v1/clients/orders","sub":"orders","aud":"https://billing.example.com",` +
		`"client_id":"orders","iat":1790000000,"nbf":1790000000,"exp":1790000900,` +
		`"jti":"0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11","scope":"billing:read billing:write"}`
)

// usualToken has the shape that most tokens have, about 500 bytes long. Its signature does not verify.
func usualToken() string { return tokenOf(usualHeader, usualClaims) }

// tokenOf makes a token with any header and payload and a signature that nobody made.
func tokenOf(header, payload string) string {
	return encode(header) + "." + encode(payload) + "." + encode(strings.Repeat("s", 64))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// padClaims returns claims that make a token with usualHeader exactly MaxToken bytes long: member is the text of a claim, with %s
// where the padding belongs.
func padClaims(member string) string {
	claims := func(n int) string {
		return fmt.Sprintf(`{"iss":"i","pad":`+member+`}`, strings.Repeat("p", n))
	}
	n := 0
	for len(tokenOf(usualHeader, claims(n+1))) <= MaxToken {
		n++
	}
	return claims(n)
}

// testKeys returns a key for each algorithm. They are the public examples of RFC 8037 A.1 and RFC 7515 A.2 and A.3.
func testKeys(t testing.TB) map[Algorithm]crypto.Signer {
	t.Helper()
	ed := ed25519.NewKeyFromSeed(decodeText(t, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
	rs := rfc7515RSAKey(t)
	return map[Algorithm]crypto.Signer{EdDSA: ed, Ed25519: ed, ES256: rfc7515ECKey(t), RS256: rs, PS256: rs}
}

func decodeText(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatalf("test data is not base64url: %v", err)
	}
	return b
}

func bigFrom(t testing.TB, s string) *big.Int {
	t.Helper()
	return new(big.Int).SetBytes(decodeText(t, s))
}

func ecPublic(t testing.TB, x, y string) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, decodeText(t, x)...), decodeText(t, y)...))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantReason fails the test unless err is an *Error with the reason.
func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error with reason %s", err, want)
	}
	if e.Reason != want {
		t.Errorf("refused for %s (%v), want %s", e.Reason, err, want)
	}
}

func mustParse(t testing.TB, token string) *Token {
	t.Helper()
	parsed, err := Parse(token)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return parsed
}
