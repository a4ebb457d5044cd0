package events

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestScopes(t *testing.T) {
	for text, want := range map[string][]string{
		"":                      nil,
		"a":                     {"a"},
		"b a":                   {"a", "b"},
		"a a":                   {"a"},
		"b a b a":               {"a", "b"},
		"billing:read":          {"billing:read"},
		"! # [ ] ~":             {"!", "#", "[", "]", "~"},
		"https://a/b?c=d&e=(f)": {"https://a/b?c=d&e=(f)"},
	} {
		s, err := ParseScope(text)
		if err != nil || !slices.Equal(s.Values(), want) {
			t.Errorf("%q: %q, %v", text, s.Values(), err)
		}
		if s.String() != strings.Join(want, " ") || s.IsEmpty() != (len(want) == 0) {
			t.Errorf("%q is written as %q, empty: %v", text, s, s.IsEmpty())
		}
		for _, v := range want {
			if !s.Has(v) || s.Has(v+"x") || s.Has(strings.ToUpper(v)+"?") {
				t.Errorf("%q: what it has is wrong", text)
			}
		}
	}
	for _, text := range []string{" ", " a", "a ", "a  b", "a\tb", "a\nb", `a"b`, `a\b`, "ä", "a\x7f", "a\x00", strings.Repeat("x", MaxScope+1)} {
		if s, err := ParseScope(text); err == nil || !s.IsEmpty() {
			t.Errorf("%.20q is the scope %q", text, s)
		}
	}
}

// The set operations against those of a map, on scopes by chance.
func TestScopesAreSets(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	random := func() (Scope, map[string]bool) {
		in := map[string]bool{}
		var values []string
		for range rnd.IntN(6) {
			v := string(rune('a' + rnd.IntN(7)))
			in[v] = true
			values = append(values, v)
		}
		s, err := ParseScope(strings.Join(values, " "))
		if err != nil {
			t.Fatal(err)
		}
		return s, in
	}
	for range 5000 {
		a, inA := random()
		b, inB := random()
		var both []string
		contains := true
		for v := range inB {
			contains = contains && inA[v]
			if inA[v] {
				both = append(both, v)
			}
		}
		slices.Sort(both)
		if got := a.Intersect(b); !slices.Equal(got.Values(), both) {
			t.Fatalf("%q and %q have %q in common, want %q", a, b, got, both)
		}
		room := make([]string, rnd.IntN(4))
		if got, err := a.IntersectText(b.String(), room); err != nil || !slices.Equal(got.Values(), both) {
			t.Fatalf("%q and the text %q have %q in common, want %q (%v)", a, b, got, both, err)
		}
		if a.Contains(b) != contains {
			t.Fatalf("%q contains %q: %v", a, b, !contains)
		}
	}
}

func TestScopeLacks(t *testing.T) {
	for _, c := range []struct{ s, t, want string }{
		{"", "", ""}, {"a b", "", ""}, {"a b", "a", ""}, {"a b", "a b", ""}, {"a b", "b c", "c"}, {"", "a b", "a b"}, {"a", "A", "A"},
	} {
		s, _ := ParseScope(c.s)
		other, _ := ParseScope(c.t)
		if got := s.Lacks(other); got.String() != c.want || got.IsEmpty() != s.Contains(other) {
			t.Errorf("%q lacks %q of %q, want %q", c.s, got, c.t, c.want)
		}
	}
}
