package events

import (
	"errors"
	"fmt"
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
		return Scope{}, fmt.Errorf("scope has %d bytes, more than %d", len(s), MaxScope)
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

// Lacks returns the values of t that are not in s.
func (s Scope) Lacks(t Scope) Scope {
	var missing []string
	for _, v := range t.values {
		if !s.Has(v) {
			missing = append(missing, v)
		}
	}
	return Scope{missing}
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

// IntersectText returns the values of the text form that are in s, and refuses a text that is no scope. It is what a
// verifier does with a token's scope. The values are those of s, so that nothing of the text is kept: all of s, or made in room
// if they fit.
func (s Scope) IntersectText(text string, room []string) (Scope, error) {
	if text == "" {
		return Scope{}, nil
	}
	if len(text) > MaxScope {
		return Scope{}, errScope
	}
	if most := min(len(s.values), 1+strings.Count(text, " ")); most > cap(room) {
		room = make([]string, 0, most)
	}
	both := room[:0]
	for rest, more := text, true; more; {
		var v string
		v, rest, more = strings.Cut(rest, " ")
		if !isScopeValue(v) {
			return Scope{}, errScope
		}
		i, found := slices.BinarySearch(s.values, v)
		if !found {
			continue
		}
		own := s.values[i]
		if at, twice := slices.BinarySearch(both, own); !twice {
			both = slices.Insert(both, at, own)
		}
	}
	switch len(both) {
	case 0:
		return Scope{}, nil
	case len(s.values):
		return s, nil
	}
	if few := 8; cap(both) > few && len(both) <= cap(both)/2 { // of a text that repeats itself, or asks for much that there is not
		both = slices.Clone(both)
	}
	return Scope{slices.Clip(both)}, nil
}
