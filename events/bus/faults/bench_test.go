//go:build linux

package faults_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// BenchmarkAcknowledgedWrites is how many writes a second are acknowledged, each of a record of its own, with every one on the disk: of one
// server, or of two of three.
func BenchmarkAcknowledgedWrites(b *testing.B) {
	for name, start := range map[string]func(b *testing.B) *eventstest.Cluster{
		"R1": func(b *testing.B) *eventstest.Cluster {
			return eventstest.StartServe(b, filepath.Join(b.TempDir(), "data"), platform)
		},
		"R3": func(b *testing.B) *eventstest.Cluster { return eventstest.StartCluster(b) },
	} {
		b.Run(name, func(b *testing.B) {
			c := start(b)
			for _, writers := range []int{1, 16, 64} {
				b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
					conns := make([]*bus.Conn, min(writers, 8))
					for i := range conns {
						conns[i] = c.ConnectAt(b, c.URL(), bus.Operator)
					}
					began := time.Now()
					each(b.N, writers, func(i int) {
						name := fmt.Sprintf("key.w%d.k%d-%d", writers, began.UnixNano(), i)
						if _, err := conns[i%len(conns)].Put(b.Context(), bus.Put{Bucket: bus.Keys, Name: name, Value: []byte(eventstest.KeyJSON(1))}); err != nil {
							b.Error(err)
						}
					})
					b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "writes/s")
				})
			}
		})
	}
}

// BenchmarkPropagation is how long a change of a key takes, from before it is written until a verifier has it, through three nodes to
// -verifiers verifiers at all of them: in quiet, and while a node is killed and comes back.
func BenchmarkPropagation(b *testing.B) {
	c := eventstest.StartCluster(b)
	m := newCrowd(b, c, *crowdSize, c.URL())
	seen := make(chan sighting, 1<<20)
	var listening sync.WaitGroup
	for _, s := range m.sets {
		changes := s.Subscribe(1 << 12)
		listening.Go(func() {
			for change := range changes.C() {
				seen <- sighting{change.Revision, time.Now()}
			}
		})
		b.Cleanup(changes.Close)
	}
	operator := c.Connect(bus.Operator)
	b.Run("quiet", func(b *testing.B) { propagate(b, operator, seen, len(m.sets)) })
	b.Run("a node is killed", func(b *testing.B) {
		victim := (c.LeaderOf(bus.Keys) + 1) % 3
		c.Nodes[victim].Kill()
		propagate(b, operator, seen, len(m.sets))
		c.WaitReady()
	})
	b.Run("the leader is killed", func(b *testing.B) {
		c.Nodes[c.LeaderOf(bus.Keys)].Kill()
		propagate(b, operator, seen, len(m.sets))
		c.WaitReady()
	})
}

// sighting is when a verifier had a revision.
type sighting struct {
	revision uint64
	at       time.Time
}

// propagate writes b.N changes, and waits for each until every verifier has it. What a verifier gets in one piece with what came after, as after
// a gap, counts as well.
func propagate(b *testing.B, operator *bus.Conn, seen <-chan sighting, verifiers int) {
	const pace = 50 * time.Millisecond
	var took, acknowledged []time.Duration
	for b.Loop() {
		began := time.Now()
		var revision uint64
		eventstest.Eventually(b, "a change is written", func() (ok bool) {
			ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
			defer cancel()
			var err error
			revision, err = operator.Update(ctx, bus.Keys, "key.orders.k1", "", func(events.Entry) (bus.Decision, error) {
				return bus.Decision{Value: []byte(eventstest.KeyJSON(1, fmt.Sprintf(`"iat":%d`, began.UnixNano()/1000)))}, nil
			})
			return err == nil
		})
		acknowledged = append(acknowledged, time.Since(began))
		patience := time.After(eventstest.Patience)
		for missing := verifiers; missing > 0; {
			select {
			case s := <-seen:
				if s.revision == revision {
					took, missing = append(took, s.at.Sub(began)), missing-1
				}
			case <-patience:
				b.Fatalf("%d of %d verifiers do not have revision %d", missing, verifiers, revision)
			}
		}
		sleep(b.Context(), pace)
	}
	report := func(d []time.Duration, percent int, unit string) {
		b.ReportMetric(float64(at(d, percent).Microseconds())/1000, unit)
	}
	report(acknowledged, 50, "ack-p50-ms")
	report(took, 50, "p50-ms")
	report(took, 99, "p99-ms")
	report(took, 100, "max-ms")
}
