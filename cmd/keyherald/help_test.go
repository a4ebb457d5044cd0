package main

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
)

// TestEveryCommandHasExamplesThatParse keeps the examples of --help from telling of flags that there are no more.
func TestEveryCommandHasExamplesThatParse(t *testing.T) {
	var c cli
	parser, err := newParser(&c, stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	leaves := map[string]bool{}
	for _, command := range parser.Model.Leaves(false) {
		leaves[command.Path()] = true
		if examples[command.Path()] == "" {
			t.Errorf("%s has no example", command.Path())
		}
	}
	for path, text := range examples {
		if !leaves[path] {
			t.Errorf("there is an example of %s, which is no command", path)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
			var c cli
			parser, err := newParser(&c, stdio{out: new(bytes.Buffer), err: new(bytes.Buffer)})
			if err != nil {
				t.Fatal(err)
			}
			args := words(t, line)
			command, err := parse(parser, args[1:])
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			if got := command.Selected().Path(); args[0] != "keyherald" || got != path {
				t.Errorf("%s: is an example of %s, not of %s", line, got, path)
			}
		}
	}
}

// words splits a command line, without its redirections.
func words(t *testing.T, line string) []string {
	t.Helper()
	line, _, _ = strings.Cut(strings.TrimSpace(line), " <")
	line, _, _ = strings.Cut(line, " >")
	r := csv.NewReader(strings.NewReader(line)) // words in double quotes, with spaces between them
	r.Comma = ' '
	fields, err := r.Read()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return fields
}

func TestFlagsAreDescribedWithDefaultAndEnvironment(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"serve", "--help"}, stdio{out: &out, err: &out}); code != 0 {
		t.Fatalf("exit %d\n%s", code, out.String())
	}
	help := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"first start (default data, $KEYHERALD_DATA).",
		"(default 127.0.0.1:4222, $KEYHERALD_NATS_LISTEN).",
		"Default: the address of --http after http:// or, with --tls-cert, https:// ($KEYHERALD_ISSUER).",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("%q is not in the help:\n%s", want, out.String())
		}
	}
}
