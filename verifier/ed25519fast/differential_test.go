package ed25519fast

import (
	"crypto/ed25519"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"
)

// withS is a signature with another S.
func withS(signature []byte, s *big.Int) []byte {
	return slices.Concat(signature[:32], bytesOf(s))
}

func sOf(signature []byte) *big.Int {
	s := newScalar(signature[32:])
	return bigOf(s[:])
}

// unusual are signatures on which verifiers of Ed25519 could differ, made by signers who know their secret scalar.
func unusual(t testing.TB) (all []signed) {
	r := random(5)
	add := func(name string, key, message, signature []byte) {
		all = append(all, signed{name, key, message, signature})
	}

	// Every part of small order in A with every one in R. Without the cofactor exactly one R goes with an A, and which one depends on
	// the hash; multiplied by the cofactor they would all do.
	for i, inA := range lowOrder(t) {
		for j, inR := range lowOrder(t) {
			for n := range 2 {
				message := randomBytes(r, 10*n)
				mixed := newHostile(randomScalar(r), inA)
				add(fmt.Sprintf("mixed order: %d in A, %d in R", i, j), mixed.encoded, message, mixed.sign(message, randomScalar(r), inR))
				small := newHostile(edwards25519.NewScalar(), inA)
				add(fmt.Sprintf("small order: A is %d, %d in R", i, j), small.encoded, message, small.sign(message, randomScalar(r), inR))
				add(fmt.Sprintf("small order: A is %d, R is %d, S = 0", i, j), small.encoded, message, small.sign(message, edwards25519.NewScalar(), inR))
				add(fmt.Sprintf("mixed order: %d in A, R is %d", i, j), mixed.encoded, message, mixed.sign(message, edwards25519.NewScalar(), inR))
			}
		}
	}

	// The same with the other encodings that points of small order have, as A and as R.
	for _, encoded := range otherEncodings() {
		if !isPoint(encoded) {
			add("no point", encoded, nil, make([]byte, 64))
			continue
		}
		other := hostile{edwards25519.NewScalar(), encoded}
		usual := newHostile(randomScalar(r), edwards25519.NewIdentityPoint())
		for j, inR := range lowOrder(t) {
			for range 2 {
				message := randomBytes(r, 20)
				add(fmt.Sprintf("A is %x, %d in R", encoded, j), encoded, message, other.sign(message, randomScalar(r), inR))
				s := edwards25519.NewScalar().Multiply(challengeOf(encoded, usual.encoded, message), usual.a)
				add(fmt.Sprintf("R is %x", encoded), usual.encoded, message, slices.Concat(encoded, s.Bytes()))
			}
		}
	}

	// S that is not the one of the signature, or is it, and not reduced.
	for i := range 4 {
		message := randomBytes(r, 30)
		signer := newHostile(randomScalar(r), lowOrder(t)[0])
		signature := signer.sign(message, randomScalar(r), lowOrder(t)[0])
		s := sOf(signature)
		for m := int64(0); m < 16; m++ {
			if n := new(big.Int).Add(s, new(big.Int).Mul(big.NewInt(m), bigL)); n.BitLen() <= 256 {
				add(fmt.Sprintf("%d: S + %dL", i, m), signer.encoded, message, withS(signature, n))
			}
		}
		for bit := uint(250); bit < 256; bit++ {
			add(fmt.Sprintf("%d: S with bit %d set", i, bit), signer.encoded, message, withS(signature, new(big.Int).SetBit(s, int(bit), 1)))
		}
		for d := int64(-2); d <= 2; d++ {
			add(fmt.Sprintf("%d: S is L%+d", i, d), signer.encoded, message, withS(signature, new(big.Int).Add(bigL, big.NewInt(d))))
			add(fmt.Sprintf("%d: S is %d more", i, d), signer.encoded, message, withS(signature, new(big.Int).Add(s, big.NewInt(d))))
		}
		add(fmt.Sprintf("%d: S is -S", i), signer.encoded, message, withS(signature, new(big.Int).Sub(bigL, s)))
		for _, b := range []byte{0, 1, 0x7f, 0xff} {
			add(fmt.Sprintf("%d: S is all %#x", i, b), signer.encoded, message, slices.Concat(signature[:32], slices.Repeat([]byte{b}, 32)))
			add(fmt.Sprintf("%d: R is all %#x", i, b), signer.encoded, message, slices.Concat(slices.Repeat([]byte{b}, 32), signature[32:]))
		}
		negative := slices.Clone(signature)
		negative[31] ^= 0x80
		add(fmt.Sprintf("%d: R is -R", i), signer.encoded, message, negative)
		negative = slices.Clone(signer.encoded)
		negative[31] ^= 0x80
		add(fmt.Sprintf("%d: A is -A", i), negative, message, signature)
	}

	// S = 0, 1, 2, L-1, L-2: a signer of his own key can make them, as r = S - ka.
	for _, n := range []*big.Int{new(big.Int), one, big.NewInt(2), new(big.Int).Sub(bigL, one), new(big.Int).Sub(bigL, big.NewInt(2))} {
		for _, inA := range lowOrder(t) {
			r := multiple(n, edwards25519.NewGeneratorPoint()).Bytes()
			add(fmt.Sprintf("S = %x", n), newHostile(edwards25519.NewScalar(), inA).encoded, nil, slices.Concat(r, bytesOf(n)))
		}
	}
	return all
}

// otherEncodings are the encodings that are not canonical: of a y that is less than 19, p + y, and of x = 0 the one with a sign.
func otherEncodings() (encodings [][]byte) {
	for y := range byte(19) {
		for _, last := range []byte{0x7f, 0xff} {
			encodings = append(encodings, slices.Concat([]byte{0xed + y}, slices.Repeat([]byte{0xff}, 30), []byte{last}))
		}
	}
	return append(encodings,
		slices.Concat([]byte{1}, make([]byte, 30), []byte{0x80}),
		slices.Concat([]byte{0xec}, slices.Repeat([]byte{0xff}, 31)))
}

func TestUnusualSignaturesAreDecidedAsInTheStandardLibrary(t *testing.T) {
	all := unusual(t)
	accepted, nonCanonical, cofactor := 0, 0, 0
	for _, s := range all {
		if agree(t, s) {
			accepted++
			if strings.HasPrefix(s.name, "A is ") {
				nonCanonical++
			}
		} else if verifiesWithCofactor(s) {
			cofactor++
		}
	}
	t.Logf("%d signatures: %d accepted, of these %d by a key that is not canonical; %d refused that a verifier with the cofactor would accept",
		len(all), accepted, nonCanonical, cofactor)
	if accepted < 50 || nonCanonical < 5 || cofactor < 500 {
		t.Error("the test tests little")
	}
}

// verifiesWithCofactor reports whether [8][S]B = [8]R + [8][k]A.
func verifiesWithCofactor(s signed) bool {
	a, errA := new(edwards25519.Point).SetBytes(s.key)
	r, errR := new(edwards25519.Point).SetBytes(s.signature[:32])
	n, errS := edwards25519.NewScalar().SetCanonicalBytes(s.signature[32:])
	if errA != nil || errR != nil || errS != nil {
		return false
	}
	a.Negate(a)
	p := new(edwards25519.Point).VarTimeDoubleScalarBaseMult(challengeOf(s.signature[:32], s.key, s.message), a, n)
	return p.Subtract(p, r).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1
}

// Every bit of a signature, its message and its key, changed one at a time.
func TestEveryChangedBitIsDecidedAsInTheStandardLibrary(t *testing.T) {
	for n := range byte(3) {
		key, s := example(t, 20+n)
		s.message = s.message[:40]
		s.signature = ed25519.Sign(ed25519.NewKeyFromSeed(randomBytes(random(20+n), ed25519.SeedSize)), s.message)
		if !agreeWith(t, key, s) {
			t.Fatal("the signature is refused")
		}
		changes := func(b []byte, check func() bool) {
			for bit := range 8 * len(b) {
				b[bit/8] ^= 1 << (bit % 8)
				if check() {
					t.Errorf("accepted with bit %d changed", bit)
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
		changes(s.signature, func() bool { return agreeWith(t, key, s) })
		changes(s.message, func() bool { return agreeWith(t, key, s) })
		changes(s.key, func() bool { return agree(t, s) })
	}
}

// Keys, messages of all lengths around those of SHA-512's blocks, and signatures at random.
func TestRandomSignaturesAreDecidedAsInTheStandardLibrary(t *testing.T) {
	r := random(6)
	for range 40 {
		private := ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
		public := private.Public().(ed25519.PublicKey)
		key, err := New(public)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			message := randomBytes(r, int(r.Uint64()%300))
			s := signed{"valid", public, message, ed25519.Sign(private, message)}
			if !agreeWith(t, key, s) {
				t.Fatal("a valid signature is refused")
			}
			b := &s.signature[r.Uint64()%ed25519.SignatureSize]
			*b ^= byte(1 + r.Uint64()%255)
			s.name = "one byte changed"
			agreeWith(t, key, s)
		}
	}
	points := 0
	for range 300 { // half of all encodings are points
		s := signed{"random", randomBytes(r, 32), randomBytes(r, 10), randomBytes(r, 64)}
		s.signature[63] &= 0x0f
		if isPoint(s.key) {
			points++
		}
		agree(t, s)
	}
	if points < 100 || 200 < points {
		t.Errorf("%d of 300 random encodings are points", points)
	}
}
