package strictjson

import "testing"

// Names are compared in full only when their hashes are equal, which nobody can arrange: so here it is done directly.
func TestNamesAreComparedByWhatTheyStandFor(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"a", "a", true},
		{"a", "b", false},
		{"a", "ab", false},
		{"ab", "a", false},
		{`\u0061`, "a", true},
		{`\u0061`, `\u0061`, true},
		{`\u0061`, "ab", false},
		{`\u0061b`, "a", false},
		{`\u0061`, "", false},
		{"", `\u0061`, false},
		{`\ud83d\ude00`, "😀", true},
		{`\ud83d\ude00`, "😁", false},
		{`\/`, "/", true},
		{`\\`, "\\u005c", true},
		{`\n`, `\u000A`, true},
		{`\ufffd`, "\ufffd", true},
	} {
		data := []byte(test.a + test.b)
		hasEscape := func(s string) bool { return s != "" && s[0] == '\\' }
		a := newMemberName(data, span{0, uint16(len(test.a))}, hasEscape(test.a))
		b := newMemberName(data, span{uint16(len(test.a)), uint16(len(data))}, hasEscape(test.b))
		if got := a.same(b, data); got != test.want {
			t.Errorf("%s is the same as %s: %v", test.a, test.b, got)
		}
		if got := b.same(a, data); got != test.want {
			t.Errorf("%s is the same as %s: %v", test.b, test.a, got)
		}
		if test.want && a.hash != b.hash {
			t.Errorf("%s and %s have different hashes", test.a, test.b)
		}
	}
}
