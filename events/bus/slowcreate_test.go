package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_AConsumerThatTakesLongIsNotMadeTwice, for somebody who has that much patience: with thousands of verifiers that have lost theirs at once, it
// takes long.
func TestN_AConsumerThatTakesLongIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	proxy := eventstest.NewProxy(t, n.URL())
	source := n.ConnectAt(proxy.URL(), bus.Verifier).Source(bus.Keys)
	if _, err := source.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	thaw := time.AfterFunc(6*time.Second, proxy.Mend) // more than a request may take for somebody who does not say
	defer thaw.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	defer cancel()
	watch, err := source.Watch(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if d := <-watch.Deliveries(); d.Entry.Name != "key.orders.k1" {
		t.Errorf("the first delivery is %+v", d)
	}
	stream, err := n.Admin().Stream(t.Context(), bus.Keys.Stream())
	if err != nil || stream.CachedInfo().State.Consumers != 1 {
		t.Errorf("there are %d consumers (%v), want one", stream.CachedInfo().State.Consumers, err)
	}
}
