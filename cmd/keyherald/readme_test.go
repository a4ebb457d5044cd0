package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/eventstest"
)

// TestTheREADMEDoesWhatItSays pastes every shell block of the README into one shell, as a new user does, with other ports. Each command must
// succeed, but for those that the README says are refused.
func TestTheREADMEDoesWhatItSays(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the README needs %s: %v", tool, err)
		}
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := shellCommands(t, string(text), 15)
	for _, port := range []string{"127.0.0.1:8080", "127.0.0.1:4222", "127.0.0.1:8443", "127.0.0.1:4223", "127.0.0.1:9180"} {
		free := eventstest.FreeAddress(t)
		commands = strings.ReplaceAll(commands, port, free)
	}
	out := runShell(t, commands)
	for what, n := range map[string]int{`"access_token":"`: 5, `"active":true`: 1, `"clientId":"sc_`: 2, `"error":"invalid_client"`: 1, "X-Auth-Client: orders": 1, `error="insufficient_scope"`: 1} {
		if got := strings.Count(out, what); got < n {
			t.Errorf("%s was printed %d times, want %d:\n%s", what, got, n, out)
		}
	}
}

// runShell runs commands in a directory with nothing in it but the program, and returns what they print. All must succeed.
func runShell(t *testing.T, commands string) string {
	t.Helper()
	binary, err := exec.LookPath("keyherald")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(binary, filepath.Join(dir, "keyherald")); err != nil {
		t.Fatal(err)
	}
	// curl says what the server answered, and fails if that was a refusal.
	const before = "set -eo pipefail\ntrap 'kill $(jobs -p)' EXIT\ncurl() { command curl --fail-with-body --max-time 60 \"$@\"; }\n"
	shell := exec.Command("bash", "-c", before+commands)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Dir(eventstest.NatsCLI(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
	var out, errs eventstest.Log
	shell.Stdout, shell.Stderr = &out, &errs
	if err := shell.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "serve.log")) // if the commands have made one
		t.Fatalf("%v\nstdout:\n%s\nstderr:\n%s\nlog:\n%s", err, tail(out.String()), tail(errs.String()), tail(string(log)))
	}
	return out.String()
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")

// shellCommands returns the blocks as one script that says where it is, without what builds the program or waits for a person.
func shellCommands(t *testing.T, text string, atLeast int) string {
	var script strings.Builder
	blocks := shellBlock.FindAllStringSubmatch(text, -1)
	if len(blocks) < atLeast {
		t.Fatalf("%d shell blocks", len(blocks))
	}
	for _, block := range blocks {
		for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
			command, comment, _ := strings.Cut(strings.TrimSpace(line), " # ")
			switch {
			case command == "", strings.HasPrefix(command, "go build"), strings.HasSuffix(command, "keyherald watch"):
			case strings.HasPrefix(comment, "refused"):
				script.WriteString("echo '+ refused: '" + shellWord(command) + " >&2\nif " + command + "; then exit 9; fi\n")
			default:
				script.WriteString("echo '+ '" + shellWord(command) + " >&2\n" + command + "\n")
			}
		}
	}
	return script.String()
}

// tail is the end of a text, where the trouble is.
func tail(s string) string { return s[max(0, len(s)-6000):] }
