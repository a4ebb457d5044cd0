package ed25519fast

import (
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// TableSize is how many bytes of memory a Key takes: 13,600, which Go's allocator rounds up.
const TableSize = 14 << 10

// Key is a public key that is prepared to verify with. It is immutable and safe for concurrent use. It is large: do not copy it.
type Key struct {
	base    *baseTable // nil if New has not made the key: then Verify panics, rather than to compute with a table of zeros
	table   keyTable   // of -A
	encoded [ed25519.PublicKeySize]byte
}

// New prepares a key, which is copied. It refuses one that is not 32 bytes long, with which crypto/ed25519 panics, and one that is not the
// encoding of a point, by which crypto/ed25519 accepts no signature.
func New(public ed25519.PublicKey) (*Key, error) {
	if len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("preparing an Ed25519 key: it has %d bytes, not %d", len(public), ed25519.PublicKeySize)
	}
	a, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return nil, errors.New("preparing an Ed25519 key: it is not the encoding of a point on the curve")
	}
	k := &Key{encoded: [ed25519.PublicKeySize]byte(public), base: base()}
	fill(k.table[:], keyComb, a.Negate(a))
	return k, nil
}

// Verify reports whether signature is a valid signature of message by the key, as crypto/ed25519.Verify does. It allocates nothing.
func (k *Key) Verify(message, signature []byte) bool {
	if len(signature) != ed25519.SignatureSize {
		return false
	}
	r, s := signature[:32], newScalar(signature[32:])
	if !s.reduced() {
		return false
	}
	h := k.challenge(r, message)
	return k.commitment(&h, &s) == [32]byte(r)
}

// challenge returns the k of RFC 8032 §5.1.7 step 2.
func (k *Key) challenge(r, message []byte) scalar {
	var digest [sha512.Size]byte
	h := sha512.New()
	h.Write(r)
	h.Write(k.encoded[:])
	h.Write(message)
	reduced, err := new(edwards25519.Scalar).SetUniformBytes(h.Sum(digest[:0]))
	if err != nil {
		panic("SHA-512 has made a digest of another size: " + err.Error())
	}
	return newScalar(reduced.Bytes())
}

// commitment returns [h](-A) + [s]B, encoded: the R with which h and s are a signature.
func (k *Key) commitment(h, s *scalar) [32]byte {
	var chosen choices
	keyComb.choose(&chosen, 0, h)
	baseComb.choose(&chosen, keyTables, s)
	// All entries are copied before the first is used: what of them is not in the processor's cache then comes at the same time.
	var entries [rows][keyTables + baseTables]entry
	for row := range entries {
		for i := range keyTables {
			entries[row][i] = k.table[chosen[row][i].index]
		}
		for i := keyTables; i < keyTables+baseTables; i++ {
			entries[row][i] = k.base[chosen[row][i].index]
		}
	}

	var p point
	p.setNeutral()
	for row := rows - 1; row >= 0; row-- {
		if row < rows-1 {
			p.double()
		}
		for i := range entries[row] {
			p.add(&entries[row][i], chosen[row][i].negative)
		}
	}
	if h.even() {
		p.add(&k.table[keyEntries], 1)
	}
	if s.even() {
		p.add(&k.base[baseEntries], 1)
	}
	return p.encode()
}
