package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// nodesIssuer is the issuer of all nodes of a test: each listens somewhere else, as behind a load balancer.
const nodesIssuer = "https://auth.example.com"

// issuerNode is one process of the token service on a foreign NATS.
type issuerNode struct {
	*process
	addr string
}

// startNode starts a node with an issuer's credential, and waits until it is ready.
func startNode(t *testing.T, f *foreign, args ...string) *issuerNode {
	t.Helper()
	n := launchNode(t, f, args...)
	n.waitReady(t, n.addr)
	return n
}

func launchNode(t *testing.T, f *foreign, args ...string) *issuerNode {
	t.Helper()
	addr := eventstest.FreeAddress(t)
	return &issuerNode{startProcess(t, nodeArgs(f, addr, args...)...), addr}
}

func nodeArgs(f *foreign, addr string, args ...string) []string {
	return append([]string{"serve", "--nats", f.url, "--nkey", f.key(bus.Issuer), "--http", addr, "--issuer", nodesIssuer}, args...)
}

// withRegistry are the flags of a node that may write records.
func (f *foreign) withRegistry(dir string) []string {
	return []string{"--registry-nkey", f.key(bus.Operator), "--data", dir}
}

// follow returns a live set of a foreign server, as a verifier.
func (f *foreign) follow(t *testing.T) *bus.KeySet {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: f.url, SeedFile: f.key(bus.Verifier)})
	if err != nil {
		t.Fatal(err)
	}
	keys := conn.FollowKeys(zerolog.Nop())
	t.Cleanup(func() { keys.Close(); conn.Close() })
	if err := keys.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return keys
}

func (f *foreign) verifier(t *testing.T) *verifier.Verifier {
	t.Helper()
	v, err := verifier.Connect(t.Context(), verifier.Config{NATS: f.url, SeedFile: f.key(bus.Verifier), Audience: "https://billing"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// ask sends a token request to a node. There is no token if the status is not 200.
func (n *issuerNode) ask(client *http.Client, params url.Values) (token string, status int, err error) {
	if !params.Has("grant_type") {
		params.Set("grant_type", "client_credentials")
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+n.addr+"/oauth/token", strings.NewReader(params.Encode()))
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	from := rand.Uint32() // for nodes that take us for a proxy: an address that fails too often is turned away
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.%d", from>>16&255, from>>8&255, from&255))
	resp, err := client.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", resp.StatusCode, fmt.Errorf("answer %q: %w", body, err)
	}
	if (resp.StatusCode == http.StatusOK) != (answer.AccessToken != "") || (answer.Error == "") != (answer.AccessToken != "") {
		return "", resp.StatusCode, fmt.Errorf("status %d with answer %q", resp.StatusCode, body)
	}
	return answer.AccessToken, resp.StatusCode, nil
}

// register makes a client with an API key by the command line.
func (f *foreign) register(t *testing.T, name string) (apiKey string) {
	t.Helper()
	at := []string{"--nats", f.url, "--nkey", f.key(bus.Operator)}
	for _, args := range [][]string{{"client", "create", name, "--scope", "billing:read", "--audience", "https://billing"}, {"secret", "add", name}} {
		out, errs, err := runCLI("", append(args, at...)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, errs)
		}
		apiKey = strings.TrimSpace(out)
	}
	return apiKey
}

func TestTwoFirstStartsAtOnceMakeOnePlatformAndOneAdmin(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	var nodes []*issuerNode
	for _, dir := range dirs {
		nodes = append(nodes, launchNode(t, f, f.withRegistry(dir)...))
	}
	for _, n := range nodes {
		n.waitReady(t, n.addr)
	}
	keys := f.follow(t)
	platform := keys.Keys().Platform()
	admin := keys.Keys().Keys(adminName)
	if platform == nil || platform.Record.Iss != nodesIssuer || platform.Record.Account == "" || len(admin) != 1 {
		t.Fatalf("the platform is %+v, the admin's keys are %v", platform, admin)
	}
	holder := -1
	for i, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "admin.key"))
		if err != nil {
			continue
		}
		key, err := events.ParseAccessKey(strings.TrimSpace(string(text)))
		if err != nil || holder >= 0 || !admin[0].Record.Public.(ed25519.PublicKey).Equal(key.Private().Public()) {
			t.Errorf("%s has an admin's key that is not the one: %v", dir, err)
		}
		holder = i
	}
	if holder < 0 {
		t.Error("no directory has the admin's key")
	}
	apiKey := f.register(t, "orders")
	v := f.verifier(t)
	for i, n := range nodes {
		eventstest.Eventually(t, fmt.Sprintf("node %d gives a token that verifies", i), func() bool {
			token, _, err := n.ask(http.DefaultClient, url.Values{"client_secret": {apiKey}})
			_, refused := v.Verify(token)
			return err == nil && refused == nil
		})
	}

	// Later starts change nothing.
	for i, n := range nodes {
		n.signal(t, syscall.SIGTERM, n.addr)
		n.wait(t)
		if said := strings.Contains(n.err.String(), "admin.key"); said != (i == holder) {
			t.Errorf("node %d tells where the admin's key is: %v\n%s", i, said, n.err.String())
		}
		nodes[i] = startNode(t, f, f.withRegistry(dirs[i])...)
	}
	if again := keys.Keys(); again.Platform().Revision != platform.Revision || len(again.Keys(adminName)) != 1 {
		t.Error("a later start has written the platform's or the admin's record again")
	}
}

func TestP6_ANodeThatCannotWorkSaysSoAtTheStart(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	empty := startWithRoles(t)
	startNode(t, f, f.withRegistry(filepath.Join(t.TempDir(), "d"))...)
	exposed := filepath.Join(t.TempDir(), "exposed.pem")
	if err := os.WriteFile(exposed, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	serve := func(f *foreign, args ...string) []string {
		return append([]string{"serve", "--nats", f.url, "--http", "127.0.0.1:0", "--issuer", nodesIssuer}, args...)
	}
	for name, test := range map[string]struct {
		args []string
		want []string
		code int
	}{
		"a verifier's credential": {serve(f, "--nkey", f.key(bus.Verifier)), []string{"needs a NATS credential of the role issuer", "hint: give it with --nkey or --creds"}, exitFailed},
		"no credential":           {serve(f), []string{"needs a NATS credential of the role issuer", "hint: give it with --nkey or --creds"}, exitFailed},
		"another server's":        {serve(f, "--nkey", empty.key(bus.Issuer)), []string{"the server refused the credential", "hint: "}, exitFailed},
		"an issuer's for the registry": {serve(f, "--nkey", f.key(bus.Issuer), "--registry-nkey", f.key(bus.Issuer)),
			[]string{"needs a NATS credential of the role operator", "hint: "}, exitFailed},
		"no buckets":        {serve(empty, "--nkey", empty.key(bus.Issuer)), []string{"keyherald init makes the buckets"}, exitFailed},
		"another issuer":    {append(serve(f, "--nkey", f.key(bus.Issuer)), "--issuer", "https://other.example.com"), []string{"made for the issuer " + nodesIssuer, "hint: start with --issuer " + nodesIssuer}, exitFailed},
		"an exposed key":    {serve(f, "--nkey", f.key(bus.Issuer), "--signing-key", exposed), []string{"permissions 0644", "hint: chmod 600"}, exitFailed},
		"no key file":       {serve(f, "--nkey", f.key(bus.Issuer), "--signing-key", exposed+".not"), []string{"reading the signing key", "no such file"}, exitFailed},
		"hasty rotation":    {serve(f, "--nkey", f.key(bus.Issuer), "--key-rotation", "1m"), []string{"--key-rotation 1m0s is less than 10m0s"}, exitUsage},
		"long-lived tokens": {serve(f, "--nkey", f.key(bus.Issuer), "--token-ttl", "2h"), []string{"--token-ttl 2h0m0s is not between"}, exitUsage},
	} {
		_, errs, err := runCLI("", test.args...)
		if exitOf(err) != test.code {
			t.Errorf("%s: %v, want exit %d\n%s", name, err, test.code, errs)
		}
		for _, want := range test.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %q is not in: %s", name, want, errs)
			}
		}
	}
	if out, errs, err := runCLI("", "init", "--nats", empty.url, "--nkey", empty.key(bus.Admin)); err != nil {
		t.Fatal(out, errs)
	}
	_, errs, err := runCLI("", serve(empty, "--nkey", empty.key(bus.Issuer))...)
	if exitOf(err) != exitFailed || !strings.Contains(errs, "no record of the platform") || !strings.Contains(errs, "hint: start once with an operator's credential") {
		t.Errorf("an empty registry: %v\n%s", err, errs)
	}
}

// TestP6_ANodeThatMayNotWriteItsKeyIsNotReady and says in its log why.
func TestP6_ANodeThatMayNotWriteItsKeyIsNotReady(t *testing.T) {
	t.Parallel()
	f := startWithRoles(t, func(config string) string {
		right := `"$KV.KEYS.key.platform.>"` + "\n"
		if strings.Count(config, right) != 1 {
			t.Fatalf("the right to write signing keys is not there once:\n%s", config)
		}
		return strings.Replace(config, right, "", 1)
	})
	if _, errs, err := runCLI("", "init", "--nats", f.url, "--nkey", f.key(bus.Admin)); err != nil {
		t.Fatal(errs)
	}
	n := launchNode(t, f, f.withRegistry(filepath.Join(t.TempDir(), "d"))...)
	eventstest.Eventually(t, "it has tried to write its key", func() bool { return strings.Contains(n.err.String(), "lease not written") })
	resp, err := http.Get("http://" + n.addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "could not be renewed") {
		t.Errorf("readyz: %v, %s %q", err, resp.Status, body)
	}
	n.signal(t, syscall.SIGTERM, n.addr)
	n.wait(t)
	if log := n.err.String(); !n.cmd.ProcessState.Success() || !strings.Contains(log, "does not allow it") {
		t.Errorf("log: %s", log)
	}
}

func TestANodeWhoseNATSGoesAwayStopsInTimeAndComesBackByItself(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	n := startNode(t, f, append(f.withRegistry(filepath.Join(t.TempDir(), "d")), "--max-staleness", "7s")...)
	apiKey := f.register(t, "orders")
	ask := func() int {
		_, status, err := n.ask(http.DefaultClient, url.Values{"client_secret": {apiKey}})
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	eventstest.Eventually(t, "the node gives tokens", func() bool { return ask() == http.StatusOK })
	f.stop()
	eventstest.Eventually(t, "the node answers 503, and nothing else before", func() bool {
		status := ask()
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("status %d", status)
		}
		return status == http.StatusServiceUnavailable
	})
	second := launchNode(t, f) // which finds no NATS when it starts
	eventstest.Eventually(t, "the second node waits for NATS", func() bool { return strings.Contains(second.err.String(), "waiting for nats") })
	f.start()
	eventstest.Eventually(t, "the node is back", func() bool { return ask() == http.StatusOK })
	second.waitReady(t, second.addr)
}

func TestNodesWithOneKeyFileShareItsLease(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	file := filepath.Join(t.TempDir(), "signing.pem")
	if out, err := exec.Command("openssl", "genpkey", "-algorithm", "ed25519", "-out", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	first := startNode(t, f, append(f.withRegistry(filepath.Join(t.TempDir(), "d")), "--signing-key", file, "--token-ttl", "5m", "--log-level", "debug")...)
	second := startNode(t, f, "--signing-key", file)
	apiKey := f.register(t, "orders")
	v, keys := f.verifier(t), f.follow(t)
	kid := ""
	var tokens []string
	for i, n := range []*issuerNode{first, second} {
		var text string
		eventstest.Eventually(t, fmt.Sprintf("node %d gives a token", i), func() bool {
			var err error
			text, _, err = n.ask(http.DefaultClient, url.Values{"client_secret": {apiKey}})
			return err == nil && text != ""
		})
		token, err := v.Verify(text)
		if err != nil || kid != "" && string(token.KeyID) != kid {
			t.Fatalf("node %d: %v, %+v, want kid %s", i, err, token, kid)
		}
		if want := []time.Duration{5 * time.Minute, 15 * time.Minute}[i]; token.Expires.Sub(token.IssuedAt) != want {
			t.Errorf("node %d: a token lives %v, want %v", i, token.Expires.Sub(token.IssuedAt), want)
		}
		kid, tokens = string(token.KeyID), append(tokens, text)
	}
	before := keys.Keys().Key(events.Platform, events.KeyID(kid))
	first.signal(t, syscall.SIGTERM, first.addr)
	first.wait(t)
	if err := keys.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	lookForKey(t, file, first.err.String())
	after := keys.Keys().Key(events.Platform, events.KeyID(kid))
	if after.Revision != before.Revision || time.Until(time.Unix(after.Record.Expires, 0)) < time.Hour {
		t.Errorf("a node that stopped has changed the lease from %+v to %+v", before.Record, after.Record)
	}
	text, _, err := second.ask(http.DefaultClient, url.Values{"client_secret": {apiKey}})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range append(tokens, text) {
		if _, err := v.Verify(token); err != nil {
			t.Error(err)
		}
	}
}

// lookForKey looks for the private key of a file in what a node has said.
func lookForKey(t *testing.T, file, said string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil || !strings.Contains(said, `"level":"debug"`) {
		t.Fatalf("%v, or nothing was logged: %s", err, said)
	}
	encoded := strings.Split(strings.TrimSpace(string(text)), "\n")[1]
	for _, form := range append(forms(key.(ed25519.PrivateKey).Seed()), encoded) {
		if strings.Contains(said, form) {
			t.Error("the private key is in the log")
		}
	}
}
