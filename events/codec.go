package events

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Extra holds the members of a record that this version does not know, as JSON texts, so that rewriting a
// newer version's record loses nothing.
type Extra map[string]json.RawMessage

// members reads a record, one member after the other. Those that are not known end up in extra.
type members struct {
	obj   strictjson.Object
	extra Extra
}

// open checks data as a whole.
func (m *members) open(data []byte) error {
	if len(data) > MaxValue {
		return fmt.Errorf("record has %d bytes, more than %d", len(data), MaxValue)
	}
	return m.obj.Parse(data)
}

// parse opens data and visits every member.
func (m *members) parse(data []byte, known func(name, value []byte) (bool, error)) error {
	if err := m.open(data); err != nil {
		return err
	}
	return m.each(known)
}

// each calls known for every member, until an error; known reports false for a name that it does not know.
func (m *members) each(known func(name, value []byte) (bool, error)) error {
	for i := range m.obj.Len() {
		name, value := m.obj.Name(i), m.obj.Value(i)
		ok, err := known(name, value)
		if err != nil {
			return fmt.Errorf("member %s: %w", quote(string(name)), err)
		}
		if !ok {
			if m.extra == nil {
				m.extra = Extra{}
			}
			m.extra[string(name)] = slices.Clone(value)
		}
	}
	return nil
}

// builder writes a record's members in the order of the calls; empty ones are left out.
type builder struct{ buf []byte }

func (b *builder) name(name string) {
	if len(b.buf) > 0 {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(appendString(b.buf, name), ':')
}

func (b *builder) raw(name string, value []byte) {
	b.name(name)
	b.buf = append(b.buf, value...)
}

func (b *builder) str(name, value string) {
	if value != "" {
		b.name(name)
		b.buf = appendString(b.buf, value)
	}
}

func (b *builder) int(name string, value int64) {
	if value != 0 {
		b.name(name)
		b.buf = strconv.AppendInt(b.buf, value, 10)
	}
}

func (b *builder) bool(name string, value bool) {
	if value {
		b.raw(name, []byte("true"))
	}
}

func (b *builder) strs(name string, values []string) {
	for i, v := range values {
		if i == 0 {
			b.name(name)
			b.buf = append(b.buf, '[')
		} else {
			b.buf = append(b.buf, ',')
		}
		b.buf = appendString(b.buf, v)
	}
	if len(values) > 0 {
		b.buf = append(b.buf, ']')
	}
}

func (b *builder) extra(extra Extra) {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		b.raw(name, extra[name])
	}
}

// object returns the record. Every Encode reads it back before it hands it out, so that nothing is written that a
// reader would refuse, or would read as something else; see sameExtra.
func (b *builder) object() []byte {
	out := make([]byte, 0, len(b.buf)+2)
	return append(append(append(out, '{'), b.buf...), '}')
}

// sameExtra checks that the unknown members of a record that was read back are those that were written: one with the name
// of a known member would have become that member, or a private one.
func sameExtra(written, read Extra) error {
	if !maps.EqualFunc(written, read, slices.Equal[json.RawMessage]) {
		return errors.New("extra has something else than unknown members and their values")
	}
	return nil
}

// appendString appends s, which is UTF-8, as a JSON string in its shortest form: what was accepted is never longer when it is written
// again. So <, > and & are as they are, too: scopes and URIs stay readable.
func appendString(dst []byte, s string) []byte {
	const short, hex = "btn\x00fr", "0123456789abcdef" // \b, \t, \n, \f and \r are 8 to 13
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case '\b' <= c && c <= '\r' && c != '\v':
			dst = append(dst, '\\', short[c-'\b'])
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// timestamp reads a NumericDate in whole seconds (RFC 7519 §2).
func timestamp(value []byte) (int64, error) {
	t, err := strictjson.Int(value)
	if err != nil {
		return 0, err
	}
	return t, checkTimes(t)
}

// expiry reads an exp. Zero in a record would be read as no end at all, although it says 1970: it is refused.
func expiry(value []byte) (int64, error) {
	t, err := timestamp(value)
	if err == nil && t == 0 {
		err = errors.New("zero: leave it out for no end")
	}
	return t, err
}

// checkTimes checks NumericDates. Zero stands for none.
func checkTimes(times ...int64) error {
	for _, t := range times {
		if t < 0 || t > strictjson.MaxInt {
			return fmt.Errorf("time %d is not in seconds since 1970", t)
		}
	}
	return nil
}

// oneOf returns the one of the known strings that value is.
func oneOf[T ~string](value []byte, known ...T) (T, error) {
	s, err := strictjson.String(value)
	if err != nil {
		return "", err
	}
	for _, k := range known {
		if s == string(k) {
			return k, nil // and not T(s): a million records share the constant
		}
	}
	return "", fmt.Errorf("%s is not one of %q", quote(s), known)
}

// checkReason checks the reason of a revocation, which is printed in logs and lists.
func checkReason(s string) error {
	if len(s) > MaxReason || !isText(s) {
		return fmt.Errorf("reason is not text of at most %d bytes without control characters", MaxReason)
	}
	return nil
}

var base64url = base64.RawURLEncoding.Strict()

// decodeBase64 decodes unpadded base64url and refuses what the decoder of the standard library is lenient about:
// bits after the end, and line breaks, which it skips even when it is strict.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64url.DecodeString(s)
	if err == nil && base64url.EncodedLen(len(b)) != len(s) {
		err = errors.New("line break in base64url")
	}
	return b, err
}

// checkURIs checks a list of audiences or resources.
func checkURIs(what string, list []string) error {
	if len(list) > MaxAudiences {
		return fmt.Errorf("%s has %d entries, more than %d", what, len(list), MaxAudiences)
	}
	for i, s := range list {
		if s == "" || len(s) > MaxURI || !isText(s) {
			return fmt.Errorf("%s has an entry that is not text of 1 to %d bytes without control characters", what, MaxURI)
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("%s has %s twice", what, quote(s))
		}
	}
	return nil
}
