package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
)

// Sign makes a token of claims, the JSON text of an object, which stands in the token exactly as given. The header has
// alg, kid and, if Type is not empty, typ, in this order; Ignored is not written. The key may be anywhere, a KMS or an HSM too:
// only its Sign and Public methods are used. What [Parse] would refuse is not signed. Who signs many tokens with one header
// has a [Signer].
func Sign(header Header, claims []byte, key crypto.Signer) (string, error) {
	head := header.appendJSON(make([]byte, 0, 128))
	if err := check(head, claims); err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	token, err := signCompact(header.Algorithm, head, claims, key)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// check has the header and the claims read as any reader of the token will do.
func check(header, claims []byte) error {
	text := texts{room: len(header) + len(claims)}
	if err := checkHeader(header, &text); err != nil {
		return err
	}
	var c Claims
	return c.read(claims, &text, nil)
}

func checkHeader(header []byte, text *texts) error {
	if len(header) > MaxHeader {
		return refuse(ReasonSize, "header is longer than 1024 bytes")
	}
	_, err := readHeader(header, text)
	return err
}

// signCompact signs any payload, with the header as given.
func signCompact(alg Algorithm, header, payload []byte, key crypto.Signer) (string, error) {
	if key == nil || !alg.Fits(key.Public()) {
		return "", refuseKey()
	}
	encodedHeader := base64.RawURLEncoding.EncodedLen(len(header))
	token := base64.RawURLEncoding.AppendEncode(make([]byte, 0, encodedHeader+lenAfterHeader(payload)), header)
	token, err := appendSigned(token, 0, payload, signWith(alg, key))
	return string(token), err
}

// signWith returns the function that signs with key, which fits alg.
func signWith(alg Algorithm, key crypto.Signer) func(signingInput []byte) ([]byte, error) {
	return func(signingInput []byte) ([]byte, error) { return sign(alg, key, signingInput) }
}

// lenAfterHeader is how long the rest of a token is, in bytes, with a signature of Ed25519 or ES256. Those of RSA are longer.
func lenAfterHeader(payload []byte) int {
	const signature = 86
	return 1 + base64.RawURLEncoding.EncodedLen(len(payload)) + 1 + signature
}

// appendSigned completes a token of any payload, of which dst has the encoded header, at from.
func appendSigned(dst []byte, from int, payload []byte, sign func(signingInput []byte) ([]byte, error)) ([]byte, error) {
	dst = append(dst, '.')
	dst = base64.RawURLEncoding.AppendEncode(dst, payload)
	signature, err := sign(dst[from:])
	if err != nil {
		return nil, err
	}
	dst = append(dst, '.')
	dst = base64.RawURLEncoding.AppendEncode(dst, signature)
	if len(dst)-from > MaxToken {
		return nil, refuse(ReasonSize, "would be longer than 8192 bytes")
	}
	return dst, nil
}

func sign(alg Algorithm, key crypto.Signer, signingInput []byte) ([]byte, error) {
	if alg == EdDSA || alg == Ed25519 {
		signature, err := key.Sign(rand.Reader, signingInput, crypto.Hash(0))
		if err == nil && len(signature) != ed25519.SignatureSize {
			err = fmt.Errorf("signer returned %d bytes, want %d", len(signature), ed25519.SignatureSize)
		}
		return signature, err
	}
	digest := sha256.Sum256(signingInput)
	switch key.Public().(type) {
	case *rsa.PublicKey:
		if alg == PS256 {
			return key.Sign(rand.Reader, digest[:], &pssOptions)
		}
		return key.Sign(rand.Reader, digest[:], crypto.SHA256)
	case *ecdsa.PublicKey:
		der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			return nil, err
		}
		return rawES256(der)
	}
	return nil, refuseKey()
}

// rawES256 turns the ASN.1 form that a crypto.Signer returns into R || S (RFC 7518 §3.4).
func rawES256(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) > 0 {
		return nil, errors.New("signer did not return an ASN.1 signature")
	}
	const half = es256Size / 2
	for _, n := range []*big.Int{sig.R, sig.S} {
		if n.Sign() <= 0 || n.BitLen() > 8*half {
			return nil, errors.New("signer returned a signature that is not one of P-256")
		}
	}
	raw := make([]byte, es256Size)
	sig.R.FillBytes(raw[:half])
	sig.S.FillBytes(raw[half:])
	return raw, nil
}
