package main

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/eventstest"
)

func operationsGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// beforeOperations is what the guide finds: a running server with a client that has a key and an API key, and an external issuer.
const beforeOperations = `start
curl -s --retry 40 --retry-connrefused --retry-all-errors $KEYHERALD_ISSUER/readyz
./keyherald client create orders --scope billing:read --audience https://billing --offline
./keyherald key add orders > orders.key
./keyherald secret add orders > orders.secret
./keyherald issuer add builds --iss https://builds.example --use assertion --no-discovery
openssl genpkey -algorithm ed25519 | openssl pkey -pubout | ./keyherald key add builds --kid b1 --public -
`

// TestTheOperationsGuideDoesWhatItSays pastes every shell block of deploy/OPERATIONS.md into one shell, and looks at what became of it.
func TestTheOperationsGuideDoesWhatItSays(t *testing.T) {
	t.Parallel()
	first, rest, found := strings.Cut(operationsGuide(t), "## First look")
	if !found {
		t.Fatal("the guide has no first look")
	}
	commands := shellCommands(t, first, 1) + beforeOperations + shellCommands(t, rest, 18)
	for _, port := range []string{"127.0.0.1:8080", "127.0.0.1:4222"} {
		commands = strings.ReplaceAll(commands, port, eventstest.FreeAddress(t))
	}
	// In the end: what leaked is dead, what replaced it is not, and so it is on the server that was made of a backup. A ! before a command would not do:
	// what it makes of success does not end a shell with -e.
	commands += `
not() { if "$@"; then echo "not refused: $*" >&2; exit 9; fi; }
./keyherald token mint --key-file orders.key --audience https://billing > leaked.token
not ./keyherald token verify --audience https://billing < leaked.token
./keyherald token mint --key-file orders.new.key --audience https://billing | ./keyherald token verify --audience https://billing
not ./keyherald token request --secret-file orders.secret
./keyherald token request --secret-file orders.new.secret --audience https://billing | ./keyherald token verify --audience https://billing
not ./keyherald token request --key-file d.lost/admin.key
not ./keyherald token request --key-file d/admin.key
./keyherald token request --key-file admin.new.key > /dev/null
not grep billing:admin <(./keyherald client show orders)
grep '"kid": "b2"' <(./keyherald key export builds)
`
	runShell(t, commands)
}

// TestTheOperationsGuideExplainsMessagesThatThereAre: each is in the source as it stands in the guide.
func TestTheOperationsGuideExplainsMessagesThatThereAre(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(operationsGuide(t), "## What the log says")
	section, _, _ = strings.Cut(section, "\n## ")
	var source strings.Builder
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, name)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	messages := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 2 {
			continue
		}
		for _, message := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[0], -1) {
			messages++
			if !strings.Contains(source.String(), `Msg("`+message[1]) {
				t.Errorf("nothing logs %q", message[1])
			}
		}
	}
	if messages < 15 {
		t.Errorf("%d messages", messages)
	}
}

var inlineCommand = regexp.MustCompile("(?:`|\\* )(?:keyherald )?((?:client|issuer|key|secret|cert|token|bench|nats-user|nats-config) [a-z]+|init|status|watch|doctor|backup|restore)\\b([^`\n]*)")

// TestTheOperationsGuideNamesCommandsThatThereAre: those in running text are not run, but their flags are in their help.
func TestTheOperationsGuideNamesCommandsThatThereAre(t *testing.T) {
	t.Parallel()
	helps := map[string]string{}
	for _, c := range inlineCommand.FindAllStringSubmatch(operationsGuide(t), -1) {
		command, rest := c[1], c[2]
		if helps[command] == "" {
			out, errs, err := runCLI("", append(strings.Fields(command), "--help")...)
			if err != nil {
				t.Errorf("%s: %s", c[0], errs)
			}
			helps[command] = out
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(rest, -1) {
			if !strings.Contains(helps[command], flag) {
				t.Errorf("%s: keyherald %s has no flag %s", c[0], command, flag)
			}
		}
	}
	if len(helps) < 12 {
		t.Errorf("only %d commands: %v", len(helps), helps)
	}
}
