package events

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Extra holds the members of a record that this version does not know, as JSON texts, so that rewriting a
// newer version's record loses nothing.
type Extra map[string]json.RawMessage

// members reads a record's members one by one and remembers the first error.
type members struct {
	obj   strictjson.Object
	extra Extra
}

// parse reads data and calls known for every member; known reports false for a name that it does not know.
func (m *members) parse(data []byte, known func(name string, value []byte) (bool, error)) error {
	if len(data) > MaxValue {
		return fmt.Errorf("record has %d bytes, more than %d", len(data), MaxValue)
	}
	if err := m.obj.Parse(data); err != nil {
		return err
	}
	for i := range m.obj.Len() {
		name, value := string(m.obj.Name(i)), m.obj.Value(i)
		ok, err := known(name, value)
		if err != nil {
			return fmt.Errorf("member %s: %w", quote(name), err)
		}
		if !ok {
			if m.extra == nil {
				m.extra = Extra{}
			}
			m.extra[name] = slices.Clone(value)
		}
	}
	return nil
}

// builder writes a record's members in the order of the calls; empty ones are left out.
type builder struct{ buf []byte }

func (b *builder) raw(name string, value []byte) {
	if len(b.buf) > 0 {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(appendString(b.buf, name), ':')
	b.buf = append(b.buf, value...)
}

func (b *builder) str(name, value string) {
	if value != "" {
		b.raw(name, appendString(nil, value))
	}
}

func (b *builder) int(name string, value int64) {
	if value != 0 {
		b.raw(name, fmt.Appendf(nil, "%d", value))
	}
}

func (b *builder) bool(name string, value bool) {
	if value {
		b.raw(name, []byte("true"))
	}
}

func (b *builder) strs(name string, values []string) {
	if len(values) == 0 {
		return
	}
	list := []byte{'['}
	for i, v := range values {
		if i > 0 {
			list = append(list, ',')
		}
		list = appendString(list, v)
	}
	b.raw(name, append(list, ']'))
}

func (b *builder) extra(extra Extra) {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		b.raw(name, extra[name])
	}
}

// object returns the record, unless it became too large.
func (b *builder) object() ([]byte, error) {
	out := append(append([]byte{'{'}, b.buf...), '}')
	if len(out) > MaxValue {
		return nil, fmt.Errorf("record has %d bytes, more than %d", len(out), MaxValue)
	}
	return out, nil
}

// appendString appends s as a JSON string, with <, > and & as they are: scopes and URIs stay readable.
func appendString(dst []byte, s string) []byte {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string and a Builder do not fail
	return append(dst, strings.TrimSuffix(out.String(), "\n")...)
}

// timestamp reads a NumericDate in whole seconds (RFC 7519 §2).
func timestamp(value []byte) (int64, error) {
	t, err := strictjson.Int(value)
	if err == nil && t < 0 {
		err = errors.New("negative time")
	}
	return t, err
}

// decodeBase64 decodes unpadded base64url and refuses what the decoder of the standard library is lenient about:
// bits after the end, and line breaks.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// checkURIs checks a list of audiences or resources.
func checkURIs(what string, list []string) error {
	if len(list) > MaxAudiences {
		return fmt.Errorf("%s has %d entries, more than %d", what, len(list), MaxAudiences)
	}
	for i, s := range list {
		if s == "" || len(s) > MaxURI || hasControl(s) {
			return fmt.Errorf("%s has an entry that is not text of 1 to %d bytes without control characters", what, MaxURI)
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("%s has %s twice", what, quote(s))
		}
	}
	return nil
}

// CheckIssuerURL checks an issuer identifier (RFC 8414 §2): an https URL without query, fragment or user. Plain
// http is for loopback addresses only.
func CheckIssuerURL(what, s string) error { return checkURL(what, s, false) }

func checkURL(what, s string, query bool) error {
	if len(s) > MaxURI || hasControl(s) {
		return fmt.Errorf("%s is not text of at most %d bytes without control characters", what, MaxURI)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return fmt.Errorf("%s %s is not a URL", what, quote(s))
	}
	if !query && (u.RawQuery != "" || u.ForceQuery) || u.Fragment != "" || strings.HasSuffix(s, "#") || u.User != nil {
		return fmt.Errorf("%s %s has a query, fragment or user", what, quote(s))
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s %s: http is for loopback addresses only, use https", what, quote(s))
	}
	return fmt.Errorf("%s %s is not an https URL", what, quote(s))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
