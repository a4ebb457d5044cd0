//go:build linux

package faults_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_ClusterWritesReplaceExactlyOneRevision is on three servers, with a writer at each, what TestN_AWriteReplacesExactlyOneRevision and
// TestN_ConcurrentUpdatesLoseNothing are on one, and the replay memory of client assertions.
func TestN_ClusterWritesReplaceExactlyOneRevision(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	defer cancel()
	var writers []*bus.Conn
	for _, n := range c.Nodes {
		writers = append(writers, c.ConnectAt(t, n.URL(), bus.Operator))
	}
	key := func(value string, replaces uint64) bus.Put {
		return bus.Put{Bucket: bus.Keys, Name: "key.orders.k1", Value: []byte(value), Replaces: replaces}
	}
	first, err := writers[0].Put(ctx, key("a", 0))
	if err != nil {
		t.Fatal(err)
	}
	second, err := writers[1].Put(ctx, key("b", first))
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range writers {
		for _, replaces := range []uint64{0, first, second + 1} {
			if _, err := w.Put(ctx, key("c", replaces)); !errors.Is(err, bus.ErrConflict) {
				t.Errorf("writer %d, replacing revision %d, where %d is the last: %v", i, replaces, second, err)
			}
		}
	}

	const each = 10
	var mu sync.Mutex
	used := map[string]int{} // how many were told that they are the first to use an assertion
	var group sync.WaitGroup
	for _, w := range writers {
		group.Go(func() {
			for i := range each {
				_, err := w.Update(ctx, bus.Keys, "counter", "test", func(e events.Entry) (bus.Decision, error) {
					n, _ := strconv.Atoi(string(e.Value)) // zero before the first
					return bus.Decision{Value: []byte(strconv.Itoa(n + 1))}, nil
				})
				if err != nil {
					t.Error(err)
				}
				name := "assertion" + strconv.Itoa(i)
				_, err = w.Put(ctx, bus.Put{Bucket: bus.Assertions, Name: name})
				if err != nil && !errors.Is(err, bus.ErrConflict) {
					t.Error(err)
				}
				mu.Lock()
				if err == nil {
					used[name]++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if e, err := writers[2].Get(ctx, bus.Keys, "counter"); err != nil || string(e.Value) != strconv.Itoa(len(writers)*each) {
		t.Errorf("%d updates made %q, %v", len(writers)*each, e.Value, err)
	}
	for i := range each {
		if name := "assertion" + strconv.Itoa(i); used[name] != 1 {
			t.Errorf("%s was used %d times", name, used[name])
		}
	}
}
