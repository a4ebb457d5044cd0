package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

// backedUp returns a backup of a server with a platform and so many clients with a key each, and how many messages that is.
func backedUp(t *testing.T, clients int) (file string, messages int) {
	t.Helper()
	server := eventstest.Server(t)
	server.Write(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com","account":"acc-0123456789abcdefghij"}`)
	for i := range clients {
		server.Write(bus.Keys, fmt.Sprintf("issuer.c%d", i), `{"type":"client","status":"active","aud":["https://billing"],"offline":true}`)
		server.Write(bus.Keys, fmt.Sprintf("key.c%d.k1", i), eventstest.KeyJSON(byte(i)))
	}
	server.Write(bus.Keys, "revoked.c0.k1", `{"reason":"leaked"}`)
	server.Write(bus.Clients, "c1", `{"require_jti":true}`)
	file = filepath.Join(t.TempDir(), "b.backup")
	if _, errs, err := runCLI("", "backup", file, "--nats", server.URL(), "--nkey", server.KeyFile(bus.Operator)); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	return file, 2*clients + 3
}

// stateAt is what a server has of a bucket, as it says itself.
func stateAt(t *testing.T, cfg bus.Config, b bus.Bucket) map[string]string {
	t.Helper()
	conn, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	records := map[string]string{}
	if _, err := conn.Read(t.Context(), b, func(e events.Entry) error {
		records[e.Name] = string(e.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return records
}

// TestF_RestoreToANewCluster restores what one server had to a cluster of three that has nothing, and asks each of them.
func TestF_RestoreToANewCluster(t *testing.T) {
	t.Parallel()
	file, messages := backedUp(t, 50)
	cluster := startCluster(t)
	urls := cluster[0].url + "," + cluster[1].url + "," + cluster[2].url
	if _, errs, err := runCLI("", "restore", file, "--nats", urls); exitOf(err) != exitFailed || !strings.Contains(errs, "keyherald init") {
		t.Errorf("without buckets: %v\n%s", err, errs)
	}
	if _, errs, err := runCLI("", "init", "--nats", urls, "--replicas", "3"); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	out, errs, err := runCLI("", "restore", file, "--nats", urls)
	if err != nil || !strings.Contains(out, fmt.Sprintf("restored: %d messages written", messages)) || errs != "" {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	for _, f := range cluster {
		keys := stateAt(t, bus.Config{URL: f.url}, bus.Keys)
		if len(keys) != messages-1 || keys["key.c49.k1"] != eventstest.KeyJSON(49) || keys["revoked.c0.k1"] != `{"reason":"leaked"}` {
			t.Errorf("%s has %d records", f.url, len(keys))
		}
		if clients := stateAt(t, bus.Config{URL: f.url}, bus.Clients); len(clients) != 1 {
			t.Errorf("%s has the clients %v", f.url, clients)
		}
	}
	again := filepath.Join(t.TempDir(), "again.backup")
	if _, errs, err := runCLI("", "backup", again, "--nats", urls); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	out, errs, err = runCLI("", "restore", again, "--nats", urls, "--json")
	var report restoreReport
	if json.Unmarshal([]byte(out), &report) != nil || err != nil || report.Writes != 0 || !report.Done || report.Backup.Records != messages {
		t.Errorf("the cluster's own backup: %v\n%s%s", err, out, errs)
	}
}

// TestF_ARestoreOfTheWrongFileSaysWhatIsWrong tells another file from a backup that was cut off.
func TestF_ARestoreOfTheWrongFileSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file, _ := backedUp(t, 1)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string][]byte{"give the file that keyherald backup has written": []byte(`{"keys":[]}`), "take another backup": whole[:len(whole)/2]} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, errs, err := runCLI("", "restore", file, "--nats", "nats://127.0.0.1:1"); exitOf(err) != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%q: %v\n%s", text, err, errs)
		}
	}
}

// TestF_KilledRestoreIsDoneByTheNext kills a restore in the middle of its writes.
func TestF_KilledRestoreIsDoneByTheNext(t *testing.T) {
	t.Parallel()
	const clients = 800
	file, messages := backedUp(t, clients)
	server := eventstest.Server(t)
	conn := server.Connect(bus.Operator)
	args := []string{"restore", file, "--nats", server.URL(), "--nkey", server.KeyFile(bus.Operator)}
	written := func() uint64 {
		x, err := conn.Extent(t.Context(), bus.Keys)
		if err != nil {
			t.Fatal(err)
		}
		return x.Last
	}
	p := startProcess(t, args...)
	eventstest.Eventually(t, "it has written something", func() bool { return written() > 10 })
	p.kill()
	if n := written(); n >= uint64(messages-1) {
		t.Fatalf("all of %d messages had been written: nothing was killed", n)
	}
	keys := stateAt(t, bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator)}, bus.Keys)
	if _, revoked := keys["revoked.c0.k1"]; !revoked {
		t.Error("a revocation was not written first")
	}
	if _, errs, err := runCLI("", args...); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	if n := written(); n != uint64(messages-1) {
		t.Errorf("%d messages were written in all, not %d", n, messages-1)
	}
}

// TestP7_ABackupAndItsRestoreShowNothingSecret looks for all secrets of a registry in the file and in what is printed.
func TestP7_ABackupAndItsRestoreShowNothingSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	startServe(t, dir, eventstest.FreeAddress(t), "127.0.0.1:0")
	t.Setenv("KEYHERALD_DATA", dir)
	t.Setenv("KEYHERALD_LOG_LEVEL", "debug")
	var said strings.Builder
	cli := func(args ...string) string {
		t.Helper()
		out, errs, err := runCLI("", args...)
		if err != nil {
			t.Fatalf("keyherald %s: %v\n%s", strings.Join(args, " "), err, errs)
		}
		said.WriteString(errs)
		return strings.TrimSpace(out)
	}
	cli("client", "create", "orders", "--audience", "https://billing", "--offline")
	accessKey, err := events.ParseAccessKey(cli("key", "add", "orders"))
	if err != nil {
		t.Fatal(err)
	}
	apiKey := cli("secret", "add", "orders")
	file := filepath.Join(t.TempDir(), "b.backup")
	said.WriteString(cli("backup", file, "--json"))
	cli("secret", "add", "orders")
	cli("client", "disable", "orders")
	said.WriteString(cli("restore", file, "--force"))
	said.WriteString(cli("restore", file, "--force", "--drop-revocations", "--json"))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(text)
	seed := accessKey.Private().Seed()
	for _, secret := range [][]byte{seed, []byte(accessKey.Reveal()), []byte(apiKey)} {
		for _, form := range forms(secret) {
			if strings.Contains(said.String(), form) {
				t.Error("a secret is in the file, or was printed")
			}
		}
	}
	if !strings.Contains(said.String(), "sha256") { // what is looked through is what should be
		t.Error("not even the hash of the API key is in the file")
	}
}

// TestP5_ABackupThatCannotBeReadIsNotReported lets the file be read again before it gets its name.
func TestP5_ABackupThatCannotBeReadIsNotReported(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "b.backup")
		if force {
			if err := os.WriteFile(file, []byte("the one before"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := backupCmd{File: file, Force: force}
		err := c.writeFile(func(w io.Writer) error {
			_, err := io.WriteString(w, "no backup\n")
			return err
		}, nil)
		if !errors.Is(err, backup.ErrNoBackup) || !strings.Contains(err.Error(), "nothing was written to "+file) {
			t.Errorf("force %t: error %v", force, err)
		}
		left, err := os.ReadFile(file)
		if force && string(left) != "the one before" || !force && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("force %t: there is a file with %q, error %v", force, left, err)
		}
	}
}
