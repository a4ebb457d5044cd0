package strictjson_test

import (
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

func TestReadingDoesNotAllocate(t *testing.T) {
	for name, document := range map[string]string{
		"claims":                     `{"iss":"https://auth.example.com","sub":"orders","aud":["https://billing"],"exp":1790000900,"x":{"y":[1,2,{"z":null}]}}`,
		"values in escape sequences": `{"a":"\u0061\n\ud83d\ude00"}`,
		"names in escape sequences":  `{"\u0061":1,"\u0062":2,"c":3,"\u0064\ud83d\ude00":4}`,
		"text beyond ASCII":          `{"schlüssel":"ключ"}`,
		"64 members":                 object("m", 64),
		"a long text":                `{"a":"` + strings.Repeat("x", 60000) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(document)
			sum := 0
			if n := testing.AllocsPerRun(100, func() {
				var obj strictjson.Object
				if err := obj.Parse(data); err != nil {
					t.Fatal(err)
				}
				for i := range obj.Len() {
					sum += len(obj.Value(i))
					if !strings.Contains(document, `\u`) {
						sum += len(obj.Name(i))
					}
				}
				sum += len(obj.Get("none")) + len(obj.Get("a"))
				if err := strictjson.Check(data); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
			if sum == 0 {
				t.Error("nothing was read")
			}
		})
	}
}

func TestValuesDoNotAllocate(t *testing.T) {
	value, number, truth, array := []byte(`"Ed\u0044SA"`), []byte("1790000900"), []byte("true"), []byte(`["a","b",[1]]`)
	if n := testing.AllocsPerRun(100, func() {
		if !strictjson.Is(value, "EdDSA") {
			t.Fatal("not EdDSA")
		}
		if _, err := strictjson.Int(number); err != nil {
			t.Fatal(err)
		}
		if _, err := strictjson.Bool(truth); err != nil {
			t.Fatal(err)
		}
		if err := strictjson.Elements(array, 3, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// An Index does not make the document escape: 16 KiB on the stack stay there.
func TestAnIndexReadsADocumentOnTheStack(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		var document [16 << 10]byte
		data := append(document[:0], `{"a":1,"\u0062":[2]}`...)
		var index strictjson.Index
		if err := index.Parse(data); err != nil {
			t.Fatal(err)
		}
		if index.Len() != 2 || string(index.Name(data, 0)) != "a" || string(index.Value(data, 1)) != "[2]" {
			t.Fatal("misread")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A refusal costs its error, whatever the document is.
func TestRefusalsAllocateTheErrorOnly(t *testing.T) {
	for name, document := range map[string]string{
		"too long":        strings.Repeat("[", 1<<20),
		"too deep":        `{"a":` + strings.Repeat("[", 10000),
		"too many":        object("m", 65),
		"duplicate":       `{"` + strings.Repeat(`\u0061`, 5000) + `":1,"` + strings.Repeat("a", 5000) + `":1}`,
		"not UTF-8":       `{"a":"` + strings.Repeat("x", 60000) + "\xff",
		"unfinished":      `{"a":"` + strings.Repeat("x", 60000),
		"only a surprise": strings.Repeat(" ", 60000) + "?",
	} {
		data := []byte(document)
		if n := testing.AllocsPerRun(20, func() {
			var obj strictjson.Object
			if obj.Parse(data) == nil {
				t.Fatalf("%s: accepted", name)
			}
		}); n > 1 {
			t.Errorf("%s: %v allocations, want 1 at most", name, n)
		}
	}
}
