package strictjson

import (
	"bytes"
	"unicode/utf8"
)

// unescape resolves the escape sequences of raw, the inside of a string that the parser has accepted.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		if raw[0] == '\\' {
			r, size := next(raw)
			out = utf8.AppendRune(out, r)
			raw = raw[size:]
			continue
		}
		plain := bytes.IndexByte(raw, '\\')
		if plain < 0 {
			plain = len(raw)
		}
		out = append(out, raw[:plain]...)
		raw = raw[plain:]
	}
	return out
}

func hasEscape(raw []byte) bool { return bytes.IndexByte(raw, '\\') >= 0 }

// next returns the first character that raw, which the parser has accepted, stands for, and how many bytes spell it.
func next(raw []byte) (r rune, size int) {
	if raw[0] != '\\' {
		return utf8.DecodeRune(raw)
	}
	switch c := raw[1]; c {
	case 'u':
		r = hex4(raw)
		if 0xD800 <= r && r < 0xDC00 { // the first half of a surrogate pair
			return 0x10000 + ((r-0xD800)<<10 | (hex4(raw[6:]) - 0xDC00)), 12
		}
		return r, 6
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	default: // " \ /
		return rune(c), 2
	}
}

// hex4 reads \uXXXX at the start of b, or returns a negative number.
func hex4(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	return hexDigit[b[2]]<<12 | hexDigit[b[3]]<<8 | hexDigit[b[4]]<<4 | hexDigit[b[5]]
}

// hexDigit is the value of a digit; -1, which makes any number that it is a part of negative, for what is none.
var hexDigit = func() (values [256]rune) {
	for c := range values {
		values[c] = -1
	}
	for value, c := range "0123456789abcdef" {
		values[c] = rune(value)
	}
	for value, c := range "ABCDEF" {
		values[c] = rune(10 + value)
	}
	return values
}()
