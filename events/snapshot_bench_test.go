package events

import (
	"io"
	"sync"
	"testing"
	"time"
)

// BenchmarkSnapshot is what it takes to write 100,000 keys, each of another client, and to start from them: per key, and compared to a
// raw verification. The bar is 1 s each for all of them.
func BenchmarkSnapshot(b *testing.B) {
	const keys = 100_000
	s := NewSet(nil)
	apply := func(name, value string) {
		s.Apply(Entry{Name: name, Value: []byte(value), Revision: s.Revision() + 1, Time: start})
	}
	apply("issuer.platform", platformJSON)
	for i := range keys {
		apply("issuer."+clientName(i), clientJSON)
		apply("key."+clientName(i)+".k1", keyJSON(i))
	}
	data := encoded(b, s, nil)
	verify := rawVerify(b)
	for what, f := range map[string]func() error{
		"write": func() error {
			_, err := (&Snapshot{Keys: s, Revocations: NewRevocations(nil)}).Encode(io.Discard)
			return err
		},
		"read": func() error {
			_, _, err := DecodeSnapshot(data)
			return err
		},
	} {
		b.Run(what, func(b *testing.B) {
			var mine, base time.Duration
			for b.Loop() {
				begin := time.Now()
				if err := f(); err != nil {
					b.Fatal(err)
				}
				mine += time.Since(begin)
				begin = time.Now()
				for range keys / 20 {
					verify()
				}
				base += time.Since(begin) * 20
			}
			b.ReportMetric(float64(mine.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(mine)/float64(base), "x-verify/key")
			b.ReportMetric(float64(len(data))/keys, "B/key")
		})
	}
}

// BenchmarkApplyWhileASnapshotIsWritten is how long the feed waits at most for a snapshot of 100,000 keys that is written meanwhile, and
// compared to how long that takes.
func BenchmarkApplyWhileASnapshotIsWritten(b *testing.B) {
	const keys = 100_000
	s := NewSet(nil)
	for i := range keys {
		s.Apply(Entry{Name: "key." + clientName(i) + ".k1", Value: []byte(keyJSON(i % 1000)), Revision: s.Revision() + 1, Time: start})
	}
	var longest, whole time.Duration
	for b.Loop() {
		var writing sync.WaitGroup
		done := make(chan struct{})
		writing.Go(func() {
			defer close(done)
			begin := time.Now()
			if _, err := (&Snapshot{Keys: s, Revocations: NewRevocations(nil)}).Encode(io.Discard); err != nil {
				b.Error(err)
			}
			whole += time.Since(begin)
		})
		var most time.Duration
		for running := true; running; {
			select {
			case <-done:
				running = false
			case <-time.After(100 * time.Microsecond):
				begin := time.Now()
				s.Apply(Entry{Name: "revoked.x.y", Revision: s.Revision() + 1, Time: start})
				most = max(most, time.Since(begin))
			}
		}
		writing.Wait()
		longest += most
	}
	b.ReportMetric(float64(longest.Microseconds())/1000/float64(b.N), "longest-ms")
	b.ReportMetric(float64(longest)/float64(whole), "x-write")
}
