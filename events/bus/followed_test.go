package bus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// startSmall starts a server with several issuers, and a live node that follows some of them.
func startSmall(t *testing.T, issuers ...events.Name) *node {
	n := startNode(t)
	n.client("stock")
	n.Write(bus.Keys, "key.stock.k1", eventstest.KeyJSON(2))
	n.Write(bus.Keys, "key.platform.p1", eventstest.KeyJSON(3))
	n.Write(bus.Keys, "revoked.stock.k2", "")
	n.client("ordersx") // no prefix counts
	n.set.Close()
	n.set = n.conn.FollowKeySet(bus.KeySetConfig{Issuers: issuers})
	t.Cleanup(n.set.Close)
	if err := n.set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// counts checks how many issuers and keys the live node has.
func (n *node) counts(issuers, keys int) {
	n.t.Helper()
	if i, k := n.set.Keys().Len(); i != issuers || k != keys {
		n.t.Errorf("%d issuers and %d keys, want %d and %d:\n%s", i, k, issuers, keys, eventstest.Describe(n.t, n.set.Keys()))
	}
}

// confirmed waits until the live node is confirmed to be complete as of now.
func (n *node) confirmed() {
	n.t.Helper()
	now := time.Now()
	eventstest.Eventually(n.t, "the live node is confirmed", func() bool { return n.set.Confirmed().After(now) })
}

// undisturbed checks that the feed has never had to begin anew.
func (n *node) undisturbed() {
	n.t.Helper()
	if s := n.set.Status().Keys; s.Gaps != 0 || s.Resyncs != 1 {
		n.t.Errorf("the feed was disturbed: %+v", s)
	}
}

func TestSomeIssuersAreFollowedAndNoOthers(t *testing.T) {
	n := startSmall(t, "orders", "later", "orders") // one that is not there yet, and one that is named twice
	n.counts(2, 2)                                  // platform, orders
	n.has("stock", map[events.KeyID]events.KeyState{})
	n.client("other")
	n.Write(bus.Keys, "key.other.k1", eventstest.KeyJSON(9))
	n.Write(bus.Keys, "nonsense", "x")
	n.applied(n.client("later"))
	n.applied(n.Write(bus.Keys, "key.later.b64.YS9i", eventstest.KeyJSON(4)))
	n.applied(n.Write(bus.Keys, "revoked.orders.k1", ""))
	n.counts(3, 3)
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyRevoked})
	if r := n.set.Keys().Rejected(); len(r) != 0 {
		t.Errorf("rejected: %+v", r)
	}
	if got := n.set.Snapshot().Issuers; fmt.Sprint(got) != "[orders later orders]" {
		t.Errorf("the snapshot says that %v were followed", got)
	}
}

// Most of what is written is about others: the feed must be sure of its set all the same.
func TestWhatIsWrittenAboutOthersDoesNotDisturb(t *testing.T) {
	n := startSmall(t, "orders", "stock")
	for round := range 4 {
		var last uint64
		for i := range 100 {
			last = n.Write(bus.Keys, fmt.Sprintf("key.other.k%d", i%40), eventstest.KeyJSON(byte(round)))
		}
		n.confirmed()
		if got := n.set.Status().Keys.Revision; got < last {
			t.Errorf("complete up to revision %d, and %d was written before that was confirmed", got, last)
		}
	}
	n.undisturbed()
	n.applied(n.Write(bus.Keys, "key.stock.k3", eventstest.KeyJSON(5)))
	n.undisturbed()
}

func TestSomeIssuersAreFollowedThroughGapsAndLosses(t *testing.T) {
	n := startSmall(t, "orders")
	n.confirmed()
	n.proxy.Cut()
	n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(5))
	n.Write(bus.Keys, "key.stock.k4", eventstest.KeyJSON(6))
	n.proxy.Mend()
	n.confirmed()
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyActive, "k2": events.KeyActive})
	if s := n.set.Status().Keys; s.Resyncs != 1 {
		t.Errorf("after a gap everything was read again: %+v", s)
	}
	restore := n.Backup(bus.Keys)
	n.applied(n.Write(bus.Keys, "key.orders.k3", eventstest.KeyJSON(7)))
	n.applied(n.Write(bus.Keys, "revoked.orders.k1", ""))
	restore()
	n.Write(bus.Keys, "key.stock.k5", eventstest.KeyJSON(8)) // hides that the bucket is shorter
	n.Write(bus.Keys, "key.stock.k6", eventstest.KeyJSON(8))
	n.confirmed()
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyRevoked, "k2": events.KeyActive})
	n.Recreate(bus.Keys)
	n.confirmed()
	n.counts(0, 1)
	n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyRevoked})
}
