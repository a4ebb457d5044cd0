package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// process is a keyherald serve.
type process struct {
	cmd  *exec.Cmd
	err  eventstest.Log
	done chan struct{}
}

func startServe(t *testing.T, dir, httpAddr, natsAddr string) *process {
	t.Helper()
	p := startProcess(t, "serve", "--data", dir, "--http", httpAddr, "--nats-listen", natsAddr)
	p.waitReady(t, httpAddr)
	return p
}

// startProcess starts keyherald, until the test ends.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("keyherald", args...), done: make(chan struct{})}
	p.cmd.Stderr = &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // it is killed: the error says so
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) waitReady(t *testing.T, httpAddr string) {
	t.Helper()
	if err := waitReady(t.Context(), "http://"+httpAddr); err != nil {
		p.kill()
		t.Fatalf("%v\n%s", err, p.err.String())
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // fails only when the process has ended
	<-p.done
}

// writer puts keys one after the other and remembers those that were acknowledged.
type writer struct {
	mu    sync.Mutex
	acked map[events.KeyID]uint64
}

func (w *writer) run(ctx context.Context, conn *bus.Conn, id int) {
	for n := 0; ctx.Err() == nil; n++ {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			panic(err) // the system has no random numbers
		}
		kid := events.KeyID(fmt.Sprintf("w%d-%d-%d", id, n, rand.Uint32()))
		value, err := (&events.Key{Algorithm: events.EdDSA, Public: public}).Encode(kid)
		if err != nil {
			panic(err)
		}
		put, cancel := context.WithTimeout(ctx, 2*time.Second)
		revision, err := conn.Put(put, bus.Put{Bucket: bus.Keys, Name: events.KeyRecord("orders", kid).String(), Value: value})
		cancel()
		if err == nil {
			w.mu.Lock()
			w.acked[kid] = revision
			w.mu.Unlock()
		}
	}
}

// TestP2_KillingTheServerLosesNothingAcknowledged kills serve again and again while keys are written. Every key whose write was
// acknowledged must be there in the end, for a node that starts then and for a verifier that was connected all the
// time, and nobody repairs anything in between.
func TestP2_KillingTheServerLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "d")
	httpAddr := eventstest.FreeAddress(t)
	natsAddr := eventstest.FreeAddress(t)
	p := startServe(t, dir, httpAddr, natsAddr)
	seed := func(role bus.Role) string { return filepath.Join(dir, "nats", string(role)+".nk") }
	url := "nats://" + natsAddr
	v, err := verifier.Connect(t.Context(), verifier.Config{NATS: url, SeedFile: seed(bus.Verifier), Audience: "https://billing"})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: url, SeedFile: seed(bus.Operator)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithCancel(t.Context())
	w := &writer{acked: map[events.KeyID]uint64{}}
	var writers sync.WaitGroup
	for id := range 4 {
		writers.Go(func() { w.run(ctx, conn, id) })
	}
	const kills = 5
	for range kills {
		w.mu.Lock()
		before := len(w.acked)
		w.mu.Unlock()
		// Not before some writes were acknowledged in this life, then at any moment.
		for deadline := time.Now().Add(patience); ; {
			w.mu.Lock()
			written := len(w.acked) - before
			w.mu.Unlock()
			if written > 20 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("only %d writes were acknowledged in %s", written, patience)
			}
			time.Sleep(rand.N(20 * time.Millisecond)) // between two looks
		}
		p.kill()
		p = startServe(t, dir, httpAddr, natsAddr)
	}
	stop()
	writers.Wait()

	keys := conn.FollowKeys(zerolog.Nop())
	defer keys.Close()
	wait, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := keys.Wait(wait); err != nil {
		t.Fatal(err)
	}
	fresh := keys.Keys()
	var last uint64
	for kid, revision := range w.acked {
		if e := fresh.Key("orders", kid); e == nil || e.Revision != revision {
			t.Errorf("key %s was acknowledged at revision %d and is not there: %+v", kid, revision, e)
		}
		last = max(last, revision)
	}
	for deadline := time.Now().Add(patience); v.Status().Revision < last; {
		if time.Now().After(deadline) {
			t.Fatalf("the connected verifier stays at %+v, the last key is at revision %d", v.Status(), last)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	t.Logf("%d kills, %d acknowledged writes, none lost", kills, len(w.acked))
}
