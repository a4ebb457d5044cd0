package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// cli runs the nats command with the credential of a role.
type cli struct {
	path, home string
	flags      []string
}

func natsCLI(t *testing.T, s *embedded.Server, role bus.Role, flags ...string) cli {
	t.Helper()
	return cli{
		path:  eventstest.NatsCLI(t),
		home:  t.TempDir(), // the contexts of whoever runs the test are none of ours
		flags: append([]string{"--server", s.Addr().String(), "--nkey", s.KeyFile(role), "--timeout", patience.String()}, flags...),
	}
}

func (c cli) command(t *testing.T, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, c.path, slices.Concat(c.flags, args)...)
	cmd.Env = []string{"HOME=" + c.home, "XDG_CONFIG_HOME=" + c.home}
	return cmd
}

// must runs a command that succeeds without being refused anything, and returns what it prints.
func (c cli) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.command(t, args...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("Permissions Violation")) {
		t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// mustFail runs a command that fails and says each of the parts.
func (c cli) mustFail(t *testing.T, args []string, parts ...string) {
	t.Helper()
	out, err := c.command(t, args...).CombinedOutput()
	if err == nil {
		t.Errorf("nats %s succeeded:\n%s", strings.Join(args, " "), out)
	}
	mustContain(t, string(out), parts...)
}

// mustBeRefused runs a command until it says that the server refused to let it publish. It would wait for an answer until
// its timeout then.
func (c cli) mustBeRefused(t *testing.T, subject string, args ...string) {
	t.Helper()
	refusal := `Permissions Violation for Publish to "` + subject + `"`
	c.until(t, args, refusal, func() {})
}

// until starts a command, makes something happen, waits for a line that contains text and stops the command.
func (c cli) until(t *testing.T, args []string, text string, happen func()) string {
	t.Helper()
	cmd := c.command(t, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	}()
	happen()
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if line := lines.Text(); strings.Contains(line, text) {
			return line
		}
		said.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("nats %s ended without saying %q:\n%s", strings.Join(args, " "), text, said.String())
	return ""
}

func TestOperatorWorksWithThePlainNatsCommand(t *testing.T) {
	s := start(t, embedded.Config{})
	op := natsCLI(t, s, bus.Operator)

	first, second := `{"kty":"OKP","x":"1"}`, `{"kty":"OKP","x":"2"}`
	mustContain(t, op.must(t, "kv", "put", "KEYS", "key.orders.k1", first), first)
	op.must(t, "kv", "put", "KEYS", "key.orders.k1", second)
	op.must(t, "kv", "put", "KEYS", "issuer.orders", "{}")

	if got := op.must(t, "kv", "get", "--raw", "KEYS", "key.orders.k1"); strings.TrimSpace(got) != second {
		t.Errorf("get prints %q", got)
	}
	if got := op.must(t, "kv", "get", "--raw", "--revision", "1", "KEYS", "key.orders.k1"); strings.TrimSpace(got) != first {
		t.Errorf("get --revision 1 prints %q", got)
	}
	mustContain(t, op.must(t, "kv", "get", "KEYS", "key.orders.k1"), "revision: 2", second)
	mustContain(t, op.must(t, "kv", "history", "KEYS", "key.orders.k1"), "PUT", "key.orders.k1")
	names := strings.Fields(op.must(t, "kv", "ls", "KEYS"))
	if slices.Sort(names); !slices.Equal(names, []string{"issuer.orders", "key.orders.k1"}) {
		t.Errorf("ls prints %q", names)
	}

	op.must(t, "kv", "del", "-f", "KEYS", "key.orders.k1")
	op.mustFail(t, []string{"kv", "get", "KEYS", "key.orders.k1"}, "key not found")
	mustContain(t, op.must(t, "kv", "history", "KEYS", "key.orders.k1"), "DEL")

	// A purge is a rollup, which the stream refuses; nothing is lost by it.
	op.mustFail(t, []string{"kv", "purge", "-f", "KEYS", "issuer.orders"}, "10111", "rollup not permitted")
	mustContain(t, op.must(t, "kv", "get", "--raw", "KEYS", "issuer.orders"), "{}")

	// A watch prints what is there when it starts, too, so it does not matter which of the two comes first.
	put := func() { op.must(t, "kv", "put", "KEYS", "key.payments.k1", "{}") }
	mustContain(t, op.until(t, []string{"kv", "watch", "KEYS", "key.payments.>"}, "key.payments.k1", put), "PUT", "KEYS")
}

func TestN_VerifierReadsAndCannotWriteWithThePlainNatsCommand(t *testing.T) {
	s := start(t, embedded.Config{})
	connect(t, s, bus.Operator).put(t, bus.Keys, "issuer.orders", `{"type":"client"}`)
	connect(t, s, bus.Operator).put(t, bus.Clients, "orders", "{}")
	v := natsCLI(t, s, bus.Verifier, "--inbox-prefix", s.InboxPrefix(bus.Verifier))

	mustContain(t, v.must(t, "kv", "get", "--raw", "KEYS", "issuer.orders"), `{"type":"client"}`)
	v.until(t, []string{"kv", "watch", "KEYS"}, "issuer.orders", func() {})
	v.mustBeRefused(t, "$KV.KEYS.key.orders.k3", "kv", "put", "KEYS", "key.orders.k3", "{}")
	v.mustBeRefused(t, "$KV.KEYS.issuer.orders", "kv", "del", "-f", "KEYS", "issuer.orders")
	v.mustBeRefused(t, "$JS.API.STREAM.INFO.KV_CLIENTS", "kv", "get", "CLIENTS", "orders")

	mustContain(t, v.must(t, "kv", "get", "--raw", "KEYS", "issuer.orders"), `{"type":"client"}`)
	if last := mustStream(t, connect(t, s, bus.Operator), bus.Keys).CachedInfo().State.LastSeq; last != 1 {
		t.Errorf("the bucket is at revision %d", last)
	}
}

func TestAdminSavesAndRestoresABucketWithThePlainNatsCommand(t *testing.T) {
	s := start(t, embedded.Config{})
	operator := connect(t, s, bus.Operator)
	noise, value := rand.NewChaCha8([32]byte{}), make([]byte, 16<<10)
	for i := range 600 { // 9.4 MiB that cannot be compressed: the server sends 8 MiB before it waits for an answer
		_, _ = noise.Read(value)
		operator.put(t, bus.Keys, fmt.Sprintf("key.orders.k%d", i), string(value))
	}
	admin := natsCLI(t, s, bus.Admin)
	backup := filepath.Join(t.TempDir(), "backup")
	admin.must(t, "stream", "backup", "--no-progress", "KV_KEYS", backup)
	later := operator.put(t, bus.Keys, "issuer.orders", "{}")

	admin.must(t, "stream", "rm", "-f", "KV_KEYS")
	admin.must(t, "stream", "restore", "--no-progress", backup)
	if last := mustStream(t, operator, bus.Keys).CachedInfo().State.LastSeq; last != later-1 {
		t.Errorf("the bucket is at revision %d, want %d", last, later-1)
	}
	drifts, err := bus.CheckBuckets(t.Context(), operator.js, 1, bus.Keys)
	if err != nil || len(drifts) > 0 {
		t.Errorf("settings after the restore: %v, %v", drifts, err)
	}
	op := natsCLI(t, s, bus.Operator)
	op.mustBeRefused(t, "$JS.API.STREAM.DELETE.KV_KEYS", "stream", "rm", "-f", "KV_KEYS")
}
