package strictjson

import (
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

// seed makes the hashes differ from process to process: nobody can prepare names that collide.
var seed = maphash.MakeSeed()

func newMemberName(data []byte, s span, escaped bool) memberName {
	raw := s.of(data)
	if !escaped {
		return memberName{s, uint32(maphash.Bytes(seed, raw)), false}
	}
	var h maphash.Hash
	h.SetSeed(seed)
	var char [utf8.UTFMax]byte
	for len(raw) > 0 {
		r, size := next(raw)
		h.Write(utf8.AppendRune(char[:0], r))
		raw = raw[size:]
	}
	return memberName{s, uint32(h.Sum64()), true}
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
