package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
)

// Algorithm is the name of a signature algorithm, as it stands in alg: case-sensitive. The zero value is none.
type Algorithm string

// The algorithms. All are asymmetric: a verifier never holds what it would take to make a token.
const (
	EdDSA   Algorithm = "EdDSA"   // Ed25519 by its older name (RFC 8037), which clients know
	Ed25519 Algorithm = "Ed25519" // the same by its full name (RFC 9864)
	ES256   Algorithm = "ES256"   // ECDSA with P-256 and SHA-256
	RS256   Algorithm = "RS256"   // RSASSA-PKCS1-v1_5 with SHA-256
	PS256   Algorithm = "PS256"   // RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes
)

// Algorithms returns all algorithms, the preferred first.
func Algorithms() []Algorithm {
	return []Algorithm{EdDSA, Ed25519, ES256, RS256, PS256}
}

// Same reports whether a and b name one algorithm: EdDSA is Ed25519, as there are no other keys for it here.
func (a Algorithm) Same(b Algorithm) bool {
	return a == b || a == EdDSA && b == Ed25519 || a == Ed25519 && b == EdDSA
}

// Fits reports whether key is of the type, and for RSA of the size, that a needs: [ed25519.PublicKey], [*ecdsa.PublicKey] on
// P-256 or [*rsa.PublicKey].
func (a Algorithm) Fits(key crypto.PublicKey) bool {
	switch a {
	case EdDSA, Ed25519:
		k, ok := key.(ed25519.PublicKey)
		return ok && len(k) == ed25519.PublicKeySize
	case ES256:
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k != nil && k.Curve == elliptic.P256()
	case RS256, PS256:
		k, ok := key.(*rsa.PublicKey)
		return ok && k != nil && k.N != nil && k.N.BitLen() >= MinRSABits
	}
	return false
}

func refuseKey() error {
	return refuse(ReasonKey, "algorithm is not one for this key")
}
