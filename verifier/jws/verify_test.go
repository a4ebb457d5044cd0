package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// Only the pairs that belong together verify: no algorithm accepts another's signature or key.
func TestV2_AnAlgorithmVerifiesOnlyWithItsOwnKeysAndSignatures(t *testing.T) {
	keys := testKeys(t)
	for _, signed := range Algorithms() {
		token := mustSign(t, Header{Algorithm: signed, KeyID: "k"}, keys[signed])
		parsed := mustParse(t, token)
		for _, alg := range Algorithms() {
			for _, keyOf := range Algorithms() {
				err := Verify(alg, keys[keyOf].Public(), parsed.SigningInput(), parsed.Signature())
				fits := keys[alg].Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(keys[keyOf].Public())
				switch {
				case !fits:
					wantReason(t, err, ReasonKey)
				case alg.Same(signed):
					if err != nil {
						t.Errorf("%s token as %s: %v", signed, alg, err)
					}
				default:
					wantReason(t, err, ReasonSignature)
				}
			}
		}
	}
}

func TestOnlyTheTwoNamesOfEd25519AreTheSame(t *testing.T) {
	for _, a := range append(Algorithms(), "") {
		for _, b := range append(Algorithms(), "") {
			want := a == b || strings.HasPrefix(string(a), "Ed") && strings.HasPrefix(string(b), "Ed")
			if got := a.Same(b); got != want {
				t.Errorf("%q is the same as %q: %v", a, b, got)
			}
		}
	}
}

func TestAnyChangedBitBreaksTheSignature(t *testing.T) {
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		token := mustParse(t, mustSign(t, Header{Algorithm: alg, KeyID: "k"}, keys[alg]))
		for i := 0; i < 8*len(token.Signature()); i += 7 {
			signature := bytes.Clone(token.Signature())
			signature[i/8] ^= 1 << (i % 8)
			wantReason(t, Verify(alg, keys[alg].Public(), token.SigningInput(), signature), ReasonSignature)
		}
		for i := 0; i < 8*len(token.SigningInput()); i += 61 {
			input := bytes.Clone(token.SigningInput())
			input[i/8] ^= 1 << (i % 8)
			wantReason(t, Verify(alg, keys[alg].Public(), input, token.Signature()), ReasonSignature)
		}
	}
}

func TestSignaturesOfAnyOtherLengthAreRefused(t *testing.T) {
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		token := mustParse(t, mustSign(t, Header{Algorithm: alg, KeyID: "k"}, keys[alg]))
		s := token.Signature()
		for _, signature := range [][]byte{nil, {}, s[:1], s[:len(s)-1], append(bytes.Clone(s), 0), append([]byte{0}, s...), make([]byte, len(s)), make([]byte, MaxToken),
			slices.Insert(bytes.Clone(s), len(s)/2, 0)} { // for ES256, the same R and S
			wantReason(t, Verify(alg, keys[alg].Public(), token.SigningInput(), signature), ReasonSignature)
		}
	}
}

// Adding the group's order to S gives another signature for the same message, if a verifier lets it (RFC 8032 §8.4).
func TestC_EdDSASignaturesCannotBeMadeAnew(t *testing.T) {
	key := testKeys(t)[EdDSA]
	token := mustParse(t, mustSign(t, Header{Algorithm: EdDSA, KeyID: "k"}, key))
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	littleEndian := func(b []byte) []byte {
		out := bytes.Clone(b)
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return out
	}
	s := new(big.Int).SetBytes(littleEndian(token.Signature()[32:]))
	s.Add(s, order)
	other := append(bytes.Clone(token.Signature()[:32]), littleEndian(s.FillBytes(make([]byte, 32)))...)
	wantReason(t, Verify(EdDSA, key.Public(), token.SigningInput(), other), ReasonSignature)
}

// CVE-2022-21449: R = S = 0 satisfied the equation for every message, in Java.
func TestC_ZeroES256SignaturesAreRefused(t *testing.T) {
	key := testKeys(t)[ES256].Public()
	n := elliptic.P256().Params().N
	for _, r := range []*big.Int{new(big.Int), n} {
		for _, s := range []*big.Int{new(big.Int), n} {
			signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			wantReason(t, Verify(ES256, key, []byte("x.y"), signature), ReasonSignature)
		}
	}
}

func TestES256SignaturesInASN1AreRefused(t *testing.T) {
	key := testKeys(t)[ES256].(*ecdsa.PrivateKey)
	digest := sha256.Sum256([]byte("x.y"))
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, Verify(ES256, key.Public(), []byte("x.y"), der), ReasonSignature)
	raw, err := rawES256(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(ES256, key.Public(), []byte("x.y"), raw); err != nil {
		t.Error(err)
	}
}

func TestPS256TakesNoOtherSaltThanTheHashsLength(t *testing.T) {
	key := testKeys(t)[PS256].(*rsa.PrivateKey)
	digest := sha256.Sum256([]byte("x.y"))
	// There is no 0: to SignPSS it means the largest salt that there is room for, which is tried as such.
	for salt, want := range map[int]bool{rsa.PSSSaltLengthAuto: false, 1: false, 20: false, 31: false, 32: true, 33: false} {
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if got := Verify(PS256, key.Public(), []byte("x.y"), signature) == nil; got != want {
			t.Errorf("salt of %d bytes accepted: %v", salt, got)
		}
	}
}

// An attacker who knows the public key, and hopes that it will be taken for a shared secret.
func TestC_ThePublicKeyIsNoSecret(t *testing.T) {
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		der, err := x509.MarshalPKIXPublicKey(keys[alg].Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
			input := encode(`{"alg":"HS256","kid":"k"}`) + "." + encode(usualClaims)
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			_, err := Parse(input + "." + encode(string(mac.Sum(nil))))
			wantReason(t, err, ReasonAlgorithm)
			wantReason(t, Verify(alg, keys[alg].Public(), []byte(input), mac.Sum(nil)), ReasonSignature)
			wantReason(t, Verify("HS256", keys[alg].Public(), []byte(input), mac.Sum(nil)), ReasonKey)
			wantReason(t, Verify("HS256", secret, []byte(input), mac.Sum(nil)), ReasonKey)
		}
	}
}

// GHSA-g33f-6538-grxh: keys of the wrong size and shape are refused, not fallen over.
func TestC_KeysThatAreNoneDoNotPanic(t *testing.T) {
	p256 := testKeys(t)[ES256].Public().(*ecdsa.PublicKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big2047 := new(big.Int).SetBit(big.NewInt(1), 2046, 1)
	keys := []crypto.PublicKey{
		nil, "", 0, []byte("key"), make([]byte, 32), struct{}{},
		(*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{}, *p256, p384.Public(),
		(*rsa.PublicKey)(nil), &rsa.PublicKey{}, &rsa.PublicKey{E: 65537, N: big.NewInt(0)}, &rsa.PublicKey{E: 65537, N: big2047},
		ed25519.PrivateKey(make([]byte, 64)), (*ed25519.PublicKey)(nil), ed25519.PublicKey(nil),
	}
	for n := range 65 {
		if n != ed25519.PublicKeySize {
			keys = append(keys, ed25519.PublicKey(make([]byte, n)))
		}
	}
	for _, alg := range append(Algorithms(), "none", "HS256", "") {
		for _, key := range keys {
			if alg.Fits(key) {
				t.Errorf("%s fits %T %v", alg, key, key)
			}
			wantReason(t, Verify(alg, key, []byte("x.y"), make([]byte, 64)), ReasonKey)
		}
	}
}

// Keys that are of the right type and nonsense: they cannot have signed anything.
func TestC_NonsenseKeysVerifyNothing(t *testing.T) {
	modulus := new(big.Int).Lsh(big.NewInt(1), 2048)
	for name, test := range map[string]struct {
		alg Algorithm
		key crypto.PublicKey
	}{
		"an even modulus":        {RS256, &rsa.PublicKey{E: 65537, N: modulus}},
		"an exponent of 1":       {RS256, &rsa.PublicKey{E: 1, N: new(big.Int).Add(modulus, big.NewInt(1))}},
		"an exponent of 0":       {PS256, &rsa.PublicKey{E: 0, N: new(big.Int).Add(modulus, big.NewInt(1))}},
		"a key not on the curve": {EdDSA, ed25519.PublicKey(bytes.Repeat([]byte{0xff}, 32))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, signature := range [][]byte{make([]byte, 64), make([]byte, 256), bytes.Repeat([]byte{1}, 256)} {
				wantReason(t, Verify(test.alg, test.key, []byte("x.y"), signature), ReasonSignature)
			}
		})
	}
}
