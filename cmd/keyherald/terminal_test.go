package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// hostile is text with what steers terminals: control characters of ASCII and of ISO 6429, a change of direction, one beyond
// the basic plane, and a byte that is no character.
const hostile = "a\x1b[2J\x00\x7f\u009b2J\u202e\U000e0001é\"\\\xff"

func TestPrintableShowsWhatSteersATerminal(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"plain text stays", `says "ü\" (日本)`, `says "ü\" (日本)`},
		{"what steers is escaped", hostile, `a\x1b[2J\x00\x7f\u009b2J\u202e\U000e0001é"\` + `�`},
		{"a line break is", "a\nb\r", `a\nb\r`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := printable(test.in); got != test.want {
				t.Errorf("printable(%q) = %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestAsciiJSONKeepsTheValueAndEscapesWhatSteersATerminal(t *testing.T) {
	var out bytes.Buffer
	if err := printJSON(&out, map[string]string{"text": hostile}); err != nil {
		t.Fatal(err)
	}
	if bad := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && printable(string(r)) != string(r) }); bad >= 0 {
		t.Errorf("a character that steers terminals is in %q", out.String())
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if want := strings.ToValidUTF8(hostile, "\ufffd"); back["text"] != want {
		t.Errorf("the value became %q, want %q", back["text"], want)
	}
}

// failing is a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	var errs bytes.Buffer
	code := run(t.Context(), []string{"token", "decode"}, stdio{
		in:  strings.NewReader("eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIiwidHlwIjoiYXQrand0In0.eyJpc3MiOiJhIn0." + strings.Repeat("A", 86)),
		out: failing{}, err: &errs,
	})
	if code != exitFailed || !strings.Contains(errs.String(), "no space left on device") {
		t.Errorf("exit %d, want %d\n%s", code, exitFailed, errs.String())
	}
}
