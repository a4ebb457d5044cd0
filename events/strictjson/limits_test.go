package strictjson_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

// object returns an object with n members, whose names start with prefix.
func object(prefix string, n int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"%s%d":%d`, prefix, i, i)
	}
	b.WriteByte('}')
	return b.String()
}

// values returns an object with so many members and elements in all, at many depths.
func values(n int) string {
	const unit = `{"a":1,"b":[2,{"c":3}]}` // an element that has 5 within it
	rest := n - 1                          // the member x
	return `{"x":[` + strings.Repeat(unit+",", rest/6-1) + strings.Repeat("4,", rest%6) + unit + `]}`
}

func TestLimitsAtAndOverTheEdge(t *testing.T) {
	text := func(size int) string { // a document of so many bytes
		return `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}`
	}
	arrays := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	objects := func(n int) string { return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat("}", n-1) }
	// Outer names, and names of an object in the value of the last outer one.
	open := func(outer, inner int) string {
		return strings.TrimSuffix(object("o", outer), "}") + `,"last":` + object("i", inner) + `}`
	}
	deeper := func(outer, inner, innermost int) string {
		return strings.TrimSuffix(object("o", outer), "}") + `,"last":` + open(inner, innermost) + `}`
	}
	for name, test := range map[string]struct {
		document, reason string // no reason: accepted
	}{
		"64 KiB less one byte":              {text(strictjson.MaxSize), ""},
		"64 KiB":                            {text(strictjson.MaxSize + 1), "document too long"},
		"a megabyte":                        {text(1 << 20), "document too long"},
		"a megabyte of white space":         {strings.Repeat(" ", 1<<20), "document too long"},
		"white space up to the limit":       {`{}` + strings.Repeat(" ", strictjson.MaxSize-2), ""},
		"white space over the limit":        {`{}` + strings.Repeat(" ", strictjson.MaxSize-1), "document too long"},
		"arrays 8 deep":                     {arrays(8), ""},
		"arrays 9 deep":                     {arrays(9), "nested too deeply"},
		"objects 8 deep":                    {objects(8), ""},
		"objects 9 deep":                    {objects(9), "nested too deeply"},
		"10,000 open brackets":              {`{"a":` + strings.Repeat("[", 10000), "nested too deeply"},
		"10,000 open braces":                {strings.Repeat(`{"a":`, 10000), "nested too deeply"},
		"8 deep again and again":            {`{"a":[` + strings.Repeat(`[[[[[[]]]]]],`, 150) + `1]}`, ""},
		"64 members":                        {object("m", 64), ""},
		"65 members":                        {object("m", 65), "too many members"},
		"65 members below":                  {`{"a":[` + object("m", 65) + `]}`, "too many members"},
		"many objects of 64 members":        {`{"a":[` + strings.Repeat(object("m", 64)+",", 15) + `1]}`, ""},
		"64 open members and 64 more":       {open(63, 64), ""},
		"64 open members, 64 and 1 more":    {deeper(63, 63, 1), "too many members"},
		"64 open members and 65 more":       {open(63, 65), "too many members"},
		"40 open members, 40 and 48 more":   {deeper(39, 39, 48), ""},
		"40 open members, 40 and 49 more":   {deeper(39, 39, 49), "too many members"},
		"1,024 values":                      {`{"a":[` + strings.Repeat("0,", 1022) + `0]}`, ""},
		"1,025 values":                      {`{"a":[` + strings.Repeat("0,", 1023) + `0]}`, "too many values"},
		"1,024 values in many objects":      {values(1024), ""},
		"1,025 values in many objects":      {values(1025), "too many values"},
		"308 digits":                        {`{"a":` + strings.Repeat("9", 308) + `}`, ""},
		"309 digits":                        {`{"a":` + strings.Repeat("9", 309) + `}`, "invalid number"},
		"309 digits behind the point":       {`{"a":0.` + strings.Repeat("9", 309) + `}`, ""},
		"300 digits and an exponent of 8":   {`{"a":` + strings.Repeat("9", 300) + `.9e8}`, ""},
		"300 digits and an exponent of 9":   {`{"a":` + strings.Repeat("9", 300) + `.9e9}`, "invalid number"},
		"a number of many digits":           {`{"a":` + strings.Repeat("9", 60000) + `}`, "invalid number"},
		"a name of many bytes":              {`{"` + strings.Repeat("n", 60000) + `":1}`, ""},
		"a name of many escape sequences":   {`{"` + strings.Repeat(`\u0000`, 10000) + `":1}`, ""},
		"two long names with one last byte": {`{"` + strings.Repeat("n", 30000) + `a":1,"` + strings.Repeat("n", 30000) + `b":1}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var obj strictjson.Object
			err := obj.Parse([]byte(test.document))
			if checked := strictjson.Check([]byte(test.document)); (checked == nil) != (err == nil) {
				t.Errorf("Parse: %v, Check: %v", err, checked)
			}
			var e *strictjson.SyntaxError
			switch {
			case test.reason == "":
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &e) || e.Reason != test.reason:
				t.Errorf("got %v, want %s", err, test.reason)
			}
		})
	}
}

// The last name of a full object is still unescaped, found and compared.
func TestTheLastOf64MembersIsLikeTheFirst(t *testing.T) {
	document := strings.TrimSuffix(object("m", 63), "}") + `,"\u006dlast":[63]}`
	var obj strictjson.Object
	if err := obj.Parse([]byte(document)); err != nil {
		t.Fatal(err)
	}
	if string(obj.Name(63)) != "mlast" || string(obj.Value(63)) != "[63]" || string(obj.Get("mlast")) != "[63]" {
		t.Errorf("member 63 is %q: %s", obj.Name(63), obj.Value(63))
	}
	if err := obj.Parse([]byte(strings.TrimSuffix(object("m", 63), "}") + `,"\u006d0":1}`)); err == nil {
		t.Error("a duplicate of the first name is accepted as the last")
	}
}
