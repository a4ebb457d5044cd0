package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestN_ConnectionCutWithWritesMeanwhile(t *testing.T) {
	n := startNode(t)
	n.proxy.Cut()
	eventstest.Eventually(t, "the node knows that it is cut off", func() bool { return n.set.Status().Keys.Err != nil })
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	n.Delete(bus.Keys, "key.orders.k1")
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive})
	n.proxy.Mend()
	n.agree()
	n.has("orders", map[events.KeyID]events.KeyState{"k2": events.KeyActive})
	if status := n.set.Status().Keys; status.Resyncs != 1 || status.Err != nil {
		t.Errorf("status is %+v, want it to have resumed", status)
	}
}

// TestN_FrozenConnection keeps a connection open on which nothing passes. Nobody says so: the node has to notice.
func TestN_FrozenConnection(t *testing.T) {
	n := startNode(t)
	n.agree()
	before := n.set.Status().Keys.Gaps
	n.proxy.Freeze()
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	// A confirmation may have been on its way. Later than that there is none.
	frozen := time.Now()
	eventstest.Eventually(t, "the node has noticed the silence", func() bool { return n.set.Status().Keys.Gaps > before })
	if c := n.set.Confirmed(); c.After(frozen) {
		t.Errorf("confirmed %s after everything was frozen", c.Sub(frozen))
	}
	if age := time.Since(n.set.Confirmed()); age < 3*bus.Heartbeat {
		t.Errorf("confirmed %s ago, and nothing has passed for longer", age)
	}
	n.proxy.Mend()
	n.agree()
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive, "k2": events.KeyActive})
}

func TestN_AnswersThatNeverCome(t *testing.T) {
	n := startNode(t)
	before := n.set.Status().Keys.Gaps
	n.proxy.Mute()
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	eventstest.Eventually(t, "the node has noticed the silence", func() bool { return n.set.Status().Keys.Gaps > before })
	n.proxy.Mend()
	n.agree()
}

func TestN_ServerRestartsWhileTheNodeIsFrozenOut(t *testing.T) {
	n := startNode(t)
	n.proxy.Freeze()
	n.Stop()
	n.Start()
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	n.proxy.Mend()
	n.agree()
}

// TestN_NodeStartsBeforeItsServer covers a node that has never been connected.
func TestN_NodeStartsBeforeItsServer(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	server.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	server.Stop()
	done := make(chan error, 1)
	go func() {
		conn, err := bus.Connect(t.Context(), bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Verifier), Wait: true})
		if err == nil {
			defer conn.Close()
			set := conn.FollowKeys(zerolog.Nop())
			defer set.Close()
			err = set.Wait(t.Context())
		}
		done <- err
	}()
	server.Start()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(eventstest.Patience):
		t.Error("the node does not find its server")
	}
}

// TestN_AnImpatientFeedAsksAgainSoon has a server of which no one answers what is asked about the bucket.
func TestN_AnImpatientFeedAsksAgainSoon(t *testing.T) {
	t.Parallel()
	nobody, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	nobody.Start()
	t.Cleanup(func() { nobody.Shutdown(); nobody.WaitForShutdown() })
	connect := func(impatient bool) *bus.Conn {
		ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
		defer cancel()
		conn, err := bus.Connect(ctx, bus.Config{URL: nobody.ClientURL(), Wait: true, Impatient: impatient})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return conn
	}
	questions := make(chan time.Time, 100)
	ear := connect(false).JetStream().Conn()
	if _, err := ear.Subscribe("$JS.API.STREAM.INFO."+bus.Keys.Stream(), func(*nats.Msg) { questions <- time.Now() }); err != nil {
		t.Fatal(err)
	}
	if err := ear.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, impatient := range []bool{false, true} {
		set := connect(impatient).FollowKeys(zerolog.Nop())
		shortest, last := time.Hour, <-questions
		for range 3 { // of which the best counts: the machine may be busy
			at := <-questions
			shortest, last = min(shortest, at.Sub(last)), at
			if !impatient {
				break
			}
		}
		set.Close()
		if soon := shortest < 4*time.Second; soon != impatient {
			t.Errorf("impatient: %t, and it asks again after %s", impatient, shortest)
		}
	}
}
