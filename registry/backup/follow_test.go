package backup_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/backup"
	"github.com/keyherald/keyherald/verifier"
)

// office makes a registry on the server.
func (w *world) office() *registry.Registry {
	w.t.Helper()
	keys := w.conn.FollowKeys(zerolog.Nop())
	w.t.Cleanup(keys.Close)
	if err := keys.Wait(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	reg, err := registry.New(registry.Config{Store: w.conn, Keys: keys})
	if err != nil {
		w.t.Fatal(err)
	}
	return reg
}

// TestF_ALiveVerifierConvergesAndAcceptsNothingRevoked restores a backup, made before some keys were revoked, over the buckets that a
// verifier follows. Meanwhile that is asked about the tokens again and again.
func TestF_ALiveVerifierConvergesAndAcceptsNothingRevoked(t *testing.T) {
	t.Parallel()
	w, by := start(t), registry.Caller{Name: "tester"}
	reg, ctx := w.office(), t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tokens := map[string]string{}
	client := func(name string) events.KeyID {
		t.Helper()
		_, err := reg.CreateClient(ctx, by, events.Name(name), registry.ClientSpec{Audience: []string{"https://billing"}, Offline: true})
		must(err)
		key, err := reg.AddKey(ctx, by, events.Name(name), registry.KeySpec{})
		must(err)
		minter, err := mint.FromAccessKey(*key.AccessKey, "https://auth.example.com")
		must(err)
		tokens[name], err = minter.Token(mint.Request{Audience: []string{"https://billing"}})
		must(err)
		return key.KeyID
	}
	stays, revoked := client("stays"), client("revoked")
	client("disabled")
	client("deleted")
	client("token")
	for i := range 200 { // so that a restore takes its time
		w.Write(bus.Keys, fmt.Sprintf("issuer.filler%d", i), clientJSON())
	}
	file := w.save()

	v, err := verifier.Connect(ctx, verifier.Config{NATS: w.URL(), SeedFile: w.KeyFile(bus.Verifier), Audience: "https://billing"})
	must(err)
	t.Cleanup(v.Close)
	client("new")
	_, err = reg.RevokeKey(ctx, by, "revoked", revoked, "leaked")
	must(err)
	_, err = reg.DisableClient(ctx, by, "disabled")
	must(err)
	tok, err := v.Verify(tokens["token"])
	must(err)
	_, err = reg.RevokeToken(ctx, by, events.TokenByID("https://auth.example.com/v1/clients/token", tok.ID), time.Now().Add(time.Hour), "")
	must(err)
	w.Delete(bus.Keys, "issuer.deleted")
	for i := range 200 {
		w.Delete(bus.Keys, fmt.Sprintf("issuer.filler%d", i))
	}
	accepts := func(name string) bool { _, err := v.Verify(tokens[name]); return err == nil }
	refuses := func(name string) bool { _, err := v.Verify(tokens[name]); return errors.Is(err, verifier.ErrInvalid) }
	for _, name := range []string{"revoked", "disabled", "token", "deleted"} {
		eventstest.Eventually(t, "the token of "+name+" is refused", func() bool { return refuses(name) })
	}
	eventstest.Eventually(t, "the token of new is accepted", func() bool { return accepts("new") })

	during, done := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		for during.Err() == nil {
			for _, name := range []string{"revoked", "disabled", "token"} {
				if accepts(name) {
					t.Errorf("the token of %s was accepted", name)
					return
				}
			}
			if !accepts("stays") {
				t.Errorf("the token of a client that did not change was not accepted")
				return
			}
		}
	})
	plan := w.restore(file, backup.Options{})
	eventstest.Eventually(t, "the deleted client is back", func() bool { return accepts("deleted") })
	eventstest.Eventually(t, "the new client is gone", func() bool { return refuses("new") })
	done()
	asking.Wait()
	want := []string{
		"issuer.disabled: disabled", "revoked.revoked." + string(revoked) + ": key revoked for ever",
	}
	for _, line := range want {
		found := false
		for _, n := range names(plan.Kept) {
			found = found || n == line
		}
		if !found {
			t.Errorf("kept is %q, without %q", names(plan.Kept), line)
		}
	}
	if _, err := reg.RevokeKey(ctx, by, "stays", stays, ""); err != nil { // it follows on
		t.Fatal(err)
	}
	eventstest.Eventually(t, "a change after the restore is followed", func() bool { return refuses("stays") })
}
