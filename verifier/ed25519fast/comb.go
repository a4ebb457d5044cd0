package ed25519fast

import (
	"encoding/binary"
	"math/bits"
)

const (
	teeth = 23
	rows  = 11 // digits of a tooth; teeth * rows = 253, the bits of the order
)

// comb says how many teeth each table has: one with n teeth has 2^(n-1) entries.
type comb []uint

// Chosen by measurement. More teeth to a table are fewer additions, and more memory for every key; the base point's is there once.
var (
	keyComb  = comb{6, 6, 6, 5}
	baseComb = comb{12, 11}
)

const (
	keyTables, keyEntries   = 4, 3<<5 + 1<<4
	baseTables, baseEntries = 2, 1<<11 + 1<<10
)

// scalar is an integer of 256 bits, little endian, with a word of zeros behind it.
type scalar [5]uint64

// order is that of the base point, L in RFC 8032 §5.1.
var order = [4]uint64{0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000}

func newScalar(b []byte) (s scalar) {
	for i := range order {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s
}

// reduced reports whether s < L.
func (s *scalar) reduced() bool {
	borrow := uint64(0)
	for i := range order {
		_, borrow = bits.Sub64(s[i], order[i], borrow)
	}
	return borrow == 1
}

func (s *scalar) even() bool { return s[0]&1 == 0 }

// from returns the 64 bits from bit i < 256 on.
func (s *scalar) from(i uint) uint64 { return s[i/64]>>(i%64) | s[i/64+1]<<(64-i%64) }

// choice is an entry of a table: its index, and 1 if its negative is meant.
type choice struct{ index, negative uint16 }

// choices is what to add after each doubling: one entry of every table, those of the key before those of the base point.
type choices [rows][keyTables + baseTables]choice

// choose chooses for [s]P, or [s+1]P if s is even, in the tables of P, which are those from first on. It needs s < 2^253.
func (c comb) choose(chosen *choices, first int, s *scalar) {
	tooth, index := uint(0), uint16(0)
	for table, n := range c {
		var columns [(rows + 3) / 4]uint64 // in 16 bits for each row the digits of this table's teeth: 1 for 1, 0 for -1
		for i := range n {
			digits := s.from(1 + rows*tooth)
			if tooth++; tooth == teeth {
				digits |= 1 << (rows - 1) // d[252]
			}
			for j := range columns {
				columns[j] |= spread(digits>>(4*j)) << i
			}
		}
		half := uint16(1) << (n - 1)
		for row := range chosen {
			digits := uint16(columns[row/4] >> (row % 4 * 16))
			negative := digits>>(n-1) ^ 1
			chosen[row][first+table] = choice{index + (digits^-negative)&(half-1), negative}
		}
		index += half
	}
}

// spread moves the low four bits apart, each into 16 bits of its own.
func spread(x uint64) uint64 {
	return x & 15 * (1 + 1<<15 + 1<<30 + 1<<45) & (1 + 1<<16 + 1<<32 + 1<<48)
}
