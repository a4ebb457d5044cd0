package ed25519fast

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"filippo.io/edwards25519"
)

// signed is what a verifier gets.
type signed struct {
	name                    string
	key, message, signature []byte
}

// agree tests that New and Verify decide as crypto/ed25519 does, and returns the decision.
func agree(t testing.TB, s signed) bool {
	t.Helper()
	if len(s.key) != ed25519.PublicKeySize { // of which crypto/ed25519 says nothing: it panics
		if _, err := New(s.key); err == nil {
			t.Errorf("%s: a key of %d bytes is accepted", s.name, len(s.key))
		}
		return false
	}
	want := ed25519.Verify(s.key, s.message, s.signature)
	key, err := New(s.key)
	if err != nil {
		if want || isPoint(s.key) {
			t.Errorf("%s: key %x: %v", s.name, s.key, err)
		}
		return false
	}
	return agreeWith(t, key, s)
}

// agreeWith is agree for a key that is prepared.
func agreeWith(t testing.TB, key *Key, s signed) bool {
	t.Helper()
	want := ed25519.Verify(s.key, s.message, s.signature)
	if got := key.Verify(s.message, s.signature); got != want {
		t.Errorf("%s: accepted %v, crypto/ed25519: %v\nkey %x\nmessage %x\nsignature %x", s.name, got, want, s.key, s.message, s.signature)
	}
	return want
}

func isPoint(key []byte) bool {
	_, err := new(edwards25519.Point).SetBytes(key)
	return err == nil
}

// random is a source that gives the same numbers in every run, so that a failure can be repeated.
func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func randomBytes(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

func randomScalar(r *rand.ChaCha8) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetUniformBytes(randomBytes(r, 64))
	if err != nil {
		panic(err)
	}
	return s
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lowOrder returns the eight points whose order divides 8: multiples of one of order 8.
func lowOrder(t testing.TB) (points []*edwards25519.Point) {
	t.Helper()
	generator, err := new(edwards25519.Point).SetBytes(fromHex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
	if err != nil {
		t.Fatal(err)
	}
	sum := edwards25519.NewIdentityPoint()
	for range 8 {
		points = append(points, new(edwards25519.Point).Set(sum))
		sum.Add(sum, generator)
	}
	if sum.Equal(edwards25519.NewIdentityPoint()) != 1 || points[4].Equal(points[0]) == 1 {
		t.Fatal("the generator is not of order 8")
	}
	return points
}

// challengeOf returns k of RFC 8032 §5.1.7, found in another way than the tested one.
func challengeOf(r, key, message []byte) *edwards25519.Scalar {
	digest := sha512.Sum512([]byte(string(r) + string(key) + string(message)))
	k, err := edwards25519.NewScalar().SetUniformBytes(digest[:])
	if err != nil {
		panic(err)
	}
	return k
}

// hostile is a signer who knows a and may choose the rest: the key is aB + T, encoded in any way.
type hostile struct {
	a       *edwards25519.Scalar
	encoded []byte
}

func newHostile(a *edwards25519.Scalar, t *edwards25519.Point) hostile {
	point := new(edwards25519.Point).ScalarBaseMult(a)
	return hostile{a, point.Add(point, t).Bytes()}
}

// sign signs with the nonce r, and with R + T for R.
func (h hostile) sign(message []byte, r *edwards25519.Scalar, t *edwards25519.Point) []byte {
	point := new(edwards25519.Point).ScalarBaseMult(r)
	encoded := point.Add(point, t).Bytes()
	s := edwards25519.NewScalar().MultiplyAdd(challengeOf(encoded, h.encoded, message), h.a, r)
	return append(encoded, s.Bytes()...)
}
