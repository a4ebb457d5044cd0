package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// TestN_NothingIsNotReadAgain: a bucket that was empty when contact was lost is resumed like any other. Somebody is told when one is read again.
func TestN_NothingIsNotReadAgain(t *testing.T) {
	n := startNode(t)
	n.Stop()
	n.Start()
	n.agree()
	token := events.TokenByID("https://auth.example.com", "t1")
	n.Write(bus.Revocations, token.String(), fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	n.agree()
	if status := n.set.Status().Revocations; status.Resyncs != 1 || n.set.Revocations().Len() != 1 {
		t.Errorf("status is %+v, %d revocations", status, n.set.Revocations().Len())
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

// TestN_WritesThatPushEachOtherOutDisturbNobody has messages vanish before a watch can deliver them, for all followers of the bucket at
// once. If one of them took that for a fault, all of them would, and make a new watch at the same moment.
func TestN_WritesThatPushEachOtherOutDisturbNobody(t *testing.T) {
	n := startNode(t)
	sets := []*bus.KeySet{n.set}
	for range 10 {
		set := n.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
		defer set.Close()
		if err := set.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		sets = append(sets, set)
	}
	js := n.Connect(bus.Operator).JetStream()
	burst := func(b bus.Bucket, name, value string, writes int) {
		for range writes {
			if _, err := js.PublishAsync(b.Subject(name), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		<-js.PublishAsyncComplete()
	}
	token := events.TokenByID("https://auth.example.com", "t1")
	exp := time.Now().Add(time.Hour).Unix()
	for range 20 {
		burst(bus.Revocations, token.String(), fmt.Sprintf(`{"exp":%d}`, exp), 3)
		burst(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2), 5*events.History)
	}
	n.agree()
	for i, set := range sets {
		if status := set.Status(); status.Keys.Gaps+status.Revocations.Gaps != 0 || status.Keys.Resyncs+status.Revocations.Resyncs != 2 {
			t.Errorf("follower %d: status is %+v", i, status)
		}
	}
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
