package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// BenchmarkPropagate is how long it takes from right before a write until a connected verifier has applied it, for every verifier, each
// with a connection and a key set of its own, in one process with the server: p50-ms and p99-ms, of which the bar is 50 for
// 1,000 verifiers on two cores. A write is on disk when it is acknowledged: ack-p50-ms. (A reader of changes at every key set takes
// its time of it, too: no verifier has one.)
func BenchmarkPropagate(b *testing.B) {
	for _, verifiers := range []int{100, 1000} {
		b.Run(fmt.Sprintf("verifiers=%d", verifiers), func(b *testing.B) {
			server := eventstest.Server(b)
			type arrival struct {
				revision uint64
				at       time.Time
			}
			arrivals := make(chan arrival, verifiers)
			var readers sync.WaitGroup
			sets := make([]*bus.KeySet, verifiers)
			for i := range sets {
				sets[i] = server.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
			}
			for _, set := range sets {
				if err := set.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				changes := set.Subscribe(16)
				readers.Go(func() {
					for change := range changes.C() {
						arrivals <- arrival{change.Revision, time.Now()}
					}
				})
			}
			operator := server.Connect(bus.Operator)
			var delays, acks []time.Duration
			var revision uint64
			for i := 0; b.Loop(); i++ {
				ctx, cancel := context.WithTimeout(b.Context(), eventstest.Patience)
				value := []byte(eventstest.KeyJSON(byte(i)))
				var err error
				began := time.Now()
				revision, err = operator.Put(ctx, bus.Put{Bucket: bus.Keys, Name: "key.orders.k1", Value: value, Replaces: revision})
				cancel()
				if err != nil {
					b.Fatal(err)
				}
				acks = append(acks, time.Since(began))
				for range sets {
					a := <-arrivals
					if a.revision != revision {
						b.Fatalf("revision %d arrived, not %d", a.revision, revision)
					}
					delays = append(delays, a.at.Sub(began))
				}
			}
			b.StopTimer()
			for _, set := range sets {
				set.Close()
			}
			readers.Wait()
			slices.Sort(delays)
			slices.Sort(acks)
			at := func(of []time.Duration, share float64) float64 {
				return float64(of[int(share*float64(len(of)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(at(delays, 0.50), "p50-ms")
			b.ReportMetric(at(delays, 0.99), "p99-ms")
			b.ReportMetric(at(acks, 0.50), "ack-p50-ms")
		})
	}
}
