package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer/clientauth"
)

// runCLI runs one command line in a process of its own.
func runCLI(stdin string, args ...string) (out, errs string, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("keyherald", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// forms are the texts that a secret may hide in.
func forms(secret []byte) []string {
	return []string{
		string(secret), hex.EncodeToString(secret), base64.RawStdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
	}
}

// TestP7_NothingSecretIsOnTheBusInALogOrInAnError uses every kind of secret once, with everything logged, and then looks for them in all
// that was stored and printed.
func TestP7_NothingSecretIsOnTheBusInALogOrInAnError(t *testing.T) {
	t.Setenv("KEYHERALD_LOG_LEVEL", "debug")
	dir := filepath.Join(t.TempDir(), "d")
	httpAddr := eventstest.FreeAddress(t)
	natsAddr := eventstest.FreeAddress(t)
	p := startServe(t, dir, httpAddr, natsAddr)
	t.Setenv("KEYHERALD_DATA", dir)
	t.Setenv("KEYHERALD_ISSUER", "http://"+httpAddr)
	var said strings.Builder
	cli := func(stdin string, args ...string) string {
		t.Helper()
		out, errs, err := runCLI(stdin, args...)
		if err != nil {
			t.Fatalf("keyherald %s: %v\n%s", strings.Join(args, " "), err, errs)
		}
		said.WriteString(errs)
		return strings.TrimSpace(out)
	}
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}

	cli("", "client", "create", "orders", "--scope", "billing:read", "--audience", "https://billing", "--offline")
	accessKey := cli("", "key", "add", "orders")
	rotated := cli("", "key", "rotate", "orders")
	apiKey := cli("", "secret", "add", "orders")
	offline := cli("", "token", "mint", "--key-file", write("key", accessKey), "--audience", "https://billing")
	online := cli("", "token", "request", "--key-file", write("key", accessKey))
	byAPIKey := cli("", "token", "request", "--secret-file", write("secret", apiKey))
	cli(offline, "token", "verify", "--audience", "https://billing")
	cli(online, "token", "revoke")
	assertion := cli("", "token", "assert", "--key-file", write("key", accessKey))
	grant := cli("", "token", "assert", "--grant", "--key-file", write("key", accessKey))
	for _, form := range []url.Values{ // once for good, then again, then in each other's place
		{"grant_type": {"client_credentials"}, "client_assertion_type": {clientauth.AssertionType}, "client_assertion": {assertion}},
		{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {grant}},
		{"grant_type": {"client_credentials"}, "client_assertion_type": {clientauth.AssertionType}, "client_assertion": {assertion}},
		{"grant_type": {"client_credentials"}, "client_assertion_type": {clientauth.AssertionType}, "client_assertion": {grant}},
		{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}},
		{"grant_type": {"client_credentials"}, "client_secret": {assertion}},
	} {
		resp, err := http.PostForm("http://"+httpAddr+"/oauth/token", form)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	// Wrong ones, too: errors are the likelier leak.
	other := strings.Replace(apiKey, "khs_orders_", "khs_nobody_", 1)
	for _, args := range [][]string{
		{"token", "request", "--secret-file", write("secret", other)},
		{"token", "request", "--secret-file", write("secret", apiKey+"x")},
		{"token", "mint", "--key-file", write("key", accessKey[:len(accessKey)-1]), "--audience", "https://billing"},
		{"token", "request", "--key-file", write("key", strings.Replace(accessKey, "orders.", "nobody.", 1))},
	} {
		out, errs, err := runCLI("", args...)
		if err == nil {
			t.Errorf("%v succeeded", args)
		}
		said.WriteString(out + errs)
	}
	admin, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	said.WriteString(p.err.String())
	if !strings.Contains(said.String(), `"level":"debug"`) || !strings.Contains(said.String(), "audit") {
		t.Fatal("nothing was logged: the test would prove nothing")
	}

	secrets := map[string][]string{
		"API key": forms([]byte(apiKey[strings.LastIndexByte(apiKey[:len(apiKey)-7], '_')+1 : len(apiKey)-7])),
	}
	for what, text := range map[string]string{"access key": accessKey, "rotated access key": rotated, "admin's access key": string(admin)} {
		key, err := events.ParseAccessKey(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets[what] = append(forms(key.Private().Seed()), text[strings.LastIndexByte(text, '.')+1:][:40])
	}
	for what, token := range map[string]string{"offline token": offline, "online token": online, "token by API key": byAPIKey,
		"client assertion": assertion, "assertion of a grant": grant} {
		secrets[what] = []string{token[strings.LastIndexByte(token, '.')+1:]}
	}
	lookFor := func(where string, text []byte) {
		for what, forms := range secrets {
			for _, form := range forms {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("the %s is in %s", what, where)
				}
			}
		}
	}
	lookFor("what was logged and printed", []byte(said.String()))
	files := 0
	err = filepath.WalkDir(filepath.Join(dir, "nats", "store"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		lookFor(path, text)
		if strings.HasSuffix(path, ".blk") && bytes.Contains(text, []byte("issuer.orders")) {
			secrets["control"] = nil // the records themselves can be found: nothing is compressed or encrypted
		}
		return err
	})
	if _, seen := secrets["control"]; err != nil || !seen {
		t.Fatalf("looked at %d files and did not find the records: %v", files, err)
	}
}
