package jws

import (
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Header is what a token's header says. Until the signature is verified it is only a claim, and even then it must not
// choose the algorithm: compare Algorithm with that of the key.
type Header struct {
	Algorithm Algorithm
	KeyID     string   // kid; means something only together with the issuer
	Type      string   // typ as sent, empty if there is none; compare with IsType
	Ignored   []string // which of jku, jwk, x5u and x5c are there: worth a log line, and nothing else
}

// IsType reports whether typ is the media type name, such as "at+jwt". Case does not matter, and a leading application/
// may be there or not (RFC 7515 §4.1.9).
func (h Header) IsType(name string) bool {
	const prefix = "application/"
	typ := h.Type
	if len(typ) > len(prefix) && equalASCII(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return equalASCII(typ, name)
}

// equalASCII compares without regard to case. EqualFold alone would take U+212A, the Kelvin sign, for a k.
func equalASCII(s, ascii string) bool {
	return len(s) == len(ascii) && strings.EqualFold(s, ascii)
}

// readHeader reads the decoded header. kid may be missing here: RFC 7515 does not require it, Parse does.
func readHeader(data []byte, t *texts) (h Header, err error) {
	var members strictjson.Index // not Object, because data is on the stack
	if err := members.Parse(data); err != nil {
		return Header{}, refuseFor(ReasonHeader, "header", err)
	}
	var kid, typ []byte
	for i := range members.Len() {
		value := members.Value(data, i)
		switch string(members.Name(data, i)) {
		case "alg":
			if h.Algorithm = readAlgorithm(value); h.Algorithm == "" {
				return Header{}, refuse(ReasonAlgorithm, "header alg is not an algorithm that is accepted")
			}
		case "kid":
			kid = value
		case "typ":
			typ = value
		case "crit":
			return Header{}, refuse(ReasonHeader, "header has crit: no extension is understood")
		case "b64":
			return Header{}, refuse(ReasonHeader, "header has b64: unencoded payloads are not accepted")
		case "enc":
			return Header{}, refuse(ReasonHeader, "header is one of an encrypted token")
		case "jku", "jwk", "x5u", "x5c":
			h.Ignored = append(h.Ignored, string(members.Name(data, i)))
		}
	}
	// Strings come last, so that a header that is refused has not allocated any.
	if h.Algorithm == "" {
		return Header{}, refuse(ReasonAlgorithm, "header has no alg")
	}
	if kid != nil {
		if h.KeyID, err = t.copiedIdentifier(kid); err != nil {
			return Header{}, refuseFor(ReasonKeyID, "header kid", err)
		}
		if len(h.KeyID) > MaxKeyID {
			return Header{}, refuse(ReasonKeyID, "header kid is longer than 256 bytes")
		}
	}
	if typ != nil {
		if h.Type, err = t.copiedIdentifier(typ); err != nil {
			return Header{}, refuseFor(ReasonHeader, "header typ", err)
		}
	}
	return h, nil
}

// readAlgorithm returns one of our constants, or "" for anything else: "none", too.
func readAlgorithm(value []byte) Algorithm {
	for _, a := range [...]Algorithm{EdDSA, Ed25519, ES256, RS256, PS256} {
		if strictjson.Is(value, string(a)) {
			return a
		}
	}
	return ""
}

// appendJSON appends the header as JSON, always with its members in this order.
func (h Header) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"alg":`...)
	dst = appendString(dst, string(h.Algorithm))
	dst = append(dst, `,"kid":`...)
	dst = appendString(dst, h.KeyID)
	if h.Type != "" {
		dst = append(dst, `,"typ":`...)
		dst = appendString(dst, h.Type)
	}
	return append(dst, '}')
}

// appendString appends s as a JSON string. Control characters and invalid UTF-8 are left as they are, for readHeader
// to refuse.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
