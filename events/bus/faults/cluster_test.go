//go:build linux

package faults_test

import (
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestF_EveryNodeOfTheKitHasWhatOneOfThemForgot(t *testing.T) {
	c := eventstest.StartCluster(t)
	revision, err := c.Connect(bus.Operator).Put(t.Context(), bus.Put{Bucket: bus.Keys, Name: "key.orders.k1", Value: []byte(eventstest.KeyJSON(1))})
	if err != nil {
		t.Fatal(err)
	}
	leader := c.LeaderOf(bus.Keys)
	c.Nodes[leader].Kill()
	c.Nodes[leader].DeleteStore(t)
	for i, replica := range c.Replicas(bus.Keys) { // starts it again
		if len(replica) != 1 || replica[0].Revision != revision {
			t.Errorf("node %d has %v", i, replica)
		}
	}
}
