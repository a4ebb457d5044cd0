package events

import (
	"errors"
	"slices"
	"strings"
)

// Scope is a set of scope values (RFC 6749 §3.3). The zero value has none. It does not change.
type Scope struct{ values []string }

var errScope = errors.New(`scope is not a list of values separated by single spaces, of printable ASCII but " and \ (RFC 6749 §3.3)`)

// ParseScope reads the text form: values separated by single spaces. Repeated values count once.
func ParseScope(s string) (Scope, error) {
	if s == "" {
		return Scope{}, nil
	}
	if len(s) > MaxScope {
		return Scope{}, errors.New("scope is longer than 4096 bytes")
	}
	values := strings.Split(s, " ")
	for _, v := range values {
		if !isScopeValue(v) {
			return Scope{}, errScope
		}
	}
	slices.Sort(values)
	return Scope{slices.Clip(slices.Compact(values))}, nil
}

// isScopeValue checks the scope-token of RFC 6749 §3.3: %x21 / %x23-5B / %x5D-7E.
func isScopeValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return v != ""
}

// String is the text form, values in order.
func (s Scope) String() string { return strings.Join(s.values, " ") }

// Values returns the values in order. The slice must not be changed.
func (s Scope) Values() []string { return s.values }

// IsEmpty reports whether there is no value.
func (s Scope) IsEmpty() bool { return len(s.values) == 0 }

// Has reports whether value is in the scope.
func (s Scope) Has(value string) bool {
	_, ok := slices.BinarySearch(s.values, value)
	return ok
}

// Contains reports whether every value of t is in s.
func (s Scope) Contains(t Scope) bool {
	for _, v := range t.values {
		if !s.Has(v) {
			return false
		}
	}
	return true
}

// Intersect returns the values that are in both. When that is all of one of them, nothing is allocated.
func (s Scope) Intersect(t Scope) Scope {
	if t.Contains(s) {
		return s
	}
	if s.Contains(t) {
		return t
	}
	var both []string
	for _, v := range t.values {
		if s.Has(v) {
			both = append(both, v)
		}
	}
	return Scope{both}
}
