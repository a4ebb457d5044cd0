package events

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"filippo.io/edwards25519"
)

// checkEd25519 refuses what crypto/ed25519 would not: with a point of small order, a signature of one message verifies for
// another one, too; and a point with two encodings is two keys (RFC 8032 §5.1.3, "Taming the many EdDSAs").
//
// A set checks every key that is put. The one costly step is whether there is a point at all, which takes a square root: the
// other two are decided by the encoding alone.
func checkEd25519(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("x has %d bytes, an Ed25519 key has %d", len(key), ed25519.PublicKeySize)
	}
	if !isReduced(key) {
		return errors.New("x is not the canonical encoding of its point")
	}
	if isSmallOrder(key) {
		return errors.New("x is a point of small order, which verifies forged signatures")
	}
	if _, err := new(edwards25519.Point).SetBytes(key); err != nil {
		return errors.New("x is not a point on the curve Ed25519")
	}
	return nil
}

// isReduced reports whether the y coordinate in key, little endian under the sign bit, is less than p = 2^255 - 19. A point with
// a reduced y has no second encoding, but for the two with x = 0, which has no sign: they are of small order.
func isReduced(key ed25519.PublicKey) bool {
	for _, b := range key[1:31] {
		if b != 0xff {
			return true
		}
	}
	return key[31]&0x7f != 0x7f || key[0] < 0xed
}

// smallOrder are the reduced y coordinates of the eight points whose order divides 8: that of the neutral element; that of order
// 2; those of order 4; and two times two of order 8. With the sign bit set or not they are all points of small order.
var smallOrder = [...][ed25519.PublicKeySize]byte{
	{0x01},
	{
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
	},
	{},
	{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	},
	{
		0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
	},
}

// isSmallOrder reports whether key, whose y is reduced, encodes a point of small order.
func isSmallOrder(key ed25519.PublicKey) bool {
	y := [ed25519.PublicKeySize]byte(key)
	y[len(y)-1] &= 0x7f
	return slices.Contains(smallOrder[:], y)
}
