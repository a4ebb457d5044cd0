package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_WhatAWriterCanStore stores what looks like something else. It is applied as a message, in its place, and nothing else.
func TestN_WhatAWriterCanStore(t *testing.T) {
	n := startNode(t)
	long := strings.Repeat("n", 3000)
	for name, c := range map[string]struct {
		name, value string
		header      nats.Header
		want        string // of the rejection; empty: none
	}{
		"a heartbeat": {"issuer.heartbeat", "", nats.Header{
			"Status": {"100"}, "Description": {"Idle Heartbeat"}, "Nats-Last-Consumer": {"1"}, "Nats-Last-Stream": {"999999"},
		}, "not an object"},
		"flow control":  {"issuer.flow", "", nats.Header{"Status": {"100"}, "Description": {"FlowControl Request"}}, "not an object"},
		"a stalled one": {"issuer.stalled", "", nats.Header{"Status": {"100"}, "Nats-Consumer-Stalled": {"$KV.KEYS.issuer.x"}}, "not an object"},
		"no responders": {"issuer.nobody", "", nats.Header{"Status": {"503"}}, "not an object"},
		"a long name":   {"issuer." + long, "{}", nil, "is not 1 to 64"},
		"an odd name":   {"a", "{}", nil, "not a name of KEYS"},
		"a short name":  {"issuer", "{}", nil, "is not 1 to 64"},
		"nothing":       {"issuer.nothing", "", nil, "not an object"},
	} {
		revision := n.Publish(bus.Keys, c.name, c.value, c.header)
		n.applied(revision)
		rejected := n.set.Keys().Rejected()
		i := slices.IndexFunc(rejected, func(r events.Rejected) bool { return r.Revision == revision })
		if i < 0 {
			t.Errorf("%s is not reported", name)
			continue
		}
		if r := rejected[i]; r.Name != c.name || !strings.Contains(r.Reason, c.want) || r.Caller != events.UnknownCaller {
			t.Errorf("%s is reported as %+v, want reason %q", name, r, c.want)
		}
	}
	status := n.set.Status().Keys
	if status.Gaps != 0 || status.Resyncs != 1 {
		t.Errorf("status is %+v", status)
	}
	n.agree()
}

func TestN_MarkersOfTheCommandLineRemove(t *testing.T) {
	n := startNode(t)
	for _, header := range []nats.Header{{"KV-Operation": {"DEL"}}, {"KV-Operation": {"PURGE"}}, {"Nats-Marker-Reason": {"MaxAge"}}} {
		n.applied(n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1)))
		n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive})
		revision := n.Publish(bus.Keys, "key.orders.k1", "", header)
		n.applied(revision)
		n.has("orders", map[events.KeyID]events.KeyState{})
		e, err := n.conn.Get(t.Context(), bus.Keys, "key.orders.k1")
		if err != nil || !e.Deleted || e.Revision != revision {
			t.Errorf("with %v: read back %+v, %v", header, e, err)
		}
	}
	if n := len(n.set.Keys().Rejected()); n != 0 {
		t.Errorf("%d records are rejected", n)
	}
	n.agree()
}

func TestCallerIsReadBackThroughTheFeed(t *testing.T) {
	n := startNode(t)
	changes := n.set.Subscribe(10)
	defer changes.Close()
	operator := n.Connect(bus.Operator)
	for _, c := range []struct{ caller, want string }{
		{"cli:alice@laptop", "cli:alice@laptop"},
		{"", events.UnknownCaller},
		{"\x1b[31mred\x1b[0m\u202e", "[31mred[0m"},
		{strings.Repeat("é", 200), strings.Repeat("é", 128)},
	} {
		header := nats.Header{}
		if c.caller != "" {
			header.Set("Keyherald-Caller", c.caller)
		}
		n.Publish(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1), header)
		if have := (<-changes.C()).Caller; have != c.want {
			t.Errorf("caller %q is read as %q, want %q", c.caller, have, c.want)
		}
		p := bus.Put{Bucket: bus.Keys, Name: "issuer.orders", Value: []byte(`{"type":"client","status":"disabled"}`), Caller: c.caller}
		e, err := operator.Get(t.Context(), bus.Keys, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		p.Replaces = e.Revision
		if _, err := operator.Put(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if have := (<-changes.C()).Caller; have != c.want {
			t.Errorf("caller %q is written as %q, want %q", c.caller, have, c.want)
		}
	}
}

func TestN_SlowListenerIsDroppedAndTold(t *testing.T) {
	n := startNode(t)
	slow, quick := n.set.Subscribe(3), n.set.Subscribe(100)
	var last uint64
	for i := range 10 {
		last = n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1, fmt.Sprintf(`"iat":%d`, i+1)))
	}
	n.applied(last) // and nobody has waited for the slow one
	heard := 0
	for range slow.C() {
		heard++
	}
	if heard != 3 || !slow.Slow() {
		t.Errorf("the slow listener heard %d changes, and is told %v", heard, slow.Slow())
	}
	for i := range 10 {
		if c := <-quick.C(); c.Name != "key.orders.k1" {
			t.Errorf("change %d is %+v", i, c)
		}
	}
	quick.Close()
	quick.Close()
	if _, open := <-quick.C(); open || quick.Slow() {
		t.Error("a listener that was closed is open, or slow")
	}
	n.set.Close()
	late := n.set.Subscribe(1)
	if _, open := <-late.C(); open {
		t.Error("a closed set has a listener")
	}
}

// early is a source whose consumer always says that it has nothing more to send.
type early struct{ bus.Source }

type earlyWatch struct {
	bus.Watch
	deliveries chan bus.Delivery
	done       chan struct{}
}

func (s early) Watch(ctx context.Context, from uint64) (bus.Watch, error) {
	w, err := s.Source.Watch(ctx, from)
	if err != nil {
		return nil, err
	}
	lying := &earlyWatch{w, make(chan bus.Delivery), make(chan struct{})}
	go lying.run()
	return lying, nil
}

func (w *earlyWatch) run() {
	for {
		select {
		case d := <-w.Watch.Deliveries():
			d.Pending = 0
			select {
			case w.deliveries <- d:
			case <-w.done:
				return
			}
		case <-w.done:
			return
		}
	}
}

func (w *earlyWatch) Deliveries() <-chan bus.Delivery { return w.deliveries }
func (w *earlyWatch) Stop()                           { close(w.done); w.Watch.Stop() }

func TestN_EarlyEndMarkerIsNotBelieved(t *testing.T) {
	n := startNode(t)
	const keys = 500
	for i := range keys {
		n.Write(bus.Keys, fmt.Sprintf("key.orders.n%d", i), eventstest.KeyJSON(byte(i)))
	}
	conn := n.Connect(bus.Verifier)
	set := bus.NewKeySet(early{conn.Source(bus.Keys)}, early{conn.Source(bus.Revocations)}, zerolog.Nop())
	defer set.Close()
	if err := set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, have := set.Keys().Len(); have != keys+1 {
		t.Errorf("complete with %d keys of %d", have, keys+1)
	}
}
