package events

import (
	"crypto/sha256"
	"reflect"
	"strings"
	"testing"
)

func TestTokenRevocationMembers(t *testing.T) {
	for name, record := range map[string]string{
		"an exp":                 `{"exp":1}`,
		"the last exp":           `{"exp":9007199254740991}`,
		"a reason":               `{"exp":1,"reason":"logged out"}`,
		"an empty reason":        `{"exp":1,"reason":""}`,
		"a reason of 256 bytes":  `{"exp":1,"reason":` + text(256) + `}`,
		"what is not known here": `{"exp":1,"sub":"orders","x":[{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseTokenRevocation([]byte(record))
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseTokenRevocation(out); err != nil || !reflect.DeepEqual(back, r) {
				t.Fatalf("reads back as\n%+v (%v), was\n%+v", back, err, r)
			}
		})
	}
	for _, c := range []struct{ name, record, want string }{
		{"nothing", ``, "json:"},
		{"no exp", `{}`, "exp is missing"},
		{"an exp of zero", `{"exp":0}`, `"exp": zero`},
		{"a negative exp", `{"exp":-1}`, `"exp": time -1`},
		{"an exp of a string", `{"exp":"1"}`, `"exp": not an integer`},
		{"an exp of a fraction", `{"exp":1.5}`, `"exp": not an integer`},
		{"an exp beyond 2^53", `{"exp":9007199254740992}`, `"exp": integer out of range`},
		{"a reason of a number", `{"exp":1,"reason":5}`, `"reason": not a string`},
		{"a reason of 257 bytes", `{"exp":1,"reason":` + text(257) + `}`, "at most 256 bytes"},
		{"a reason with a control character", `{"exp":1,"reason":"a\u0007"}`, "control characters"},
		{"exp twice", `{"exp":1,"exp":2}`, "duplicate"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			r, err := ParseTokenRevocation([]byte(c.record))
			checkRefused(t, err, c.want)
			if r != nil {
				t.Fatal("an error and a record")
			}
		})
	}
}

func TestNamesOfTokens(t *testing.T) {
	// The base64url of sha256("https://auth.example.com\nabc") and of sha256("header.payload"), by sha256sum.
	byJTI := TokenByID("https://auth.example.com", "abc")
	byText := TokenByText([]byte("header.payload"))
	for id, want := range map[TokenID]string{
		byJTI:  "jti." + b64(sum("https://auth.example.com\nabc")),
		byText: "tok." + b64(sum("header.payload")),
	} {
		if id.String() != want {
			t.Errorf("name %s, want %s", id, want)
		}
		if back, err := ParseTokenID(id.String()); err != nil || back != id {
			t.Errorf("%s is read as %s (%v)", id, back, err)
		}
	}
	if TokenByID("https://a", "b") == TokenByID("https://a", "c") || TokenByID("https://a", "b") == TokenByID("https://b", "b") {
		t.Error("two tokens have one name")
	}
	if TokenByID("ab", "c") == TokenByID("a", "bc") {
		t.Error("the border between iss and jti is lost")
	}
	long := strings.Repeat("x", 8<<10)
	if TokenByID(long, long).String() != "jti."+b64(sum(long+"\n"+long)) {
		t.Error("a long jti has another name")
	}
	good := byJTI.String()
	for _, name := range []string{
		"", "jti", "jti.", "tok.", "tik." + good[4:], good[4:], "JTI." + good[4:], good + "=", good + "A", good[:46], good[:10] + "\n" + good[10:],
		"jti." + b64(make([]byte, 31)), "jti." + b64(make([]byte, 33)), good + ".x", "jti.*", "jti.>",
	} {
		if id, err := ParseTokenID(name); err == nil {
			t.Errorf("%q is the name of a token: %s", name, id)
		}
	}
}

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func TestNamingATokenDoesNotAllocate(t *testing.T) {
	signed := []byte("header.payload")
	if n := testing.AllocsPerRun(100, func() { TokenByID(platformIss, "01JABCDEFGH"); TokenByText(signed) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
