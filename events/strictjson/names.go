package strictjson

import (
	"encoding/binary"
	"hash/maphash"
	"strings"
	"unicode/utf8"
)

// memberName is a name that was read. Names are told apart by a hash of what they stand for, so that an object
// whose names differ only in their last character, or are spelled in escape sequences, is not much more
// work than any other; same decides when two hashes are equal.
type memberName struct {
	span
	hash    uint32
	escaped bool
}

// seed and short make the hashes differ from process to process: nobody can prepare names that collide.
var (
	seed  = maphash.MakeSeed()
	short = maphash.String(seed, "short names")
)

// shortName reads a name of less than 8 bytes that starts at from, if it is one and has no escape sequences, and returns where it
// ends, behind the quote; else -1. It does nothing that newMemberName does not do, but in a third of the time.
func shortName(data []byte, from int) (memberName, int) {
	if from+8 > len(data) {
		return memberName{}, -1
	}
	word := binary.LittleEndian.Uint64(data[from:])
	size := plainBytes(word)
	if size == 8 || data[from+size] != '"' {
		return memberName{}, -1
	}
	s := span{uint16(from), uint16(from + size)}
	return memberName{s, hashShort(word & (1<<(8*size) - 1)), false}, from + size + 1
}

func newMemberName(data []byte, s span, escaped bool) memberName {
	raw := s.of(data)
	switch {
	case escaped:
		return memberName{s, hashEscaped(raw), true}
	case len(raw) <= 8:
		var word [8]byte
		copy(word[:], raw)
		return memberName{s, hashShort(binary.LittleEndian.Uint64(word[:])), false}
	}
	return memberName{s, uint32(maphash.Bytes(seed, raw)), false}
}

// hashShort hashes a name of up to 8 bytes, followed by zeros. Most names are so short, and to hash them in the general way
// takes longer than to read them.
func hashShort(word uint64) uint32 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	return uint32((word ^ short) * odd >> 32)
}

// hashEscaped hashes what raw stands for.
func hashEscaped(raw []byte) uint32 {
	var h maphash.Hash
	h.SetSeed(seed)
	var first [8]byte
	size := 0
	var char [utf8.UTFMax]byte
	for len(raw) > 0 {
		r, n := next(raw)
		c := utf8.AppendRune(char[:0], r)
		h.Write(c)
		if size < len(first) {
			copy(first[size:], c)
		}
		size += len(c)
		raw = raw[n:]
	}
	if size <= len(first) {
		return hashShort(binary.LittleEndian.Uint64(first[:]))
	}
	return uint32(h.Sum64())
}

// filter remembers by their hashes which names an object may have. While it has not seen a hash, no name has to be compared: to
// compare each with all before it would be quadratic.
type filter [4]uint64

// add adds a hash and reports whether there may have been one like it.
func (f *filter) add(hash uint32) bool {
	word, bit := &f[hash>>30], uint64(1)<<(hash>>24&63)
	was := *word&bit != 0
	*word |= bit
	return was
}

// same reports whether n and other stand for one name.
func (n memberName) same(other memberName, data []byte) bool {
	a, b := n.of(data), other.of(data)
	if !n.escaped && !other.escaped {
		return string(a) == string(b)
	}
	for len(a) > 0 && len(b) > 0 {
		r, sizeA := next(a)
		s, sizeB := next(b)
		if r != s {
			return false
		}
		a, b = a[sizeA:], b[sizeB:]
	}
	return len(a) == len(b)
}

// standsFor reports whether raw, the inside of a string that the parser has accepted, stands for s.
func standsFor(raw []byte, s string) bool {
	var char [utf8.UTFMax]byte
	for len(raw) > 0 {
		r, size := next(raw)
		c := utf8.AppendRune(char[:0], r)
		if !strings.HasPrefix(s, string(c)) {
			return false
		}
		raw, s = raw[size:], s[len(c):]
	}
	return s == ""
}
