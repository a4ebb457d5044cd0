package bus_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// keysPerClient is what a client has in the benchmarks; the registry allows five.
const keysPerClient = 5

// fill writes n keys, and the clients that have them, as fast as the server takes them.
func fill(b *testing.B, js jetstream.JetStream, n int) {
	b.Helper()
	put := func(name, value string) {
		if _, err := js.PublishAsync(bus.Keys.Subject(name), []byte(value)); err != nil {
			b.Fatal(err)
		}
	}
	put("issuer.platform", `{"type":"platform","status":"active","iss":"http://127.0.0.1:8080","account":"acc-0123456789"}`)
	var seed [ed25519.SeedSize]byte
	for i := range n {
		client := fmt.Sprintf("sc_client%07d", i/keysPerClient)
		if i%keysPerClient == 0 {
			put("issuer."+client, `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true}`)
		}
		binary.BigEndian.PutUint64(seed[:], uint64(i))
		key := events.Key{Algorithm: events.EdDSA, Public: ed25519.NewKeyFromSeed(seed[:]).Public(), IssuedAt: 1790000000}
		kid := events.KeyID(fmt.Sprintf("k%d", i%keysPerClient))
		value, err := key.Encode(kid)
		if err != nil {
			b.Fatal(err)
		}
		put(events.KeyRecord(events.Name(client), kid).String(), string(value))
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-b.Context().Done():
		b.Fatal("the server did not take all keys")
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one has made unreachable by finalizers
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSync is the time from having a connection to a complete key set, on a server with default settings that was
// opened with the keys in its store. Server and client share the machine's cores. It reports the heap that the set takes, a key.
func BenchmarkSync(b *testing.B) {
	for _, n := range []int{100_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			unsynced := true
			server := eventstest.Server(b, func(c *embedded.Config) {
				if unsynced { // only to fill it
					c.SyncInterval = time.Minute
				}
			})
			fill(b, server.Admin(), n)
			server.Stop()
			unsynced = false
			server.Start()
			conn := server.Connect(bus.Verifier)
			var used uint64
			for b.Loop() {
				b.StopTimer()
				before := heap()
				b.StartTimer()
				set := conn.FollowKeys(zerolog.Nop())
				if err := set.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				used = heap() - before
				if _, keys := set.Keys().Len(); keys != n {
					b.Fatalf("%d keys, not %d", keys, n)
				}
				set.Close()
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/sync")
			b.ReportMetric(float64(used)/float64(n), "heapB/key")
		})
	}
}

// BenchmarkFollowSome is BenchmarkSync for a verifier that follows three of the clients. It reports the heap that its set takes, and that
// of one which follows all.
func BenchmarkFollowSome(b *testing.B) {
	const n = 100_000
	server := eventstest.Server(b, func(c *embedded.Config) { c.SyncInterval = time.Minute })
	fill(b, server.Admin(), n)
	conn := server.Connect(bus.Verifier)
	for what, issuers := range map[string][]events.Name{
		"issuers=3":   {"sc_client0000007", "sc_client0010000", "sc_client0019999"},
		"issuers=all": nil,
	} {
		b.Run(what, func(b *testing.B) {
			var used uint64
			for b.Loop() {
				b.StopTimer()
				before := heap()
				b.StartTimer()
				set := conn.FollowKeySet(bus.KeySetConfig{Issuers: issuers})
				if err := set.Wait(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				used = heap() - before
				if _, keys := set.Keys().Len(); issuers != nil && keys != len(issuers)*keysPerClient || issuers == nil && keys != n {
					b.Fatalf("%d keys", keys)
				}
				set.Close()
				b.StartTimer()
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/sync")
			b.ReportMetric(float64(used)/1024, "heapKiB")
		})
	}
}

// BenchmarkPropagate is how long it takes from the acknowledgement of a write, which is on disk then, until a
// connected verifier has applied it: for all of 100 verifiers, each with a connection of its own, in one process with the
// server. A verifier may be sooner than the acknowledgement: that counts as zero.
func BenchmarkPropagate(b *testing.B) {
	for _, verifiers := range []int{100} {
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
			var delays []time.Duration
			var revision uint64
			for i := 0; b.Loop(); i++ {
				ctx, cancel := context.WithTimeout(b.Context(), eventstest.Patience)
				var err error
				revision, err = operator.Put(ctx, bus.Put{Bucket: bus.Keys, Name: "key.orders.k1", Value: []byte(eventstest.KeyJSON(byte(i))), Replaces: revision})
				cancel()
				if err != nil {
					b.Fatal(err)
				}
				acked := time.Now()
				for range sets {
					a := <-arrivals
					if a.revision != revision {
						b.Fatalf("revision %d arrived, not %d", a.revision, revision)
					}
					delays = append(delays, max(0, a.at.Sub(acked)))
				}
			}
			b.StopTimer()
			for _, set := range sets {
				set.Close()
			}
			readers.Wait()
			slices.Sort(delays)
			at := func(share float64) float64 {
				return float64(delays[int(share*float64(len(delays)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(at(0.50), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
		})
	}
}
