package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_AServerWithJWTAccountsServesEveryCommand makes credentials and configuration as an operator does, and works with nothing else.
func TestN_AServerWithJWTAccountsServesEveryCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "trust")
	f := startForeign(t, keyherald(t, "nats-config", "jwt", "--dir", dir, "admin", "operator", "node:issuer", "billing:verifier"))
	creds := func(name string) string { return filepath.Join(dir, name+".creds") }
	keyherald(t, "init", "--nats", f.url, "--creds", creds("admin"))
	addr := eventstest.FreeAddress(t)
	startProcess(t, "serve", "--nats", f.url, "--creds", creds("node"), "--registry-creds", creds("operator"), "--http", addr, "--issuer", nodesIssuer,
		"--data", filepath.Join(t.TempDir(), "d")).waitReady(t, addr)
	keyherald(t, "client", "create", "orders", "--audience", "https://billing", "--nats", f.url, "--creds", creds("operator"))
	_, gate := launchGate(t, "--nats", f.url, "--creds", creds("billing"))
	within(t, "the gate has the key set", func() bool { return statusOf(gate, "/readyz") == 200 })
	if _, errs, err := runCLI("", "client", "create", "stock", "--audience", "https://billing", "--nats", f.url, "--creds", creds("billing")); err == nil || !strings.Contains(errs, "does not allow it") {
		t.Errorf("a verifier registers: %v\n%s", err, errs)
	}

	// Again, with one user more: what was made stays, and the server needs to know nothing.
	before := readText(t, creds("billing"))
	out, errs, err := runCLI("", "nats-config", "jwt", "--dir", dir, "billing:verifier", "stock:verifier")
	if err != nil || !strings.Contains(errs, "is there already and stays as it is") || readText(t, creds("billing")) != before {
		t.Fatalf("again: %v\n%s", err, errs)
	}
	keyherald(t, "status", "--nats", f.url, "--creds", creds("stock"))
	for _, file := range []string{creds("billing"), filepath.Join(dir, "keys", "operator.nk"), filepath.Join(dir, "account.jwt")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if strings.Contains(out, strings.TrimSpace(readText(t, filepath.Join(dir, "keys", "operator.nk")))) {
		t.Error("the operator's seed is in the configuration")
	}

	// Once billing is revoked, a server with any later configuration refuses billing and nobody else.
	keyherald(t, "nats-config", "jwt", "--dir", dir, "--revoke", "billing")
	f.stop()
	f.config = keyherald(t, "nats-config", "jwt", "--dir", dir)
	f.start()
	if _, errs, err := runCLI("", "status", "--nats", f.url, "--creds", creds("billing")); err == nil || !strings.Contains(errs, "the server refused the credential") {
		t.Errorf("a revoked user: %v\n%s", err, errs)
	}
	keyherald(t, "status", "--nats", f.url, "--creds", creds("stock"))
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestN_AServerWithNkeysIsConfiguredFromTheSeedsThatAreThere(t *testing.T) {
	t.Parallel()
	seeds := filepath.Join(t.TempDir(), "seeds")
	args := []string{"nats-config", "nkeys", "--seeds", seeds, "admin", "ops:operator", "billing:verifier"}
	config := keyherald(t, args...)
	if again := keyherald(t, args...); again != config {
		t.Errorf("the second time it is another configuration:\n%s", again)
	}
	f := startForeign(t, config)
	seed := func(name string) string { return filepath.Join(seeds, name+".nk") }
	keyherald(t, "init", "--nats", f.url, "--nkey", seed("admin"))
	keyherald(t, "client", "create", "orders", "--nats", f.url, "--nkey", seed("ops"))
	keyherald(t, "status", "--nats", f.url, "--nkey", seed("billing"))
	public, _, err := keepNkey(seed("billing"), nkeys.PrefixByteUser)
	if err != nil {
		t.Fatal(err)
	}
	if given := keyherald(t, "nats-config", "nkeys", "billing:verifier="+public); !strings.Contains(given, bus.InboxPrefix(public)+".>") {
		t.Errorf("with the public nkey:\n%s", given)
	}
}

func TestN_SeedsThatOthersMayReadAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nkeysArgs := []string{"nats-config", "nkeys", "--seeds", dir, "billing:verifier"}
	jwtArgs := []string{"nats-config", "jwt", "--dir", dir}
	keyherald(t, nkeysArgs...)
	keyherald(t, jwtArgs...)
	for file, args := range map[string][]string{"billing.nk": nkeysArgs, "keys/sign-verifier.nk": jwtArgs, "keys/operator.nk": jwtArgs} {
		path := filepath.Join(dir, file)
		for _, mode := range []os.FileMode{0o644, 0o640, 0o602} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if out, errs, err := runCLI("", args...); err == nil || out != "" || !strings.Contains(errs, "chmod 600") || !strings.Contains(errs, path) {
				t.Errorf("%s with mode %04o: %v\n%s", file, mode, err, errs)
			}
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		keyherald(t, args...)
	}
}

func TestUsersThatCannotBeConfiguredAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	account, seed, err := newNkey(nkeys.PrefixByteAccount)
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, dir, "wrong.nk", seed)
	putFile(t, dir, "torn.nk", seed[:20])
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"nkeys root=" + account, exitUsage, `no role "root"`},
		{"nkeys admin=" + strings.TrimSpace(string(seed)), exitUsage, "not the public nkey"},
		{"nkeys admin=" + account, exitUsage, "not the public nkey"},
		{"nkeys admin=", exitUsage, "is empty: is a variable not set?"},
		{"nkeys admin", exitUsage, "or a directory for its seed with --seeds"},
		{"nkeys --seeds " + dir + " verifier verifier", exitUsage, "two users verifier: give them names"},
		{"nkeys --seeds " + dir + " ../x:verifier", exitUsage, "is not of 1 to 64"},
		{"nkeys --seeds " + dir + " wrong:verifier", exitFailed, "has an nkey of the kind account in it, not user"},
		{"nkeys --seeds " + dir + " torn:verifier", exitFailed, "has no nkey seed in it"},
		{"nkeys", exitUsage, "expected"},
		{"jwt admin", exitUsage, "missing flags: --dir"},
		{"jwt --dir " + dir + " admin=" + account, exitUsage, "not the public nkey"},
		{"jwt --dir " + dir + " --revoke nobody", exitFailed, `there is no user "nobody"`},
	} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"nats-config"}, strings.Fields(c.args)...), stdio{in: os.Stdin, out: &out, err: &out})
		if code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: exit %d, want %d, and %q in\n%s", c.args, code, c.code, c.want, out.String())
		}
		if strings.Contains(out.String(), strings.TrimSpace(string(seed))) {
			t.Errorf("%s: a seed was printed", c.args)
		}
	}
}
