package strictjson_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events/strictjson"
)

func fuzzSeeds() (seeds []string) {
	for _, document := range accepted {
		seeds = append(seeds, document)
	}
	for _, test := range refused {
		seeds = append(seeds, test.document)
	}
	return append(seeds, values(1024), values(1025), object("m", 64), object("m", 65), `{"a":`+strings.Repeat("[", 8), strings.Repeat(`{"a":`, 7)+`{}`+strings.Repeat("}", 7),
		`{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true,"max_token_ttl":3600}`,
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","revoked":{"revoked_at":1790000000,"reason":"leaked"}}`)
}

func TestTheFuzzerHasItsSeeds(t *testing.T) {
	if n := len(fuzzSeeds()); n < 100 {
		t.Errorf("%d seeds", n)
	}
}

// FuzzObject compares with encoding/json, which is lenient: what is accepted here must be valid there and have the same members
// with the same values, and what is refused here must be invalid there or break one of the rules that it does not know.
func FuzzObject(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		original := bytes.Clone(data)
		var obj strictjson.Object
		err := obj.Parse(data)
		if !bytes.Equal(data, original) {
			t.Fatal("Parse changed the document")
		}
		var index strictjson.Index
		if indexErr := index.Parse(data); (indexErr == nil) != (err == nil) || index.Len() != obj.Len() {
			t.Fatalf("%q: Object %v, Index %v", data, err, indexErr)
		}
		if checkErr := strictjson.Check(data); err == nil && checkErr != nil {
			t.Fatalf("%q: Parse accepts it, Check: %v", data, checkErr)
		}
		broken := brokenRule(data)
		if err != nil {
			if broken == "" {
				t.Fatalf("%q was refused: %v", data, err)
			}
			return
		}
		if broken != "" {
			t.Fatalf("%q was accepted, in spite of %s", data, broken)
		}
		compareMembers(t, &obj, data)
	})
}

func compareMembers(t *testing.T, obj *strictjson.Object, data []byte) {
	t.Helper()
	var want map[string]json.RawMessage
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("%q: encoding/json: %v", data, err)
	}
	if len(want) != obj.Len() {
		t.Fatalf("%q has %d members, encoding/json has %d", data, obj.Len(), len(want))
	}
	for i := range obj.Len() {
		name, value := string(obj.Name(i)), obj.Value(i)
		raw, ok := want[name]
		if !ok || !bytes.Equal(raw, value) || !bytes.Equal(obj.Get(name), value) {
			t.Fatalf("%q: member %q is %s, encoding/json: %s", data, name, value, raw)
		}
		compareValue(t, value)
	}
}

// compareValue reads value as each type, and compares with what encoding/json makes of it.
func compareValue(t *testing.T, value []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatalf("%q: encoding/json: %v", value, err)
	}
	s, err := strictjson.String(value)
	if wantString, ok := want.(string); ok != (err == nil) || s != wantString || ok && !strictjson.Is(value, s) {
		t.Fatalf("%q as a string: %q, %v", value, s, err)
	}
	b, err := strictjson.Bool(value)
	if wantBool, ok := want.(bool); ok != (err == nil) || b != wantBool {
		t.Fatalf("%q as a truth value: %v, %v", value, b, err)
	}
	n, err := strictjson.Int(value)
	if number, ok := want.(json.Number); err == nil {
		if wantInt, convErr := number.Int64(); !ok || convErr != nil || n != wantInt || max(n, -n) > strictjson.MaxInt {
			t.Fatalf("%q as an integer: %d", value, n)
		}
	}
	var elements []any
	err = strictjson.Elements(value, len(value), func(element []byte) error {
		d := json.NewDecoder(bytes.NewReader(element))
		d.UseNumber()
		var e any
		if err := d.Decode(&e); err != nil {
			t.Fatalf("element %q of %q: %v", element, value, err)
		}
		elements = append(elements, e)
		return nil
	})
	if wantArray, ok := want.([]any); ok != (err == nil) || len(wantArray) != len(elements) || len(elements) > 0 && !reflect.DeepEqual(wantArray, elements) {
		t.Fatalf("%q as an array: %v, %v", value, elements, err)
	}
}

// brokenRule names the rule that data breaks, found by other means than the parser's; "" if there is none.
func brokenRule(data []byte) string {
	switch {
	case len(data) > strictjson.MaxSize:
		return "its size"
	case !utf8.Valid(data):
		return "UTF-8"
	case !json.Valid(data):
		return "its syntax"
	case !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")):
		return "not being an object"
	case hasLoneSurrogate(data):
		return "an unpaired surrogate"
	}
	return brokenStructure(data)
}

// hasLoneSurrogate looks at the escape sequences of valid JSON, which has backslashes only there.
func hasLoneSurrogate(data []byte) bool {
	unit := func(i int) rune { // the UTF-16 code unit at i, or -1
		if i+6 > len(data) || data[i] != '\\' || data[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(n)
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if r := unit(i); utf16.IsSurrogate(r) {
			if utf16.DecodeRune(r, unit(i+6)) == utf8.RuneError {
				return true
			}
			i += 6
		}
		i++ // what is escaped: it may be a backslash
	}
	return false
}

// brokenStructure walks over valid JSON and counts.
func brokenStructure(data []byte) string {
	const maxOpen = 128
	type level struct {
		names    map[string]bool // nil in an array
		wantName bool
	}
	var levels []level
	open, values := 0, 0
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err == io.EOF {
			return ""
		}
		if err != nil {
			return err.Error()
		}
		delim, isDelim := token.(json.Delim)
		if number, ok := token.(json.Number); ok && !isFinite(string(number)) {
			return "a number that is too large"
		}
		if isDelim && (delim == '}' || delim == ']') {
			open -= len(levels[len(levels)-1].names)
			levels = levels[:len(levels)-1]
			continue
		}
		if len(levels) > 0 {
			top := &levels[len(levels)-1]
			if top.names == nil || top.wantName { // an element, or a member
				if values++; values > strictjson.MaxValues {
					return "too many values"
				}
			}
			if top.names != nil {
				if top.wantName {
					name := token.(string)
					if top.names[name] {
						return "a duplicate name"
					}
					top.names[name] = true
					open++
					if len(top.names) > strictjson.MaxMembers || open > maxOpen {
						return "too many members"
					}
				}
				top.wantName = !top.wantName
				if !top.wantName {
					continue
				}
			}
		}
		if isDelim {
			next := level{}
			if delim == '{' {
				next = level{names: map[string]bool{}, wantName: true}
			}
			if levels = append(levels, next); len(levels) > strictjson.MaxDepth {
				return "its depth"
			}
		}
	}
}

// isFinite reports whether number, as it is written, has at most 308 digits before its point.
func isFinite(number string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(number, "-")), "e")
	whole, _, _ := strings.Cut(mantissa, ".")
	if len(whole) > 308 {
		return false
	}
	if exponent == "" || exponent[0] == '-' {
		return true
	}
	e, err := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	return err == nil && len(whole)+e <= 308
}
