//go:build linux

package faults_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_ClusterWritesWaitForTheNextLeader: whoever revokes a key right after a server was lost is not told that the bucket does not exist.
func TestF_ClusterWritesWaitForTheNextLeader(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	leader := c.LeaderOf(bus.Keys)
	other, last := c.Nodes[(leader+1)%3], c.Nodes[(leader+2)%3]
	operator := c.ConnectAt(t, other.URL(), bus.Operator)
	put := bus.Put{Bucket: bus.Keys, Name: "revoked.orders.k1", Value: []byte(`{"reason":"stolen"}`)}

	c.Nodes[leader].Kill()
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	defer cancel()
	began := time.Now()
	revision, err := operator.Put(ctx, put)
	const promised = 20 * time.Second // of waiting, as OPERATIONS says
	for waited := time.Since(began); waited > promised && errors.Is(err, bus.ErrNoLeader) && ctx.Err() == nil; {
		revision, err = operator.Put(ctx, put) // a busy machine takes more than one election
	}
	if err != nil {
		t.Fatalf("written right after the leader was killed: %v", err)
	}

	last.Kill() // one of three decides nothing
	put.Replaces = revision
	eventstest.Eventually(t, "a write fails for want of a leader", func() bool { // the one that is left may take itself for it until it notices
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = operator.Put(ctx, put)
		return errors.Is(err, bus.ErrNoLeader)
	})
}
