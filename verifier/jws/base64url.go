package jws

import "encoding/base64"

// Base64url without padding (RFC 4648 §5), in the one spelling that each sequence of bytes has. The decoder of encoding/base64
// is not used, because it skips CR and LF even when it is strict, and wants the text as bytes, which would be another copy of
// every token.

// sextets are the values of the characters; notSextet for all that are none.
var sextets = func() (values [256]uint8) {
	for c := range values {
		values[c] = notSextet
	}
	for value, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		values[c] = uint8(value)
	}
	return values
}()

const notSextet = 0x80

// inAlphabet reports whether s has no other characters than base64url's.
func inAlphabet(s string) bool {
	for len(s) >= 8 { // at once, for half of the time
		if (sextets[s[0]]|sextets[s[1]]|sextets[s[2]]|sextets[s[3]]|sextets[s[4]]|sextets[s[5]]|sextets[s[6]]|sextets[s[7]])&notSextet != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if sextets[s[i]] == notSextet {
			return false
		}
	}
	return true
}

// decodedLen is the size of what s encodes, in bytes.
func decodedLen(s string) int { return base64.RawURLEncoding.DecodedLen(len(s)) }

// decode appends what s encodes to dst, which must have room for it. The characters of s were checked by inAlphabet; what is
// left to refuse is a length that does not exist, and bits of the last character that encode nothing and are not zero.
func decode(dst []byte, s string) ([]byte, error) {
	out := dst[len(dst) : len(dst)+decodedLen(s)]
	dst = dst[:len(dst)+len(out)]
	for len(s) >= 4 && len(out) >= 3 {
		v := uint32(sextets[s[0]])<<18 | uint32(sextets[s[1]])<<12 | uint32(sextets[s[2]])<<6 | uint32(sextets[s[3]])
		out[0], out[1], out[2] = byte(v>>16), byte(v>>8), byte(v)
		s, out = s[4:], out[3:]
	}
	unused := uint8(0)
	switch len(s) {
	case 1:
		return nil, refuse(ReasonForm, "has a segment of a length that base64url does not have")
	case 2:
		out[0] = sextets[s[0]]<<2 | sextets[s[1]]>>4
		unused = sextets[s[1]] << 4
	case 3:
		out[0] = sextets[s[0]]<<2 | sextets[s[1]]>>4
		out[1] = sextets[s[1]]<<4 | sextets[s[2]]>>2
		unused = sextets[s[2]] << 6
	}
	if unused != 0 {
		return nil, refuse(ReasonForm, "has a segment whose last character is not the one of its bytes")
	}
	return dst, nil
}
