package bus_test

import (
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestConnectReturnsWhenItIsKnownThatThereIsAConnection(t *testing.T) {
	t.Parallel()
	n := eventstest.Server(t)
	for range 200 {
		select {
		case <-n.Connect(bus.Verifier).Connected():
		default:
			t.Fatal("it has connected, and says that it has not")
		}
	}
}
