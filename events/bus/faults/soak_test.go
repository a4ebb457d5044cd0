//go:build linux

package faults_test

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
)

var (
	soakTime  = flag.Duration("soak", 0, "how long TestSoak goes on")
	soakSeeds = flag.Uint64("seeds", 0, "with how many seeds TestSoak goes on, if -soak does not say how long")
)

// row is a row of the table of faults that may be tried again and again on the same servers.
type row struct {
	name   string
	happen func(*trial)
}

func clusterRows() []row {
	return []row{
		{"killed", (*trial).killed}, {"paused", (*trial).paused}, {"partitioned", (*trial).partitioned}, {"in turn", (*trial).inTurn},
		{"store deleted", (*trial).storeDeleted}, {"store damaged", (*trial).damaged}, {"cut off", (*trial).cutOff},
	}
}

func serveRows() []row {
	return []row{{"serve killed", (*trial).serveKilled}, {"serve paused", (*trial).servePaused}, {"serve cut off", (*trial).cutOff}}
}

// TestSoak tries everything, and as long as the table of faults says, with one seed after the other:
//
//	go test ./events/bus/faults -run Soak -soak 1h -timeout 0
//	go test ./events/bus/faults -run Soak -seeds 200 -timeout 0
//
// Several clusters go on beside each other. At the end it says, with -v, how it went. Without either flag, or -seed, it does nothing: the other tests do
// it with few seeds.
func TestSoak(t *testing.T) {
	var next, tried, failed atomic.Uint64
	t.Cleanup(func() {
		t.Logf("%d seeds tried, %d failed; longest stale without saying so: %v", tried.Load(), failed.Load(), time.Duration(longestSilent.Load()))
	})
	end := time.Now().Add(*soakTime)
	take := func() (seed uint64, ok bool) {
		switch seed = next.Add(1); {
		case *oneSeed != 0:
			return *oneSeed, seed == 1
		case *soakTime > 0:
			return seed, time.Now().Before(end)
		}
		return seed, seed <= *soakSeeds
	}
	const clusters, serves = 4, 1
	for i := range clusters + serves {
		t.Run(fmt.Sprint("servers ", i), func(t *testing.T) {
			t.Parallel()
			rows, start := clusterRows(), func() *eventstest.Cluster { return eventstest.StartCluster(t) }
			if i >= clusters {
				rows, start = serveRows(), func() *eventstest.Cluster { return startServe(t) }
			}
			var c *eventstest.Cluster
			for {
				seed, ok := take()
				if !ok {
					return
				}
				if c == nil {
					c = start()
				}
				r := rows[seed%uint64(len(rows))]
				tried.Add(1)
				if !t.Run(fmt.Sprintf("%s, seed %d", r.name, seed), func(t *testing.T) { try(t, c, seed, true, r.happen) }) {
					failed.Add(1)
					c.End()
					c = nil // what has failed on these servers may fail on them again
				}
			}
		})
	}
}
