package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestN_ServerRestartUnderALiveFeedLosesNothing(t *testing.T) {
	n := startNode(t)
	for i := range 3 {
		n.Stop()
		n.Start()
		n.Write(bus.Keys, fmt.Sprintf("key.orders.after%d", i), eventstest.KeyJSON(byte(i)))
		n.agree()
	}
	if status := n.set.Status().Keys; status.Resyncs != 1 {
		t.Errorf("status is %+v: everything was read again, although nothing was lost", status)
	}
}

// TestN_WritersHammerWhileAWatchStarts makes the consumer's count of what is pending lie: it is not monotonic while others write.
func TestN_WritersHammerWhileAWatchStarts(t *testing.T) {
	n := startNode(t)
	ctx, stop := context.WithCancel(t.Context())
	var written atomic.Uint64
	var writers sync.WaitGroup
	for id := range 4 {
		operator := n.Connect(bus.Operator)
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("key.orders.w%d-%d", id, i)
				if _, err := operator.JetStream().Publish(ctx, bus.Keys.Subject(name), []byte(eventstest.KeyJSON(byte(i)))); err == nil {
					written.Add(1)
				}
			}
		})
	}
	js := n.Admin()
	for range 10 {
		before := written.Load()
		eventstest.Eventually(t, "more is written", func() bool { return written.Load() > before+20 })
		stream, err := js.Stream(t.Context(), bus.Keys.Stream())
		if err != nil {
			t.Fatal(err)
		}
		set := n.conn.FollowKeys(zerolog.Nop())
		if err := set.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		there := stream.CachedInfo().State
		issuers, keys := set.Keys().Len()
		if have := set.Keys().Revision(); have < there.LastSeq || uint64(issuers+keys) < there.Msgs {
			t.Errorf("complete at revision %d with %d records, when there were %d and %d before it began", have, issuers+keys, there.LastSeq, there.Msgs)
		}
		set.Close()
	}
	stop()
	writers.Wait()
	n.agree()
}

func TestN_SixteenMalformedValuesPushAGoodOneOut(t *testing.T) {
	n := startNode(t)
	for range events.History - 1 {
		n.applied(n.Write(bus.Keys, "key.orders.k1", "not json"))
	}
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive})
	n.agree()
	n.applied(n.Write(bus.Keys, "key.orders.k1", "not json"))
	n.has("orders", map[events.KeyID]events.KeyState{})
	n.agree()
}
