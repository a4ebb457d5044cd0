package bus_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_NothingRunsAfterClose looks at all goroutines of the process, so no other test may run at the time.
func TestN_NothingRunsAfterClose(t *testing.T) {
	server := eventstest.Server(t)
	server.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	conn := server.Connect(bus.Verifier)
	for range 5 {
		set := conn.FollowKeys(zerolog.Nop())
		if err := set.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		set.Close()
		// A goroutine that has said that it is done has yet to end.
		eventstest.Eventually(t, "nothing runs after Close", func() bool { return ours() == "" })
		conn.FollowKeys(zerolog.Nop()).Close() // at once
		eventstest.Eventually(t, "nothing runs after an early Close", func() bool { return ours() == "" })
	}
}

// ours are the goroutines in which the package's own code runs.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(g, "events/bus.(") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}
