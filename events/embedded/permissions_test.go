package embedded_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_P6_NobodyCanDoMoreThanTheirRole tries it with the roles' own keys, and with users.
func TestN_P6_NobodyCanDoMoreThanTheirRole(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	var holders []eventstest.Holder
	for _, role := range bus.Roles() {
		holders = append(holders, holder(t, string(role), role, s.KeyFile(role), s.InboxPrefix(role)))
	}
	for name, role := range map[string]bus.Role{"billing": bus.Verifier, "stock": bus.Verifier, "node2": bus.Issuer, "deploy": bus.Operator} {
		p := addUser(t, dir, name, role, true)
		holders = append(holders, holder(t, name, role, p.file(t), bus.InboxPrefix(p.Nkey)))
	}
	eventstest.Permissions(t, s.URL(), holders)
}

func holder(t *testing.T, name string, role bus.Role, file, inbox string) eventstest.Holder {
	t.Helper()
	login, err := nats.NkeyOptionFromSeed(file)
	if err != nil {
		t.Fatal(err)
	}
	return eventstest.Holder{Name: name, Role: role, Login: login, Inbox: inbox}
}

// A verifier's whole day with the KV client of nats.go: bind, read, and watch more than fits into one flow control window.
func TestN_VerifierFollowsABucketWithItsOwnInbox(t *testing.T) {
	s := start(t, embedded.Config{})
	operator := connect(t, s, bus.Operator)
	const records = 400
	value := strings.Repeat("x", 16<<10)
	for i := range records {
		operator.put(t, bus.Keys, fmt.Sprintf("key.orders.k%d", i), value)
	}
	verifier := connect(t, s, bus.Verifier)
	js, err := verifier.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue("KEYS")
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := kv.Get("key.orders.k7"); err != nil || string(entry.Value()) != value {
		t.Errorf("get: %v", err)
	}
	watcher, err := kv.WatchAll(nats.IncludeHistory())
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(2 * patience)
	for seen := 0; seen < records; seen++ {
		select {
		case entry := <-watcher.Updates():
			if entry == nil || entry.Revision() != uint64(seen+1) {
				t.Fatalf("after %d: %v", seen, entry)
			}
		case msg := <-verifier.refused:
			t.Fatalf("after %d: %s", seen, msg)
		case <-deadline:
			t.Fatalf("only %d of %d arrived", seen, records)
		}
	}
}

func TestN_IssuerUsesAssertionsWithoutReadingThem(t *testing.T) {
	s := start(t, embedded.Config{})
	issuer := connect(t, s, bus.Issuer)
	use := func() error {
		_, err := issuer.js.Publish(t.Context(), "$KV.ASSERTIONS.abc", nil, jetstream.WithExpectLastSequencePerSubject(0))
		return err
	}
	if err := use(); err != nil {
		t.Errorf("first use: %v", err)
	}
	var api *jetstream.APIError
	if err := use(); !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence {
		t.Errorf("second use: %v", err)
	}
	if err := issuer.Publish("$JS.API.STREAM.INFO.KV_ASSERTIONS", nil); err != nil {
		t.Fatal(err)
	}
	mustContain(t, issuer.refusal(t), `Permissions Violation for Publish to "$JS.API.STREAM.INFO.KV_ASSERTIONS"`)
}
