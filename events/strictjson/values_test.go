package strictjson_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

func TestString(t *testing.T) {
	for value, want := range map[string]string{
		`""`:                         "",
		`"x"`:                        "x",
		`"ü🔑"`:                       "ü🔑",
		`"\"\\\/\b\f\n\r\t"`:         "\"\\/\b\f\n\r\t",
		`"\u0041\u00e9\u20AC\u0000"`: "Aé€\x00",
		`"\ud83d\ude00"`:             "😀",
		`"\uD83D\uDE00x"`:            "😀x",
		`"\ud800\udc00\udbff\udfff"`: "\U00010000\U0010ffff",
		`"\\u0041"`:                  `\u0041`,
		`"a\\"`:                      `a\`,
		`"\ufffd"`:                   "\ufffd",
	} {
		got, err := strictjson.String([]byte(value))
		if err != nil || got != want {
			t.Errorf("%s gave %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{``, `"`, `1`, `null`, `true`, `[]`, `["x"]`, `{}`, `{"x":"y"}`} {
		if got, err := strictjson.String([]byte(value)); err == nil {
			t.Errorf("%s gave %q", value, got)
		}
	}
}

func TestIs(t *testing.T) {
	for _, test := range []struct {
		value, s string
		want     bool
	}{
		{`"EdDSA"`, "EdDSA", true},
		{`"\u0045dDSA"`, "EdDSA", true},
		{`"EdDS\u0041"`, "EdDSA", true},
		{`""`, "", true},
		{`"\ud83d\ude00"`, "😀", true},
		{`"a\/b"`, "a/b", true},
		{`"a\\b"`, `a\b`, true},
		{`"a\\b"`, `a\\b`, false},
		{`"edDSA"`, "EdDSA", false},
		{`"EdDSA "`, "EdDSA", false},
		{`"EdDSA\u0000"`, "EdDSA", false},
		{`"\u0045d"`, "EdDSA", false},
		{`"\u0045dDSAx"`, "EdDSA", false},
		{`"\ufffd"`, "\xff", false},
		{`"\u0061"`, "", false},
		{`EdDSA`, "EdDSA", false},
		{`["EdDSA"]`, "EdDSA", false},
		{`null`, "null", false},
		{`"`, "", false},
		{``, "", false},
	} {
		if got := strictjson.Is([]byte(test.value), test.s); got != test.want {
			t.Errorf("Is(%s, %q) = %v", test.value, test.s, got)
		}
	}
}

func TestInt(t *testing.T) {
	for value, want := range map[string]int64{
		"0": 0, "-0": 0, "1": 1, "-1": -1, "1650000000": 1650000000,
		"9007199254740991": strictjson.MaxInt, "-9007199254740991": -strictjson.MaxInt,
	} {
		if got, err := strictjson.Int([]byte(value)); err != nil || got != want {
			t.Errorf("%s gave %d, %v, want %d", value, got, err, want)
		}
	}
	for _, value := range []string{"", "-", "+1", "1.0", "1e3", "1E3", "0.5", "9007199254740992", "-9007199254740992", "9223372036854775807",
		"9223372036854775808", "18446744073709551617", strings.Repeat("9", 1000), "1e400", `"1"`, "null", "true", "[1]", "{}", "1 ", " 1", "0x1", "--1"} {
		if got, err := strictjson.Int([]byte(value)); err == nil {
			t.Errorf("%s gave %d", value, got)
		}
	}
}

func TestBool(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false} {
		if got, err := strictjson.Bool([]byte(value)); err != nil || got != want {
			t.Errorf("%s gave %v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "1", "0", "null", `"true"`, "True", "[true]", "{}"} {
		if got, err := strictjson.Bool([]byte(value)); err == nil {
			t.Errorf("%s gave %v", value, got)
		}
	}
}

func TestStrings(t *testing.T) {
	for value, want := range map[string][]string{
		`[]`:                        nil,
		`[ ]`:                       nil,
		`["a"]`:                     {"a"},
		`[ "a" , "b\/c" ,"\u00e9"]`: {"a", "b/c", "é"},
		`["a","b","c"]`:             {"a", "b", "c"},
	} {
		if got, err := strictjson.Strings([]byte(value), 3); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s gave %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{``, `"a"`, `null`, `{}`, `[1]`, `["a",null]`, `[["a"]]`, `["a","b","c","d"]`} {
		if got, err := strictjson.Strings([]byte(value), 3); err == nil || got != nil {
			t.Errorf("%s gave %q, %v", value, got, err)
		}
	}
}

func TestElements(t *testing.T) {
	var got []string
	err := strictjson.Elements([]byte(`[ 1,"x" , [2,[3]], {"a" : {"b":[]}} ,null]`), 5, func(element []byte) error {
		got = append(got, string(element))
		return nil
	})
	want := []string{"1", `"x"`, "[2,[3]]", `{"a" : {"b":[]}}`, "null"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}

	calls, errStop := 0, errors.New("stop")
	err = strictjson.Elements([]byte(`[1,2,3]`), 5, func([]byte) error { calls++; return errStop })
	if !errors.Is(err, errStop) || calls != 1 {
		t.Errorf("%d calls and %v after an error", calls, err)
	}
	calls = 0
	err = strictjson.Elements([]byte(`[1,2,3]`), 2, func([]byte) error { calls++; return nil })
	if err == nil || err.Error() != "more than 2 elements" || calls != 2 {
		t.Errorf("%d calls and %v over the limit", calls, err)
	}
	if err := strictjson.Elements([]byte(`[]`), 0, func([]byte) error { return errStop }); err != nil {
		t.Errorf("an empty array is over a limit of 0: %v", err)
	}
}
