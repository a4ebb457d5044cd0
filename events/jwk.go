package events

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/keyherald/keyherald/events/strictjson"
)

var errForeignMember = errors.New("members of more than one type of key (crv, x, y, n, e): which key is meant is not certain")

// jwk collects the members of a JSON Web Key while a record is read.
type jwk struct {
	kty, crv, alg, use, kid string
	x, y, n, e              []byte
}

func (j *jwk) member(name, value []byte) (known bool, err error) {
	switch string(name) {
	case "kty":
		j.kty, err = nonEmpty(value)
	case "crv":
		j.crv, err = nonEmpty(value)
	case "alg":
		j.alg, err = nonEmpty(value)
	case "use":
		j.use, err = nonEmpty(value)
	case "kid":
		j.kid, err = nonEmpty(value)
	case "x":
		j.x, err = octets(value)
	case "y":
		j.y, err = octets(value)
	case "n":
		j.n, err = octets(value)
	case "e":
		j.e, err = octets(value)
	case "key_ops":
		return false, checkOperations(value)
	default:
		return false, nil
	}
	return true, err
}

// nonEmpty reads a string. An empty one is not the same as none.
func nonEmpty(value []byte) (string, error) {
	s, err := strictjson.String(value)
	if err == nil && s == "" {
		err = errors.New("empty: leave it out or fill it in")
	}
	return s, err
}

// octets decodes a base64url member.
func octets(value []byte) ([]byte, error) {
	s, err := strictjson.String(value)
	if err != nil {
		return nil, err
	}
	b, err := decodeBase64(s)
	if err != nil {
		return nil, errors.New("not unpadded base64url")
	}
	return b, nil
}

// checkOperations checks key_ops (RFC 7517 §4.3): a key that is not for verifying is refused.
func checkOperations(value []byte) error {
	ops, err := strictjson.Strings(value, 8)
	if err != nil {
		return err
	}
	if !slices.Contains(ops, "verify") {
		return errors.New(`only keys for signatures ("verify") are accepted`)
	}
	slices.Sort(ops)
	if len(slices.Compact(ops)) != len(ops) {
		return errors.New("an operation stands there twice")
	}
	return nil
}

// publicKey makes the key, and binds it to its one algorithm. See parseKey for before.
func (j *jwk) publicKey(before *Key) (Algorithm, crypto.PublicKey, error) {
	if j.use != "" && j.use != "sig" {
		return "", nil, fmt.Errorf(`use %s: only keys for signatures ("sig") are accepted`, quote(j.use))
	}
	switch j.kty {
	case "OKP":
		return j.ed25519(before)
	case "EC":
		return j.p256()
	case "RSA":
		return j.rsa()
	case "":
		return "", nil, errors.New("kty is missing: not a JSON Web Key")
	}
	return "", nil, fmt.Errorf("kty %s is not OKP, EC or RSA", quote(j.kty))
}

func (j *jwk) ed25519(before *Key) (Algorithm, crypto.PublicKey, error) {
	if j.y != nil || j.n != nil || j.e != nil {
		return "", nil, errForeignMember
	}
	if j.crv != "Ed25519" {
		return "", nil, fmt.Errorf("crv %s of an OKP key is not Ed25519", quote(j.crv))
	}
	if j.alg != "" && j.alg != string(EdDSA) && j.alg != "Ed25519" {
		return "", nil, fmt.Errorf("alg %s of an Ed25519 key is not EdDSA", quote(j.alg))
	}
	key := ed25519.PublicKey(j.x)
	if before != nil && key.Equal(before.Public) {
		return EdDSA, before.Public, nil
	}
	if err := checkEd25519(key); err != nil {
		return "", nil, err
	}
	return EdDSA, key, nil
}

func (j *jwk) p256() (Algorithm, crypto.PublicKey, error) {
	if j.n != nil || j.e != nil {
		return "", nil, errForeignMember
	}
	if j.crv != "P-256" {
		return "", nil, fmt.Errorf("crv %s of an EC key is not P-256", quote(j.crv))
	}
	if j.alg != "" && j.alg != string(ES256) {
		return "", nil, fmt.Errorf("alg %s of a P-256 key is not ES256", quote(j.alg))
	}
	if len(j.x) != 32 || len(j.y) != 32 {
		return "", nil, fmt.Errorf("coordinates of %d and %d bytes, a P-256 key has 32 each (RFC 7518 §6.2.1)", len(j.x), len(j.y))
	}
	point := slices.Concat([]byte{4}, j.x, j.y)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return "", nil, errors.New("the point is not on the curve P-256")
	}
	return ES256, key, nil
}

func (j *jwk) rsa() (Algorithm, crypto.PublicKey, error) {
	if j.crv != "" || j.x != nil || j.y != nil {
		return "", nil, errForeignMember
	}
	alg := Algorithm(j.alg)
	if len(j.e) == 0 || len(j.e) > 4 || j.e[0] == 0 {
		return "", nil, errors.New("e is not the shortest form of a number of at most 32 bits (RFC 7518 §6.3.1)")
	}
	if len(j.n) == 0 || j.n[0] == 0 || len(j.n) > MaxRSABits/8 {
		return "", nil, fmt.Errorf("n is not the shortest form of a number of at most %d bits", MaxRSABits)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(j.n), E: int(new(big.Int).SetBytes(j.e).Int64())}
	if err := checkRSA(alg, key); err != nil {
		return "", nil, err
	}
	return alg, key, nil
}

// CheckPublicKey checks that key is one that may be registered, and that alg is an algorithm for it.
func CheckPublicKey(alg Algorithm, key crypto.PublicKey) error {
	switch key := key.(type) {
	case ed25519.PublicKey:
		if alg != EdDSA {
			return fmt.Errorf("alg %s of an Ed25519 key is not EdDSA", quote(string(alg)))
		}
		return checkEd25519(key)
	case *ecdsa.PublicKey:
		if key == nil || key.Curve != elliptic.P256() {
			return errors.New("an ECDSA key must be on the curve P-256")
		}
		if alg != ES256 {
			return fmt.Errorf("alg %s of a P-256 key is not ES256", quote(string(alg)))
		}
		if _, err := key.Bytes(); err != nil {
			return errors.New("the point is not on the curve P-256")
		}
		return nil
	case *rsa.PublicKey:
		return checkRSA(alg, key)
	}
	return fmt.Errorf("a key of type %T is not Ed25519, P-256 or RSA", key)
}

func checkRSA(alg Algorithm, key *rsa.PublicKey) error {
	if alg != RS256 && alg != PS256 {
		return fmt.Errorf("alg %s of an RSA key is neither RS256 nor PS256: it must say which", quote(string(alg)))
	}
	if key == nil || key.N == nil || key.N.BitLen() < MinRSABits || key.N.BitLen() > MaxRSABits || key.N.Bit(0) == 0 {
		return fmt.Errorf("n is not an odd number of %d to %d bits", MinRSABits, MaxRSABits)
	}
	if key.E < 3 || key.E > 1<<31-1 || key.E&1 == 0 {
		return errors.New("e is not an odd number from 3 to 2^31-1")
	}
	if isROCA(key.N) {
		return errors.New("n was made by a generator whose keys can be factored (CVE-2017-15361): make a new key elsewhere")
	}
	return nil
}

// writeJWK writes the members that make the public key, without its algorithm.
func writeJWK(b *builder, key crypto.PublicKey) {
	enc := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case ed25519.PublicKey:
		b.str("kty", "OKP")
		b.str("crv", "Ed25519")
		b.str("x", enc(key))
	case *ecdsa.PublicKey:
		point, _ := key.Bytes() // CheckPublicKey has accepted it
		b.str("kty", "EC")
		b.str("crv", "P-256")
		b.str("x", enc(point[1:33]))
		b.str("y", enc(point[33:]))
	case *rsa.PublicKey:
		b.str("kty", "RSA")
		b.str("n", enc(key.N.Bytes()))
		b.str("e", enc(big.NewInt(int64(key.E)).Bytes()))
	}
}

// Thumbprint is the key's SHA-256 JWK thumbprint in base64url (RFC 7638, RFC 8037 §2).
func Thumbprint(key crypto.PublicKey) (string, error) {
	enc := base64.RawURLEncoding.EncodeToString
	var text string
	switch key := key.(type) {
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return "", fmt.Errorf("an Ed25519 key of %d bytes, not %d", len(key), ed25519.PublicKeySize)
		}
		text = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":"%s"}`, enc(key))
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil || key.Curve != elliptic.P256() {
			return "", errors.New("the point is not on the curve P-256")
		}
		text = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, enc(point[1:33]), enc(point[33:]))
	case *rsa.PublicKey:
		text = fmt.Sprintf(`{"e":"%s","kty":"RSA","n":"%s"}`, enc(big.NewInt(int64(key.E)).Bytes()), enc(key.N.Bytes()))
	default:
		return "", fmt.Errorf("a key of type %T is not Ed25519, P-256 or RSA", key)
	}
	sum := sha256.Sum256([]byte(text))
	return enc(sum[:]), nil
}
