package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// recordType is one of the types of records, by its Parse and Encode.
type recordType struct {
	prefix string // of its golden files
	parse  func([]byte) (any, error)
	encode func(any) ([]byte, error)
}

// recordTypes are all that a bucket can hold.
var recordTypes = []recordType{
	{"issuer-", func(b []byte) (any, error) { return ParseIssuer(b) }, func(r any) ([]byte, error) { return r.(*Issuer).Encode() }},
	{"client-", func(b []byte) (any, error) { return ParseClient(b) }, func(r any) ([]byte, error) { return r.(*Client).Encode() }},
	{"revoked-token", func(b []byte) (any, error) { return ParseTokenRevocation(b) }, func(r any) ([]byte, error) { return r.(*TokenRevocation).Encode() }},
	{"revoked-key", func(b []byte) (any, error) { return parseKeyRevocation(b) }, func(r any) ([]byte, error) { return r.(*KeyRevocation).Encode() }},
	keyType("key-ed25519", "k1"), keyType("key-p256", "a/b c"), keyType("key-rsa", "2011-04-29"),
}

func keyType(prefix string, kid KeyID) recordType {
	return recordType{prefix, func(b []byte) (any, error) { return ParseKey(kid, b) }, func(r any) ([]byte, error) { return r.(*Key).Encode(kid) }}
}

// pad makes record n bytes long by an unknown member.
func pad(record []byte, n int) []byte {
	const member = `,"pad":""}`
	return []byte(strings.TrimSuffix(string(record), "}") + `,"pad":"` + strings.Repeat("x", n-len(record)+1-len(member)) + `"}`)
}

func TestAValueHasUpTo16KiB(t *testing.T) {
	for _, r := range recordTypes {
		for name, record := range goldenFiles(t, r.prefix) {
			largest := pad(record, MaxValue)
			if len(largest) != 16<<10 {
				t.Fatalf("the test made %d bytes", len(largest))
			}
			got, err := r.parse(largest)
			if err != nil {
				t.Errorf("%s of 16 KiB: %v", name, err)
				continue
			}
			if out, err := r.encode(got); err != nil || len(out) != len(largest) {
				t.Errorf("%s of 16 KiB is written with %d bytes, %v", name, len(out), err)
			}
			for _, larger := range [][]byte{pad(record, MaxValue+1), append(largest, ' '), pad(record, MaxValue+1<<20)} {
				if got, err := r.parse(larger); err == nil || !reflect.ValueOf(got).IsNil() {
					t.Errorf("%s of %d bytes is accepted", name, len(larger))
				}
			}
		}
	}
}

func TestUnknownMembersAreKept(t *testing.T) {
	const more = `"zz":[1,2.50,{"a":"\u00e4 \/"}],"X":null,"next_version":{"b":true,"a":false}`
	for _, r := range recordTypes {
		for name, record := range goldenFiles(t, r.prefix) {
			got, err := r.parse([]byte("{" + more + "," + string(record[1:])))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			out, err := r.encode(got)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, member := range []string{`"zz":[1,2.50,{"a":"\u00e4 \/"}]`, `"X":null`, `"next_version":{"b":true,"a":false}`} {
				if !strings.Contains(string(out), member) {
					t.Errorf("%s: member %s is lost in %s", name, member, out)
				}
			}
		}
	}
}

func TestNoRecordTakesWhatIsNotStrictJSON(t *testing.T) {
	for _, r := range recordTypes {
		for name, record := range goldenFiles(t, r.prefix) {
			open := string(record[:len(record)-1])
			for why, text := range map[string]string{
				"a comma at its end":      open + ",}",
				"no end":                  open,
				"something behind it":     string(record) + "x",
				"a byte order mark":       "\ufeff" + string(record),
				"a comment":               "/**/" + string(record),
				"invalid UTF-8":           open + ",\"a\":\"\xff\"}",
				"half a surrogate pair":   open + `,"a":"\ud800"}`,
				"a NUL":                   open + ",\"a\":\"\x00\"}",
				"a member twice":          open + `,"a":1,"a":1}`,
				"a member twice, escaped": open + `,"a":1,"\u0061":1}`,
				"a member twice inside":   open + `,"a":{"b":1,"b":2}}`,
				"NaN":                     open + `,"a":NaN}`,
				"depth":                   open + `,"a":` + strings.Repeat("[", 10_000/2) + strings.Repeat("]", 10_000/2) + "}",
				"65 members":              open + manyMembers(65) + "}",
			} {
				if _, err := r.parse([]byte(text)); err == nil {
					t.Errorf("%s with %s is accepted", name, why)
				}
			}
		}
	}
}

func manyMembers(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `,"m%d":%d`, i, i)
	}
	return out.String()
}

// What is read must not share memory with what it was read from: a feed uses its buffers again.
func TestARecordKeepsNothingOfItsText(t *testing.T) {
	for _, r := range recordTypes {
		for name, record := range goldenFiles(t, r.prefix) {
			data := slices.Clone(record)
			got, err := r.parse(data)
			if err != nil {
				t.Fatal(err)
			}
			clear(data)
			if out, err := r.encode(got); err != nil || string(out) != string(record) {
				t.Errorf("%s becomes %s (%v) when its text is overwritten", name, out, err)
			}
		}
	}
}

// What was accepted is not longer when it is written again: it must still be accepted then, by a bucket or from a snapshot.
func TestAStringIsWrittenInItsShortestForm(t *testing.T) {
	for s, want := range map[string]string{
		"":                                   `""`,
		"a/b <c> & 'd' é 😀":                  `"a/b <c> & 'd' é 😀"`,
		`"\`:                                 `"\"\\"`,
		"\b\f\n\r\t":                         `"\b\f\n\r\t"`,
		"\x00\v\x0e\x1f":                     `"\u0000\u000b\u000e\u001f"`,
		"\x01\u2028\u2029\u007f\u0085\ufffd": "\"\\u0001\u2028\u2029\u007f\u0085\ufffd\"",
	} {
		if got := string(appendString(nil, s)); got != want {
			t.Errorf("%q is written as %s, want %s", s, got, want)
		}
	}
	for c := range rune(0x2100) {
		var back string
		if text := appendString(nil, string(c)); json.Unmarshal(text, &back) != nil || back != string(c) {
			t.Errorf("%q is written as %s", c, text)
		}
	}
}
