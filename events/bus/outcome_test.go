package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// outcome is how a write ended.
type outcome struct {
	revision uint64
	err      error
	late     bool // not before its context
}

// lostWrite sends a write on a connection that loses it, or the answer, and returns a channel with what becomes of it.
func lostWrite(t *testing.T, conn *bus.Conn, p bus.Put) <-chan outcome {
	done := make(chan outcome, 1)
	ctx := soon(t)
	go func() {
		revision, err := conn.Put(ctx, p)
		done <- outcome{revision, err, ctx.Err() != nil}
	}()
	return done
}

// TestN_WritesThatGotLost has the writes that never arrive, and the roles and buckets in which less can be found out. What arrives and is not
// acknowledged is in TestN_AWriteWhoseAnswerGetsLostIsFound.
func TestN_WritesThatGotLost(t *testing.T) {
	t.Parallel()
	const name = "key.platform.n1"
	cas := nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}}
	for what, c := range map[string]struct {
		role      bus.Role
		bucket    bus.Bucket
		arrives   bool
		meanwhile func(*eventstest.NATS)
		want      error
		writes    uint64 // messages in the end
	}{
		"nobody else has written": {role: bus.Operator, bucket: bus.Keys, writes: 1},
		"another has written": {role: bus.Operator, bucket: bus.Keys, want: bus.ErrConflict, writes: 1,
			meanwhile: func(n *eventstest.NATS) { n.Write(bus.Keys, name, "theirs") }},
		"another has replaced the same": {role: bus.Issuer, bucket: bus.Keys, want: bus.ErrConflict, writes: 1,
			meanwhile: func(n *eventstest.NATS) { n.Publish(bus.Keys, name, "theirs", cas) }},
		"another has followed, and this role cannot see it": {role: bus.Issuer, bucket: bus.Keys, arrives: true, want: bus.ErrUnknownOutcome, writes: 2,
			meanwhile: func(n *eventstest.NATS) { n.Write(bus.Keys, name, "theirs") }},
		"it has arrived, and this role may see the last message": {role: bus.Issuer, bucket: bus.Keys, arrives: true, writes: 1},
		"it has arrived, and this role may not read the bucket":  {role: bus.Issuer, bucket: bus.Assertions, arrives: true, want: bus.ErrUnknownOutcome, writes: 1},
		"another has followed, and the bucket has no history": {role: bus.Operator, bucket: bus.Usage, arrives: true, want: bus.ErrUnknownOutcome, writes: 2,
			meanwhile: func(n *eventstest.NATS) { n.Write(bus.Usage, name, "theirs") }},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := eventstest.Server(t)
			proxy := eventstest.NewProxy(t, n.URL())
			conn, beside := n.ConnectAt(proxy.URL(), c.role), n.Connect(bus.Operator)
			if _, err := conn.Get(t.Context(), bus.Keys, name); !errors.Is(err, bus.ErrNotFound) {
				t.Fatal(err)
			}
			lose := proxy.Deafen
			if c.arrives {
				lose = proxy.Mute
			}
			lose()
			done := lostWrite(t, conn, bus.Put{Bucket: c.bucket, Name: name, Value: []byte("ours")})
			if c.arrives {
				eventstest.Eventually(t, "the write has arrived", func() bool {
					_, err := beside.Get(t.Context(), c.bucket, name)
					return err == nil
				})
			} else {
				select { // it is on its way to nowhere
				case o := <-done:
					t.Fatalf("the write ended with %+v", o)
				case <-time.After(100 * time.Millisecond):
				}
			}
			if c.meanwhile != nil {
				c.meanwhile(n)
			}
			proxy.Mend()
			o := <-done
			if !errors.Is(o.err, c.want) || c.want == nil && o.revision != 1 || o.late {
				t.Errorf("the write ended with %+v, want %v", o, c.want)
			}
			if errors.Is(o.err, bus.ErrConflict) && errors.Is(o.err, bus.ErrUnknownOutcome) {
				t.Error("the error says two things")
			}
			e, err := beside.Get(soon(t), c.bucket, name)
			if err != nil || e.Revision != c.writes {
				t.Errorf("the last message is %+v (%v), want revision %d", e, err, c.writes)
			}
		})
	}
}

// quickly is less than the time after which a request is given up.
const quickly = 4 * time.Second

func TestN_RefusalsAreQuick(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	verifier, issuer, operator, closed := n.Connect(bus.Verifier), n.Connect(bus.Issuer), n.Connect(bus.Operator), n.Connect(bus.Operator)
	closed.Close()
	for what, c := range map[string]struct {
		do   func() error
		want error
	}{
		"a verifier that writes": {func() error {
			_, err := verifier.Put(soon(t), put("key.orders.k1", "a", 0))
			return err
		}, bus.ErrPermission},
		"an issuer node that registers": {func() error {
			_, err := issuer.Put(soon(t), put("issuer.orders", "a", 0))
			return err
		}, bus.ErrPermission},
		"a verifier that reads clients": {func() error {
			_, err := verifier.Get(soon(t), bus.Clients, "orders")
			return err
		}, bus.ErrPermission},
		"a verifier that watches clients": {func() error {
			w, err := verifier.Source(bus.Clients).Watch(t.Context(), 0)
			if err == nil {
				w.Stop()
			}
			return err
		}, bus.ErrPermission},
		"a write on a closed connection": {func() error {
			_, err := closed.Put(soon(t), put("key.orders.k1", "a", 0))
			return err
		}, bus.ErrUnreachable},
		"a reading of a closed connection": {func() error {
			_, err := closed.Get(t.Context(), bus.Keys, "key.orders.k1")
			return err
		}, bus.ErrUnreachable},
		"a watch on a closed connection": {func() error {
			_, err := closed.Source(bus.Keys).Watch(t.Context(), 0)
			return err
		}, bus.ErrUnreachable},
		"a write that nobody waits for": {func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := operator.Put(ctx, put("key.orders.k1", "a", 0))
			return err
		}, context.Canceled},
	} {
		took := time.Hour
		for range 3 { // of which the best counts: the machine may be busy
			began := time.Now()
			if err := c.do(); !errors.Is(err, c.want) || errors.Is(err, bus.ErrUnknownOutcome) {
				t.Errorf("%s: %v, want %v", what, err, c.want)
			}
			took = min(took, time.Since(began))
		}
		if took > quickly {
			t.Errorf("%s: it took %s", what, took)
		}
	}
	if _, err := operator.Get(t.Context(), bus.Keys, "key.orders.k1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("something was written (%v)", err)
	}
}

func TestN_WriteWithoutAConnectionIsRefusedQuickly(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	proxy := eventstest.NewProxy(t, n.URL())
	conn := n.ConnectAt(proxy.URL(), bus.Operator)
	proxy.Cut()
	eventstest.Eventually(t, "the connection is known to be lost", func() bool {
		select {
		case <-conn.Connected():
			return false
		default:
			return true
		}
	})
	began := time.Now()
	_, err := conn.Put(soon(t), put("key.orders.k1", "a", 0))
	if !errors.Is(err, bus.ErrUnreachable) || errors.Is(err, bus.ErrUnknownOutcome) {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(began); took > quickly {
		t.Errorf("it took %s", took)
	}
	proxy.Mend()
	<-conn.Connected()
	if _, err := conn.Get(soon(t), bus.Keys, "key.orders.k1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("it was sent later (%v)", err)
	}
}

func TestUpdateDecides(t *testing.T) {
	t.Parallel()
	conn := eventstest.Server(t).Connect(bus.Operator)
	refusal := errors.New("no")
	var seen []events.Entry
	update := func(d bus.Decision, err error) (uint64, error) {
		return conn.Update(soon(t), bus.Keys, "key.orders.k1", "test", func(e events.Entry) (bus.Decision, error) {
			seen = append(seen, e)
			return d, err
		})
	}
	if revision, err := update(bus.Decision{}, nil); revision != 0 || err != nil {
		t.Errorf("nothing was to be written: %d, %v", revision, err)
	}
	if revision, err := update(bus.Decision{}, refusal); revision != 0 || err != refusal {
		t.Errorf("it was refused: %d, %v", revision, err)
	}
	if revision, err := update(bus.Decision{Value: []byte("a")}, nil); revision != 1 || err != nil {
		t.Errorf("it was to be written: %d, %v", revision, err)
	}
	if revision, err := update(bus.Decision{}, nil); revision != 1 || err != nil {
		t.Errorf("it was to be left: %d, %v", revision, err)
	}
	for i, e := range seen {
		if want := uint64(i / 3); e.Name != "key.orders.k1" || e.Revision != want {
			t.Errorf("decision %d was shown %+v", i, e)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := conn.Update(ctx, bus.Keys, "key.orders.k1", "test", func(events.Entry) (bus.Decision, error) {
		cancel() // and nobody waits any more
		return bus.Decision{Value: []byte("b")}, nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, bus.ErrUnknownOutcome) {
		t.Errorf("error is %v", err)
	}
}
