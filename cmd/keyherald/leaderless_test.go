//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_ANodeWaitsForAClusterThatDoesNotDecide: it is started again while two of three servers are down, and goes on when they are there.
func TestF_ANodeWaitsForAClusterThatDoesNotDecide(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	args := func(addr string) []string {
		return []string{"serve", "--nats", c.URL(), "--nkey", c.KeyFile(bus.Issuer), "--http", addr, "--issuer", nodesIssuer}
	}
	addr := eventstest.FreeAddress(t)
	first := startProcess(t, append(args(addr), "--registry-nkey", c.KeyFile(bus.Operator), "--data", filepath.Join(t.TempDir(), "d"))...)
	first.waitReady(t, addr)
	first.kill()

	c.Nodes[0].Kill()
	c.Nodes[1].Kill()
	left := c.ConnectAt(t, c.Nodes[2].URL(), bus.Issuer)
	eventstest.Eventually(t, "the server that is left knows that it decides nothing", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := left.Source(bus.Clients).State(ctx)
		return errors.Is(err, bus.ErrNoLeader) || errors.Is(err, context.DeadlineExceeded)
	})
	addr = eventstest.FreeAddress(t)
	node := startProcess(t, args(addr)...)
	eventstest.Eventually(t, "the node waits", func() bool { return strings.Contains(node.err.String(), "waiting for nats") })
	c.Nodes[0].Start()
	c.Nodes[1].Start()
	node.waitReady(t, addr)
}
