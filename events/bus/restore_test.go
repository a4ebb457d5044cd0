package bus_test

import (
	"fmt"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestN_BucketRestoredThroughTheAPI(t *testing.T) {
	for _, quick := range []int{0, 2, 9} {
		t.Run(fmt.Sprintf("and written to %d times", quick), func(t *testing.T) {
			n := startNode(t)
			changes := n.set.Subscribe(1000)
			restore := n.Backup(bus.Keys)
			n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
			n.Write(bus.Keys, "revoked.orders.k1", `{"reason":"leaked"}`)
			n.applied(n.client("gone"))

			restore()
			for i := range quick {
				n.Write(bus.Keys, "key.orders.quick", eventstest.KeyJSON(3, fmt.Sprintf(`"iat":%d`, i+1)))
			}
			n.agree()
			want := map[events.KeyID]events.KeyState{"k1": events.KeyRevoked} // it was seen revoked
			if quick > 0 {
				want["quick"] = events.KeyActive
			}
			n.has("orders", want)
			if n.set.Keys().Issuer("gone") != nil {
				t.Error("an issuer that is gone from the bucket is not gone from the set")
			}
			heard(t, changes, "issuer.gone issuer added", "issuer.gone issuer disabled", "key.orders.k2 key removed")
		})
	}
}

// heard waits for changes, in this order, with others in between.
func heard(t *testing.T, s *bus.Subscription, want ...string) {
	t.Helper()
	var all []string
	s.Close()
	for c := range s.C() {
		have := c.Name + " " + string(c.Event)
		all = append(all, have)
		if len(want) > 0 && have == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("a listener has heard %q, and is missing %q", all, want)
	}
}

func TestN_StoreDirectoryCopiedBack(t *testing.T) {
	for _, quick := range []int{0, 3, 9} {
		t.Run(fmt.Sprintf("and written to %d times", quick), func(t *testing.T) {
			n := startNode(t)
			putBack := n.CopyStore()
			n.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
			n.Write(bus.Keys, "revoked.orders.k1", ``)
			n.applied(n.client("gone"))

			putBack()
			for i := range quick { // three, and the sequence is what it was
				n.Write(bus.Keys, "key.orders.quick", eventstest.KeyJSON(3, fmt.Sprintf(`"iat":%d`, i+1)))
			}
			n.agree()
			want := map[events.KeyID]events.KeyState{"k1": events.KeyRevoked}
			if quick > 0 {
				want["quick"] = events.KeyActive
			}
			n.has("orders", want)
		})
	}
}

func TestN_BucketRecreated(t *testing.T) {
	for _, writes := range []int{0, 3, 9} {
		t.Run(fmt.Sprintf("and written to %d times", writes), func(t *testing.T) {
			n := startNode(t)
			n.applied(n.Write(bus.Keys, "revoked.orders.k1", ``))
			n.Recreate(bus.Keys)
			for i := range writes {
				n.Write(bus.Keys, fmt.Sprintf("key.orders.new%d", i), eventstest.KeyJSON(byte(i+2)))
			}
			n.agree()
			want := map[events.KeyID]events.KeyState{"k1": events.KeyRevoked}
			for i := range writes {
				want[events.KeyID(fmt.Sprintf("new%d", i))] = events.KeyActive
			}
			n.has("orders", want)
			if n.set.Keys().Platform() != nil {
				t.Error("the platform is gone from the bucket and not from the set")
			}
		})
	}
}

// A revocation that the bucket has lost stays in force through any number of further losses.
func TestN_LostRevocationStaysThroughEverything(t *testing.T) {
	n := startNode(t)
	n.applied(n.Write(bus.Keys, "revoked.orders.k1", `{"reason":"leaked"}`))
	for range 2 {
		n.Recreate(bus.Keys)
		n.client("orders")
		n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
		n.agree()
		n.has("orders", map[events.KeyID]events.KeyState{"k1": events.KeyRevoked})
	}
	reported := false
	for _, r := range n.set.Keys().Rejected() {
		reported = reported || r.Name == "revoked.orders.k1"
	}
	if !reported {
		t.Error("the loss is not reported")
	}
}
