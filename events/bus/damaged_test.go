package bus_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_ARecordThatTheServerCannotReadIsMissed: the server passes over it, and says neither to a reader nor in its log that there was one.
func TestF_ARecordThatTheServerCannotReadIsMissed(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	for i, name := range []string{"key.orders.k1", "key.orders.k2", "key.orders.k3"} {
		n.Write(bus.Keys, name, eventstest.KeyJSON(byte(i)))
	}
	n.Stop()
	file := filepath.Join(n.Dir(), "nats", "store", "jetstream", "KEYHERALD", "streams", bus.Keys.Stream(), "msgs", "1.blk")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/4] ^= 1
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n.Start()

	set := n.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer set.Close()
	if err := set.WaitCounted(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := set.Status(); s.Keys.Missing != 1 || !s.Keys.Counted || s.Revocations.Missing != 0 || !s.Revocations.Counted {
		t.Errorf("%+v", s)
	}
	eventstest.Eventually(t, "it is confirmed all the same", func() bool {
		s := set.Status().Keys
		return s.CaughtUp && s.Missing == 1 && s.Resyncs == 4 && time.Since(set.Confirmed()) < 5*time.Second
	})
	if _, keys := set.Keys().Len(); keys != 2 {
		t.Errorf("there are %d keys, want the two that can be read", keys)
	}
}
