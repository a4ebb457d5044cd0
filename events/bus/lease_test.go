package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// What the leases of issuer nodes build on: a message that has reached its TTL leaves nothing behind, so the name is as if it had never been
// written; a delete marker does not, so nobody who takes the name for new writes over it.

func TestN_ANameWhoseMessageHasExpiredIsNew(t *testing.T) {
	conn := eventstest.Server(t).Connect(bus.Issuer)
	put := bus.Put{Bucket: bus.Keys, Name: "key.platform.k1", Value: []byte(eventstest.KeyJSON(1)), TTL: time.Second}
	first, err := conn.Put(t.Context(), put)
	if err != nil {
		t.Fatal(err)
	}
	eventstest.Eventually(t, "the message expires", func() bool {
		_, err := conn.Get(t.Context(), bus.Keys, put.Name)
		return errors.Is(err, bus.ErrNotFound)
	})
	put.Replaces = first
	if _, err := conn.Put(t.Context(), put); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("in place of the message that has expired: %v, want a conflict", err)
	}
	put.Replaces = 0
	if _, err := conn.Put(t.Context(), put); err != nil {
		t.Errorf("as the first: %v", err)
	}
}

func TestN_ANameWithADeleteMarkerIsNotNew(t *testing.T) {
	n := eventstest.Server(t)
	conn := n.Connect(bus.Issuer)
	put := bus.Put{Bucket: bus.Keys, Name: "key.platform.k1", Value: []byte(eventstest.KeyJSON(1)), TTL: time.Hour}
	if _, err := conn.Put(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	marker := n.Delete(bus.Keys, put.Name)
	if _, err := conn.Put(t.Context(), put); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("as the first: %v, want a conflict", err)
	}
	put.Replaces = marker
	if _, err := conn.Put(t.Context(), put); err != nil {
		t.Errorf("in place of the marker: %v", err)
	}
}
