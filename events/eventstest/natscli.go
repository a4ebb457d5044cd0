package eventstest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// NatsCLI builds the unmodified nats command (github.com/nats-io/natscli, at the version that its own module file in
// cmd/keyherald/testdata/natscli states) and returns its path. The Go build cache keeps it: the first build on
// a machine takes a minute, later ones do not.
func NatsCLI(t testing.TB) string {
	t.Helper()
	root := goOutput(t, "list", "-m", "-f", "{{.Dir}}", "github.com/keyherald/keyherald")
	module := filepath.Join(root, "cmd", "keyherald", "testdata", "natscli")
	return goOutput(t, "tool", "-C", module, "-n", "nats")
}

func goOutput(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
