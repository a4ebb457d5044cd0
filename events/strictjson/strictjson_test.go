package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

// accepted are documents that every strict reader of RFC 8259 takes.
var accepted = map[string]string{
	"an empty object":                            `{}`,
	"white space everywhere":                     " \t\r\n{ \t\"a\"\n:\r1 , \"b\" : [ ] } \n",
	"every type":                                 `{"s":"x","n":1,"t":true,"f":false,"z":null,"a":[1,"x",null],"o":{"p":{}}}`,
	"every escape sequence":                      `{"s":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\uDE00"}`,
	"an escaped zero byte":                       `{"s":"\u0000"}`,
	"text beyond ASCII":                          `{"schlüssel":"ключ 鍵 🔑"}`,
	"the replacement character":                  "{\"s\":\"\ufffd\"}",
	"DEL and noncharacters":                      "{\"s\":\"\x7f\ufffe\U0010ffff\"}",
	"numbers of every form":                      `{"n":[0,-0,1,-1,10,0.5,-0.5,1e1,1E1,1e+1,1e-1,1.5e10,0e0,123456789012345678901234567890,1e307,-9E+307,1e-400,0.1e307]}`,
	"an empty name":                              `{"":1}`,
	"a name in escape sequences":                 `{"\u0061":1,"b":2}`,
	"names that differ in case":                  `{"a":1,"A":2}`,
	"names that differ in nothing visible":       "{\"e\u0301\":1,\"\u00e9\":2}",
	"one name in two objects":                    `{"a":{"a":1},"b":{"a":1}}`,
	"one name in a list of objects":              `{"a":[{"x":1},{"x":1}]}`,
	"a name that is a prefix":                    `{"ab":1,"a":2,"abc":3}`,
	"names that differ in length and look alike": `{"\u0061":1,"\u0061\u0061":2}`,
	"a backslash, and its letter":                `{"\\u0061":1,"a":2}`,
}

// refused are documents with the reason, and the byte at which it is noticed.
var refused = map[string]struct {
	document, reason string
	offset           int
}{
	"nothing":                             {``, "not an object", 0},
	"white space":                         {`  `, "not an object", 2},
	"a byte order mark":                   {"\ufeff{}", "not an object", 0},
	"an array":                            {`[]`, "not an object", 0},
	"a string":                            {`"x"`, "not an object", 0},
	"null":                                {`null`, "not an object", 0},
	"an open object":                      {`{`, "expected a member name", 1},
	"a closing bracket of the other kind": {`{]`, "expected a member name", 1},
	"two objects":                         {`{}{}`, "data after the end", 2},
	"a zero byte at the end":              {"{}\x00", "data after the end", 2},
	"a form feed as white space":          {"{}\f", "data after the end", 2},
	"a vertical tab as white space":       {"{\v}", "expected a member name", 1},
	"a no-break space as white space":     {"{\u00a0}", "expected a member name", 1},
	"a comma at the end of an object":     {`{"a":1,}`, "expected a member name", 7},
	"a comma at the end of an array":      {`{"a":[1,]}`, "unexpected character", 8},
	"a comma alone in an object":          {`{,}`, "expected a member name", 1},
	"a comma alone in an array":           {`{"a":[,]}`, "unexpected character", 6},
	"no comma between members":            {`{"a":1 "b":2}`, "expected a comma or the object's end", 7},
	"no comma between elements":           {`{"a":[1 2]}`, "expected a comma or the array's end", 8},
	"no colon":                            {`{"a" 1}`, "expected a colon", 5},
	"no value":                            {`{"a":}`, "unexpected character", 5},
	"nothing after the colon":             {`{"a":`, "unexpected end", 5},
	"a name that is no string":            {`{a:1}`, "expected a member name", 1},
	"a name in single quotes":             {`{'a':1}`, "expected a member name", 1},
	"a comment":                           {`{/**/"a":1}`, "expected a member name", 1},
	"a true that is not one":              {`{"a":tru}`, "unexpected character", 5},
	"a true and more":                     {`{"a":truex}`, "expected a comma or the object's end", 9},
	"True":                                {`{"a":True}`, "unexpected character", 5},
	"NaN":                                 {`{"a":NaN}`, "unexpected character", 5},
	"undefined":                           {`{"a":undefined}`, "unexpected character", 5},
	"a null that ends early":              {`{"a":nul`, "unexpected character", 5},
	"an array that ends early":            {`{"a":[`, "unexpected end", 6},
	"an array closed by a brace":          {`{"a":[}`, "unexpected character", 6},

	"a leading zero":          {`{"a":01}`, "invalid number", 5},
	"a negative leading zero": {`{"a":-01}`, "invalid number", 5},
	"a plus sign":             {`{"a":+1}`, "unexpected character", 5},
	"a minus sign alone":      {`{"a":-}`, "invalid number", 5},
	"a point at the start":    {`{"a":.5}`, "unexpected character", 5},
	"a point at the end":      {`{"a":1.}`, "invalid number", 5},
	"a point, then an e":      {`{"a":1.e1}`, "invalid number", 5},
	"an e without digits":     {`{"a":1e}`, "invalid number", 5},
	"an e with a sign only":   {`{"a":1e+}`, "invalid number", 5},
	"a number beyond a float": {`{"a":1e400}`, "invalid number", 5},
	"a negative one":          {`{"a":-1E+400}`, "invalid number", 5},
	"one with a fraction":     {`{"a":1.5e308}`, "invalid number", 5},
	"zero times infinity":     {`{"a":0e400}`, "invalid number", 5},
	"an endless exponent":     {`{"a":1e99999999999999999999}`, "invalid number", 5},
	"hexadecimal":             {`{"a":0x1}`, "expected a comma or the object's end", 6},
	"an underscore":           {`{"a":1_0}`, "expected a comma or the object's end", 6},
	"a number that ends":      {`{"a":-`, "invalid number", 5},

	"an open string":              {`{"a":"x`, "unexpected end", 7},
	"an open name":                {`{"a`, "unexpected end", 3},
	"a backslash at the end":      {`{"a":"\`, "unexpected end", 6},
	"an escaped quote at the end": {`{"a":"\"`, "unexpected end", 8},
	"an unknown escape sequence":  {`{"a":"\x41"}`, "unknown escape sequence", 6},
	"an escaped single quote":     {`{"a":"\'"}`, "unknown escape sequence", 6},
	"an upper-case U":             {`{"a":"\U0041"}`, "unknown escape sequence", 6},
	"three hexadecimal digits":    {`{"a":"\u004"}`, "invalid escape sequence", 6},
	"a sign among the digits":     {`{"a":"\u+041"}`, "invalid escape sequence", 6},
	"digits that end early":       {`{"a":"\u00`, "invalid escape sequence", 6},
	"a line break in a string":    {"{\"a\":\"\n\"}", "control character in a string", 6},
	"a tab in a string":           {"{\"a\":\"x\t\"}", "control character in a string", 7},
	"a zero byte in a string":     {"{\"a\":\"\x00\"}", "control character in a string", 6},
	"a zero byte in a name":       {"{\"\x00\":1}", "control character in a string", 2},

	"half a pair":               {`{"a":"\ud800"}`, "unpaired surrogate", 6},
	"the other half of a pair":  {`{"a":"\udc00"}`, "unpaired surrogate", 6},
	"a pair in the wrong order": {`{"a":"\ude00\ud83d"}`, "unpaired surrogate", 6},
	"two first halves":          {`{"a":"\ud83d\ud83d"}`, "unpaired surrogate", 6},
	"half a pair and a letter":  {`{"a":"\ud83dx"}`, "unpaired surrogate", 6},
	"half a pair and an escape": {`{"a":"\ud83d\n"}`, "unpaired surrogate", 6},
	"half a pair and the end":   {`{"a":"\ud83d`, "unpaired surrogate", 6},
	"half a pair in a name":     {`{"\udfff":1}`, "unpaired surrogate", 2},
	"a byte that is not UTF-8":  {"{\"a\":\"\xff\"}", "invalid UTF-8", 6},
	"UTF-8 that ends early":     {"{\"a\":\"\xe2\x82\"}", "invalid UTF-8", 6},
	"overlong UTF-8":            {"{\"a\":\"\xc0\x80\"}", "invalid UTF-8", 6},
	"a surrogate in UTF-8":      {"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8", 6},
	"UTF-8 beyond Unicode":      {"{\"a\":\"\xf4\x90\x80\x80\"}", "invalid UTF-8", 6},
	"invalid UTF-8 in a name":   {"{\"\x80\":1}", "invalid UTF-8", 2},
	"invalid UTF-8 at the end":  {"{}\x80", "invalid UTF-8", 2},
	"invalid UTF-8 after ü":     {"{\"ü\":\"\xff\"}", "invalid UTF-8", 7},
	"UTF-16":                    {"\xff\xfe{\x00}\x00", "invalid UTF-8", 0},
	"Latin-1":                   {"{\"a\":\"caf\xe9\"}", "invalid UTF-8", 9},

	"two names":                               {`{"a":1,"a":2}`, "duplicate member name", 7},
	"two names far apart":                     {`{"a":1,"b":{},"c":[{"a":1}],"a":2}`, "duplicate member name", 28},
	"two empty names":                         {`{"":1,"":2}`, "duplicate member name", 6},
	"two names, one in escape sequences":      {`{"a":1,"\u0061":2}`, "duplicate member name", 7},
	"two names, both in escape sequences":     {`{"\u006A\u0061":1,"\u006a\u0061":2}`, "duplicate member name", 18},
	"two names with and without a pair":       {`{"😀":1,"\ud83d\ude00":2}`, "duplicate member name", 10},
	"two names with a slash":                  {`{"a/b":1,"a\/b":2}`, "duplicate member name", 9},
	"two names with a line break":             {`{"a\nb":1,"a\u000ab":2}`, "duplicate member name", 10},
	"two names in an object below":            {`{"a":{"b":{"c":1,"c":2}}}`, "duplicate member name", 17},
	"two names in a list":                     {`{"a":[1,{"b":1,"b":2}]}`, "duplicate member name", 15},
	"two names after an object with many":     {`{"x":{"p":1,"q":2,"r":3},"y":1,"x":2}`, "duplicate member name", 31},
	"two names of which the first is in JSON": {`{"a":"{\"b\":1}","a":1}`, "duplicate member name", 17},
}

func TestObjectsThatAreAccepted(t *testing.T) {
	for name, document := range accepted {
		t.Run(name, func(t *testing.T) {
			var obj strictjson.Object
			if err := obj.Parse([]byte(document)); err != nil {
				t.Fatal(err)
			}
			if err := strictjson.Check([]byte(document)); err != nil {
				t.Errorf("Check refuses it: %v", err)
			}
			if !json.Valid([]byte(document)) {
				t.Error("encoding/json refuses it")
			}
		})
	}
}

func TestObjectsThatAreRefused(t *testing.T) {
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			var obj strictjson.Object
			err := obj.Parse([]byte(test.document))
			var e *strictjson.SyntaxError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want a *SyntaxError", err)
			}
			if e.Reason != test.reason || e.Offset != test.offset {
				t.Errorf("refused for %q at byte %d, want %q at byte %d", e.Reason, e.Offset, test.reason, test.offset)
			}
			if obj.Len() != 0 || obj.Get("a") != nil {
				t.Errorf("it still has %d members", obj.Len())
			}
			if test.reason != "not an object" {
				if err := strictjson.Check([]byte(test.document)); err == nil {
					t.Error("Check accepts it")
				}
			}
		})
	}
}

// Every document that is cut short is refused, and every one with a byte too many.
func TestDocumentsAreWhole(t *testing.T) {
	for name, document := range accepted {
		document = strings.TrimRight(document, " \n")
		for n := range len(document) {
			var obj strictjson.Object
			if err := obj.Parse([]byte(document[:n])); err == nil {
				t.Errorf("%s: the first %d bytes are accepted", name, n)
			}
		}
		for c := range 256 {
			var obj strictjson.Object
			err := obj.Parse(append([]byte(document), byte(c)))
			if space := strings.ContainsRune(" \t\r\n", rune(c)); space != (err == nil) {
				t.Errorf("%s and a byte %#x: %v", name, c, err)
			}
		}
	}
}

func TestControlCharactersAreRefusedInStrings(t *testing.T) {
	for c := range 256 {
		document := []byte(`{"name":"value"}`)
		for _, at := range []int{2, 5, 9, 13} {
			changed := append([]byte(nil), document...)
			changed[at] = byte(c)
			var obj strictjson.Object
			if err := obj.Parse(changed); (err == nil) != (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
				t.Errorf("byte %#x at %d: %v", c, at, err)
			}
		}
	}
}

func TestValuesOfAnyKindAreChecked(t *testing.T) {
	for _, document := range []string{`null`, `true`, ` 1 `, `"x"`, `[]`, `[[]]`, `[1,2]`, `{}`, `-0.0e-0`} {
		if err := strictjson.Check([]byte(document)); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	}
	for _, document := range []string{``, ` `, `1 2`, `[1]]`, `[{"a":1,"a":1}]`, "\"\xff\"", `"x`, `]`, `nul`} {
		if err := strictjson.Check([]byte(document)); err == nil {
			t.Errorf("%s is accepted", document)
		}
	}
}

func TestMembersComeInTheOrderOfTheDocument(t *testing.T) {
	var obj strictjson.Object
	if err := obj.Parse([]byte(` { "b" : [1, 2] , "\u0061" : "x" ,"":{"c" : 1},"\"\\":-1e3 } `)); err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"b", "[1, 2]"}, {"a", `"x"`}, {"", `{"c" : 1}`}, {`"\`, "-1e3"}}
	if obj.Len() != len(want) {
		t.Fatalf("%d members, want %d", obj.Len(), len(want))
	}
	for i, w := range want {
		if string(obj.Name(i)) != w[0] || string(obj.Value(i)) != w[1] {
			t.Errorf("member %d is %q: %s, want %q: %s", i, obj.Name(i), obj.Value(i), w[0], w[1])
		}
		if got := obj.Get(w[0]); string(got) != w[1] {
			t.Errorf("Get(%q) is %s, want %s", w[0], got, w[1])
		}
	}
	for _, name := range []string{"B", "c", `\u0061`, "aa", "\"", `"\x`, "\xff"} {
		if got := obj.Get(name); got != nil {
			t.Errorf("Get(%q) is %s, want nil", name, got)
		}
	}
}

func TestANameThatIsNotUTF8IsNotTheReplacementCharacter(t *testing.T) {
	var obj strictjson.Object
	if err := obj.Parse([]byte(`{"\ufffd":1}`)); err != nil {
		t.Fatal(err)
	}
	if obj.Get("\xff") != nil || obj.Get("\ufffd") == nil {
		t.Error("Get took one for the other")
	}
}

func TestAnObjectCanBeUsedAgain(t *testing.T) {
	var obj strictjson.Object
	for _, document := range []string{`{"a":1,"b":2}`, `{"\u0063":3}`, `{"d":4}`, `{`, `{"e":5}`} {
		err := obj.Parse([]byte(document))
		if (err == nil) != (document != `{`) {
			t.Fatalf("%s: %v", document, err)
		}
		if obj.Get("a") != nil && document != `{"a":1,"b":2}` {
			t.Errorf("%s has a member of the document before", document)
		}
	}
	if obj.Len() != 1 || string(obj.Name(0)) != "e" || string(obj.Value(0)) != "5" {
		t.Errorf("the last document has %d members, the first is %q", obj.Len(), obj.Name(0))
	}
}

func TestErrorsDoNotQuoteTheDocument(t *testing.T) {
	var obj strictjson.Object
	err := obj.Parse([]byte(`{"topsecret":1,"topsecret":2}`))
	if want := "json: duplicate member name at byte 15"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
