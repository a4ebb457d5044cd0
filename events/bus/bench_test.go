package bus_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// arrival is a change that somebody has.
type arrival struct {
	revision uint64
	at       time.Time
}

// BenchmarkPropagate is how long it takes from right before a write until a connected verifier has applied it, for every verifier, each
// with a connection and a key set of its own, in one process with the server: p50-ms and p99-ms, of which the bar is 50 for
// 1,000 verifiers on two cores. A write is on disk when it is acknowledged: ack-p50-ms. (A reader of changes at every key set takes
// its time of it, too: no verifier has one.)
//
// The same for as many bare consumers is what NATS takes: with one consumer for each connection instead of two, no heartbeats, nobody
// who asks whether the stream is still the same, and nothing done with the record.
func BenchmarkPropagate(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("verifiers=%d", n), func(b *testing.B) { propagate(b, n, followAll) })
		b.Run(fmt.Sprintf("consumers=%d", n), func(b *testing.B) { propagate(b, n, consumeAll) })
	}
}

// followAll has n verifiers report what they have applied.
func followAll(b *testing.B, server *eventstest.NATS, n int, arrivals chan<- arrival) (stop func()) {
	sets := make([]*bus.KeySet, n)
	for i := range sets {
		sets[i] = server.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	}
	var readers sync.WaitGroup
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
	return func() {
		for _, set := range sets {
			set.Close()
		}
		readers.Wait()
	}
}

// consumeAll has n connections with a bare consumer report what they have received.
func consumeAll(b *testing.B, server *eventstest.NATS, n int, arrivals chan<- arrival) (stop func()) {
	for i := range n {
		js := server.Connect(bus.Verifier).JetStream()
		inbox := js.Conn().NewInbox()
		_, err := js.Conn().Subscribe(inbox, func(m *nats.Msg) {
			if meta, err := m.Metadata(); err == nil {
				arrivals <- arrival{meta.Sequence.Stream, time.Now()}
			}
		})
		if err == nil {
			_, err = js.CreatePushConsumer(b.Context(), bus.Keys.Stream(), jetstream.ConsumerConfig{
				Name: fmt.Sprint("bare", i), DeliverSubject: inbox, AckPolicy: jetstream.AckNonePolicy, FilterSubject: bus.Keys.Filter(), MemoryStorage: true,
			})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return func() {}
}

func propagate(b *testing.B, n int, receive func(*testing.B, *eventstest.NATS, int, chan<- arrival) func()) {
	server := eventstest.Server(b)
	arrivals := make(chan arrival, n)
	stop := receive(b, server, n, arrivals)
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
		for range n {
			a := <-arrivals
			if a.revision != revision {
				b.Fatalf("revision %d arrived, not %d", a.revision, revision)
			}
			delays = append(delays, a.at.Sub(began))
		}
	}
	b.StopTimer()
	stop()
	slices.Sort(delays)
	slices.Sort(acks)
	at := func(of []time.Duration, share float64) float64 {
		return float64(of[int(share*float64(len(of)-1))].Microseconds()) / 1000
	}
	b.ReportMetric(at(delays, 0.50), "p50-ms")
	b.ReportMetric(at(delays, 0.99), "p99-ms")
	b.ReportMetric(at(acks, 0.50), "ack-p50-ms")
}
