// Package claims writes the claims of a token, and the answer that has it, as JSON text, its members in the order of the calls.
//
// The order is part of what SDKs of others pin byte for byte, and a text that is assembled costs less than one that
// is marshalled. It is for tokens that we make: what is written must have been validated before.
package claims

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
)

// idBytes is how much of a jti is random: 128 bits, so that nobody guesses one and no two are alike.
const idBytes = 16

// Builder collects claims. The zero value has none.
type Builder struct{ buf []byte }

// In returns a builder that writes over buf, as long as there is room.
func In(buf []byte) Builder { return Builder{buf[:0]} }

// String adds a claim that is a string.
func (b *Builder) String(name, value string) {
	b.name(name)
	b.buf = appendString(b.buf, value)
}

// Text adds a claim that is a string of which every byte stands in JSON as it is, such as a token.
func (b *Builder) Text(name string, value []byte) {
	b.name(name)
	b.buf = append(append(b.buf, '"'), value...)
	b.buf = append(b.buf, '"')
}

// Int adds a claim that is an integer.
func (b *Builder) Int(name string, value int64) {
	b.name(name)
	b.buf = strconv.AppendInt(b.buf, value, 10)
}

// Audience adds aud: a string if there is one audience, an array if there are more (RFC 7519 §4.1.3).
func (b *Builder) Audience(audience []string) {
	b.name("aud")
	if len(audience) == 1 {
		b.buf = appendString(b.buf, audience[0])
		return
	}
	b.buf = append(b.buf, '[')
	for i, a := range audience {
		if i > 0 {
			b.buf = append(b.buf, ',')
		}
		b.buf = appendString(b.buf, a)
	}
	b.buf = append(b.buf, ']')
}

// Certificate adds cnf with the thumbprint of a certificate (RFC 8705 §3.1), unless there is none.
func (b *Builder) Certificate(thumbprint string) {
	if thumbprint == "" {
		return
	}
	b.name("cnf")
	b.buf = append(b.buf, `{"x5t#S256":`...)
	b.buf = append(appendString(b.buf, thumbprint), '}')
}

// JSON ends the object and returns its text. Nothing can be added after it.
func (b *Builder) JSON() []byte {
	if len(b.buf) == 0 {
		return []byte("{}")
	}
	b.buf = append(b.buf, '}')
	return b.buf
}

func (b *Builder) name(name string) {
	separator := byte(',')
	if len(b.buf) == 0 {
		separator = '{'
	}
	b.buf = append(b.buf, separator, '"')
	b.buf = append(b.buf, name...)
	b.buf = append(b.buf, '"', ':')
}

// NewID returns a jti: 128 random bits in base64url.
func NewID() string {
	var random [idBytes]byte
	rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// appendString appends s as a JSON string, with <, > and & as they are.
func appendString(dst []byte, s string) []byte {
	if isPlain(s) {
		dst = append(append(dst, '"'), s...)
		return append(dst, '"')
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string into a Builder does not fail
	return append(dst, strings.TrimSuffix(text.String(), "\n")...)
}

// isPlain reports whether s stands in JSON as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
