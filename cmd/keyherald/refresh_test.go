package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/refresh"
	"github.com/keyherald/keyherald/verifier"
)

// refreshNode is a keyherald serve on a NATS that others share.
type refreshNode struct{ *process }

func startRefreshNode(t *testing.T, s *eventstest.NATS, p *provider, httpAddr, issuer string) *refreshNode {
	t.Helper()
	n := &refreshNode{startProcess(t, "serve", "--http", httpAddr, "--issuer", issuer, "--log-level", "debug", "--data", t.TempDir(),
		"--nats", s.URL(), "--nkey", s.KeyFile(bus.Issuer), "--registry-nkey", s.KeyFile(bus.Operator),
		"--jwks-allow", "127.0.0.1/32", "--jwks-ca", p.ca)}
	t.Cleanup(n.stop)
	n.waitReady(t, httpAddr)
	return n
}

// stop is a clean stop.
func (n *refreshNode) stop() {
	_ = n.cmd.Process.Signal(os.Interrupt) // fails only when the process has ended
	<-n.done
}

// fetches counts what the node says that it has fetched.
func (n *refreshNode) fetches() int {
	return strings.Count(n.err.String(), `"message":"keys refreshed"`) + strings.Count(n.err.String(), `"message":"keys were not refreshed`)
}

// refreshFleet is a NATS with two nodes of the token service and some verifiers, and an identity provider somewhere else.
type refreshFleet struct {
	*eventstest.NATS
	t         *testing.T
	idp       *provider
	nodes     [2]*refreshNode
	verifiers []*verifier.Verifier
}

func startRefreshFleet(t *testing.T) *refreshFleet {
	t.Helper()
	f := &refreshFleet{NATS: eventstest.Server(t), t: t, idp: startProvider(t)}
	var addrs [2]string
	for i := range addrs {
		addrs[i] = eventstest.FreeAddress(t)
	}
	for i := range f.nodes {
		f.nodes[i] = startRefreshNode(t, f.NATS, f.idp, addrs[i], "http://"+addrs[0])
	}
	for range 3 {
		v, err := verifier.Connect(t.Context(), verifier.Config{
			NATS: f.URL(), SeedFile: f.KeyFile(bus.Verifier), Audience: "https://billing", Externals: []events.Name{"login"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		f.verifiers = append(f.verifiers, v)
	}
	return f
}

// keyherald runs an operator's command line.
func (f *refreshFleet) keyherald(args ...string) (out, err string, failed bool) {
	f.t.Helper()
	cmd := exec.Command("keyherald", append(args, "--nats", f.URL(), "--nkey", f.KeyFile(bus.Operator), "--timeout", "60s")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failed = cmd.Run() != nil
	return stdout.String(), stderr.String(), failed
}

// everywhere reports whether every verifier accepts a token, or none does.
func (f *refreshFleet) everywhere(token string, accepted bool) bool {
	for _, v := range f.verifiers {
		got, err := v.Verify(token)
		if (err == nil) != accepted || err == nil && (got.Subject != "user|anna" || got.Scope.String() != "billing:read") {
			return false
		}
	}
	return true
}

// fetchers returns the nodes that have fetched keys.
func (f *refreshFleet) fetchers() (who []int) {
	for i, n := range f.nodes {
		if n.fetches() > 0 {
			who = append(who, i)
		}
	}
	return who
}

// TestI21_UserTokensOfARotatingProviderVerifyEverywhereAndOneNodeFetches is the promise as a whole: a provider's rotation is followed by
// the whole fleet, with one poller, and no verifier ever fetches anything.
func TestI21_UserTokensOfARotatingProviderVerifyEverywhereAndOneNodeFetches(t *testing.T) {
	t.Parallel()
	f := startRefreshFleet(t)
	f.idp.rotate("2026-01")
	args := []string{"issuer", "add", "login", "--iss", f.idp.URL, "--use", "access_token", "--audience", "https://billing", "--scope", "billing:read"}
	if out, stderr, failed := f.keyherald(args...); !failed || !strings.Contains(stderr, "--jwks-allow") || out != "" {
		t.Fatalf("an issuer on loopback was found without leave: %s%s", out, stderr)
	}
	out, stderr, failed := f.keyherald(append(args, "--jwks-allow", "127.0.0.0/8", "--jwks-ca", f.idp.ca)...)
	if failed || out != "login\n" || !strings.Contains(stderr, "found its keys at "+f.idp.URL+"/keys") {
		t.Fatalf("issuer add: %s%s", out, stderr)
	}
	first := f.idp.token("2026-01")
	eventstest.Eventually(t, "a user's token verifies everywhere", func() bool { return f.everywhere(first, true) })

	// The provider rotates; nobody knows the new kid, until a token with it arrives somewhere.
	f.idp.rotate("2026-01", "key/2")
	second := f.idp.token("key/2")
	if _, err := f.verifiers[0].Verify(second); err == nil { // it asks for the key, which the others may have soon
		t.Fatal("a token verifies whose key nobody can have")
	}
	begun := time.Now()
	eventstest.Eventually(t, "the new key verifies everywhere", func() bool { return f.everywhere(second, true) && f.everywhere(first, true) })
	t.Logf("a token with a new kid was accepted everywhere after %s", time.Since(begun).Round(time.Millisecond))

	f.storm()

	// The old key is withdrawn, and dead everywhere.
	f.idp.rotate("key/2")
	eventstest.Eventually(t, "a refresh by hand finds one key", func() bool { // and not one that was under way
		_, stderr, failed := f.keyherald("issuer", "refresh", "login")
		return !failed && strings.Contains(stderr, "it publishes 1 usable key")
	})
	eventstest.Eventually(t, "the withdrawn key is refused everywhere", func() bool { return f.everywhere(first, false) && f.everywhere(second, true) })

	f.shown()
	who := f.fetchers()
	if len(who) != 1 {
		t.Fatalf("nodes %v have fetched", who)
	}
	eventstest.Eventually(t, "the node says of every time that it has asked the provider", func() bool {
		return f.nodes[who[0]].fetches() == f.idp.asked("/keys")
	})
	if agents := f.idp.agents(); len(agents) != 1 || !agents[refresh.UserAgent] {
		t.Errorf("the provider was asked by %v", agents)
	}
	f.takeOver(who[0])
}

// storm sends 10,000 tokens with kids that there are not to each verifier.
func (f *refreshFleet) storm() {
	f.t.Helper()
	before, begun := f.idp.asked("/keys"), time.Now()
	for i := range 10_000 {
		token := f.idp.token(fmt.Sprintf("made-up-%d", i))
		if !f.everywhere(token, false) {
			f.t.Fatal("a made-up kid verifies")
		}
	}
	eventstest.Eventually(f.t, "the reports are heard", func() bool { return f.idp.asked("/keys") > before })
	fetched, most := f.idp.asked("/keys")-before, int(time.Since(begun)/(10*time.Second))+3
	f.t.Logf("30,000 tokens with made-up kids made %d fetches in %s", fetched, time.Since(begun).Round(time.Millisecond))
	if fetched > most {
		f.t.Errorf("a storm made %d fetches, want at most %d", fetched, most)
	}
}

// shown checks what the operator is told.
func (f *refreshFleet) shown() {
	f.t.Helper()
	out, stderr, _ := f.keyherald("issuer", "show", "login")
	var r externalReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.JWKSURI != f.idp.URL+"/keys" || r.Keys != 1 || r.Refresh == nil ||
		r.Refresh.Success == nil || r.Refresh.Next == nil || r.Refresh.Keys != 1 || r.Refresh.Error != "" {
		f.t.Errorf("issuer show: %v\n%s%s", err, out, stderr)
	}
	if out, _, _ := f.keyherald("issuer", "list"); !strings.Contains(out, "REFRESHED") || !strings.Contains(out, "s ago") || !strings.Contains(out, f.idp.URL+"/keys") {
		f.t.Errorf("issuer list: %s", out)
	}
	f.idp.setDown(true)
	if _, stderr, failed := f.keyherald("issuer", "refresh", "login"); !failed || !strings.Contains(stderr, "status 500") || !strings.Contains(stderr, "those that are known stay") {
		f.t.Errorf("issuer refresh: %s", stderr)
	}
	if out, _, _ := f.keyherald("issuer", "list"); !strings.Contains(out, "FAILED") {
		f.t.Errorf("issuer list: %s", out)
	}
	if !f.everywhere(f.idp.token("key/2"), true) {
		f.t.Error("the keys of a provider that is down are gone")
	}
	f.idp.setDown(false)
}

// takeOver stops the node that fetches: the other one does it from then on.
func (f *refreshFleet) takeOver(holder int) {
	f.t.Helper()
	f.nodes[holder].stop()
	f.idp.rotate("key/2", "key/3")
	third := f.idp.token("key/3")
	eventstest.Eventually(f.t, "the other node fetches the next key", func() bool { return f.everywhere(third, true) })
	eventstest.Eventually(f.t, "the other node says so", func() bool { return f.nodes[1-holder].fetches() > 0 })
}
