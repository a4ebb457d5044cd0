package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
)

// pssOptions are RFC 7518 §3.5's: SHA-256 throughout, and a salt as long as the hash.
var pssOptions = rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// Verify checks the signature over signingInput by alg and key. Both must be the caller's choice: alg is the algorithm
// that is registered with the key, after the caller has seen that the token's header names the same. The error is an [*Error]
// with [ReasonKey] if the key is not one for alg (see [Algorithm.Fits]), else with [ReasonSignature].
func Verify(alg Algorithm, key crypto.PublicKey, signingInput, signature []byte) error {
	return VerifyWith(ed25519.Verify, alg, key, signingInput, signature)
}

// VerifyWith is Verify with another implementation of [ed25519.Verify], which accepts what that does and nothing else.
func VerifyWith(
	verifyEd25519 func(key ed25519.PublicKey, message, signature []byte) bool,
	alg Algorithm, key crypto.PublicKey, signingInput, signature []byte,
) error {
	if !alg.Fits(key) {
		return refuseKey()
	}
	var ok bool
	switch key := key.(type) {
	case ed25519.PublicKey:
		ok = verifyEd25519(key, signingInput, signature)
	case *ecdsa.PublicKey:
		ok = verifyES256(key, signingInput, signature)
	case *rsa.PublicKey:
		digest := sha256.Sum256(signingInput)
		if alg == PS256 {
			ok = rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, &pssOptions) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
		}
	}
	if !ok {
		return refuse(ReasonSignature, "signature does not verify")
	}
	return nil
}

// es256Size is the length of an ES256 signature, in bytes: R and S, big-endian and of 32 bytes each.
const es256Size = 64

// verifyES256 checks R || S. Zero and what is not below the order are refused by crypto/ecdsa.
func verifyES256(key *ecdsa.PublicKey, signingInput, signature []byte) bool {
	if len(signature) != es256Size {
		return false
	}
	r := new(big.Int).SetBytes(signature[:es256Size/2])
	s := new(big.Int).SetBytes(signature[es256Size/2:])
	digest := sha256.Sum256(signingInput)
	return ecdsa.Verify(key, digest[:], r, s)
}
