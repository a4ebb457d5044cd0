package events

import (
	"crypto/ed25519"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// The bars of these benchmarks are ratios in one run, because no two machines are alike: what a set costs is compared to one raw
// signature verification, which whoever asks the set pays anyway.

const poolSize = 1024 // different public keys; records are read and kept one by one all the same

// pool is values of key records, by public key.
type pool struct{ active, ended [poolSize][]byte }

func newPool() *pool {
	p := new(pool)
	for i := range poolSize {
		p.active[i] = []byte(keyJSON(i))
		p.ended[i] = []byte(keyJSON(i, `"exp":1795000000`))
	}
	return p
}

// filled is a set of so many keys, perClient of them each, filled as a feed fills it.
func filled(p *pool, keys, perClient int) *Set {
	s := NewSet(nil)
	revision := uint64(0)
	apply := func(name string, value []byte) {
		revision++
		s.Apply(Entry{Name: name, Value: value, Revision: revision, Time: start})
	}
	apply("issuer.platform", []byte(platformJSON))
	for i := range keys {
		client := clientName(i / perClient)
		if i%perClient == 0 {
			apply("issuer."+client, []byte(clientJSON))
		}
		apply("key."+client+".k"+strconv.Itoa(i%perClient), p.active[i%poolSize])
	}
	return s
}

// clientName is of the length of those that the registry makes.
func clientName(i int) string { return fmt.Sprintf("sc_%022d", i) }

// batch is how often something is done between two looks at the clock.
const batch = 50

// against measures f and base by turns in batches and reports the median of the ratios, which a busy machine disturbs
// least. What f needs is made by prepare, for a batch at a time, which is not counted.
func against(b *testing.B, what string, prepare func(), f func(i int), base func()) {
	b.Helper()
	timed := func(f func(i int)) time.Duration {
		begin := time.Now()
		for i := range batch {
			f(i)
		}
		return time.Since(begin)
	}
	var ratios []float64
	var total time.Duration
	for b.Loop() {
		prepare()
		mine := timed(f)
		total += mine
		ratios = append(ratios, float64(mine)/float64(timed(func(int) { base() })))
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(total.Nanoseconds())/float64(batch*len(ratios)), "ns/op")
	b.ReportMetric(ratios[len(ratios)/2], what)
}

// rawVerify is one signature verification and nothing else.
func rawVerify(b *testing.B) func() {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 400) // header and payload of a token
	signature := ed25519.Sign(private, message)
	return func() {
		if !ed25519.Verify(public, message, signature) {
			b.Fatal("the signature is not valid")
		}
	}
}

// BenchmarkRotation is one rotation in a large set: a new key is put, and the old one gets an exp. The bar is 0.2 of a
// raw verification.
func BenchmarkRotation(b *testing.B) {
	p := newPool()
	verify := rawVerify(b)
	for _, keys := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			const perClient = 5
			s := filled(p, keys, perClient)
			runtime.GC()
			var messages [batch][2]Entry
			n := 0
			prepare := func() {
				for i := range messages {
					client := n * 7919 % keys / perClient // all over the set
					name := "key." + clientName(client)
					revision := s.Revision() + uint64(2*i)
					messages[i] = [2]Entry{
						{Name: fmt.Sprintf("%s.new%d", name, n/(keys/perClient)), Value: p.active[n%poolSize], Revision: revision + 1, Time: start},
						{Name: name + ".k0", Value: p.ended[client*perClient%poolSize], Revision: revision + 2, Time: start},
					}
					n++
				}
			}
			against(b, "x-verify", prepare, func(i int) {
				s.Apply(messages[i][0])
				s.Apply(messages[i][1])
			}, verify)
			if e := s.Key(Name(clientName(0)), "k0"); e.State(start) != KeyRetiring {
				b.Fatalf("k0 of the first client is %s", e.State(start))
			}
		})
	}
}

// BenchmarkLookup is what a verifier asks for each token.
func BenchmarkLookup(b *testing.B) {
	p := newPool()
	verify := rawVerify(b)
	for _, keys := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := filled(p, keys, 5)
			var iss [512]string
			for i := range iss {
				iss[i] = ClientURL(platformIss, Name(clientName(i*keys/5/len(iss))))
			}
			round := 0
			against(b, "x-verify", func() { round++ }, func(i int) {
				e := s.IssuerOf(iss[(round*batch+i)%len(iss)])
				if !s.Key(e.Name, "k3").State(start).Usable() {
					b.Fatal("k3 is not usable")
				}
			}, verify)
		})
	}
}

// BenchmarkFill is a fresh set that reads a whole bucket. The bar is 1 KiB of heap a key.
func BenchmarkFill(b *testing.B) {
	const keys = 100_000
	p := newPool()
	for _, perClient := range []int{5, 1} {
		b.Run(fmt.Sprintf("keys=%d/per-client=%d", keys, perClient), func(b *testing.B) {
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			var s *Set
			for b.Loop() {
				s = filled(p, keys, perClient)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*keys), "ns/key")
			b.ReportMetric(float64(heap()-before)/keys, "B-heap/key")
			runtime.KeepAlive(s)
		})
	}
}

func BenchmarkParseKey(b *testing.B) {
	verify := rawVerify(b)
	for name, record := range map[string]string{"Ed25519": ed, "P-256": ec, "RSA-2048": rs} {
		b.Run(name, func(b *testing.B) {
			data := []byte(record)
			against(b, "x-verify", func() {}, func(int) {
				if _, err := ParseKey("k1", data); err != nil {
					b.Fatal(err)
				}
			}, verify)
		})
	}
}
