package bus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// expired waits until a bucket has so many messages left.
func (n *node) expired(b bus.Bucket, left uint64) {
	n.t.Helper()
	js := n.Admin()
	eventstest.Eventually(n.t, fmt.Sprintf("%d messages are left in %s", left, b), func() bool {
		stream, err := js.Stream(n.t.Context(), b.Stream())
		return err == nil && stream.CachedInfo().State.Msgs == left
	})
}

func TestN_TrailingMessagesExpired(t *testing.T) {
	n := startNode(t)
	lease := nats.Header{"Nats-TTL": {"1s"}}
	for i := range 3 {
		ended := fmt.Sprintf(`"exp":%d`, time.Now().Add(-2*time.Hour).Unix())
		n.applied(n.Publish(bus.Keys, fmt.Sprintf("key.platform.n%d", i), eventstest.KeyJSON(byte(i), ended), lease))
	}
	n.expired(bus.Keys, 3)
	n.Stop() // the last message that the node has applied is not there to resume at
	n.Start()
	now := time.Now()
	eventstest.Eventually(t, "the node is confirmed", func() bool { return n.set.Confirmed().After(now) })
	n.agree()
	n.client("later")
	n.agree()
}

// TestN_RevocationsExpire has a bucket that keeps nothing for long. What it has dropped stays revoked on a live node until the token
// itself has expired; both nodes know that they have everything.
func TestN_RevocationsExpire(t *testing.T) {
	n := startNode(t, func(c *embedded.Config) {
		c.Drift = func([]bus.Drift) error { return nil } // the test changes a setting
	})
	js := n.Admin()
	if err := js.DeleteStream(t.Context(), bus.Revocations.Stream()); err != nil {
		t.Fatal(err)
	}
	cfg := bus.StreamConfig(bus.Revocations, 1)
	cfg.MaxAge, cfg.Duplicates = 5*time.Second, 5*time.Second
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	n.agree() // it has found the new bucket
	id := events.TokenByID("https://auth.example.com", "t1")
	n.Write(bus.Revocations, id.String(), fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix()))
	n.Write(bus.Revocations, "odd", `{}`)
	n.Write(bus.Revocations, events.TokenByText([]byte("h.p")).String(), "malformed, and revoked all the same")
	eventstest.Eventually(t, "two tokens are revoked", func() bool { return n.set.Revocations().Len() == 2 })
	n.expired(bus.Revocations, 0)
	for range 2 {
		n.agree() // both are confirmed
		if !n.set.Revocations().Revoked(id) || n.set.Revocations().Len() != 2 {
			t.Error("a token is not revoked any more because the bucket has dropped the record")
		}
		n.Stop()
		n.Start()
	}
	if status := n.set.Status().Revocations; status.Revision != 3 || !status.CaughtUp {
		t.Errorf("status is %+v", status)
	}
}

// A fresh node on buckets in which nothing is left does not wait for a heartbeat, or for a message that never comes.
func TestN_FreshNodeOnExpiredBuckets(t *testing.T) {
	n := startNode(t)
	n.Recreate(bus.Keys)
	n.Publish(bus.Keys, "key.platform.n1", "malformed", nats.Header{"Nats-TTL": {"1s"}})
	n.expired(bus.Keys, 0)
	set := n.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer set.Close()
	if err := set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := set.Status().Keys; !status.CaughtUp || status.Revision != 1 || set.Confirmed().IsZero() {
		t.Errorf("status is %+v", status)
	}
	n.agree()
}
