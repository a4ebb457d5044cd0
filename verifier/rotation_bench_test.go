package verifier_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// rotationsPerSecond is far more than a thousand clients ever rotate: each of them once a second.
const rotationsPerSecond = 1000

// rotator rotates the keys of a crowd's clients, one after the other and whenever one is due: a new key comes, and the one that the
// client's token is signed with gets an end, which is never reached.
type rotator struct {
	feed  *feed
	names []string // of the records of the keys in use
	old   []string // their values, open at the end
	fresh []string // values of new keys
	on    atomic.Bool
	done  atomic.Int64 // rotations
}

// newRotator makes clients, each with a token.
func newRotator(b *testing.B) (r *rotator, v *verifier.Verifier, tokens []string) {
	r = &rotator{feed: installation(b)}
	for i := range manyKeys {
		name := fmt.Sprintf("client%d", i)
		s := edSigner(name)
		s.kid = "k1"
		r.feed.put("issuer."+name, ordersRecord)
		r.feed.putKey(events.Name(name), s, "")
		r.names, r.old = append(r.names, "key."+name+"."), append(r.old, s.record()[:len(s.record())-1])
		fresh := edSigner("new " + name)
		fresh.kid = "k2"
		r.fresh = append(r.fresh, fresh.record())
		tokens = append(tokens, mint(b, s, "at+jwt", usualClaims(name)))
	}
	return r, r.feed.verifier(), tokens
}

// rotate lets client i rotate for the nth time.
func (r *rotator) rotate(i, n int) {
	// Somebody else's new key each time, or it would be the same again.
	r.feed.putAnything(r.names[i]+"k2", r.fresh[(i+n)%len(r.fresh)])
	r.feed.putAnything(r.names[i]+"k1", fmt.Sprintf(`%s,"exp":%d}`, r.old[i], 2_000_000_000+n))
}

// run rotates while it is on, until stop is closed.
func (r *rotator) run(stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / rotationsPerSecond)
	defer tick.Stop()
	due := time.Now()
	for n := 0; ; {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			if !r.on.Load() {
				due = now
				continue
			}
			for ; due.Before(now); due = due.Add(time.Second / rotationsPerSecond) { // what was due while the machine did other things, too
				r.rotate(n%len(r.names), n/len(r.names))
				n++
				r.done.Add(1)
			}
		}
	}
}

// BenchmarkVerifyWhileKeysRotate verifies tokens of a thousand clients by turns with and without a thousand rotations a second that are
// applied meanwhile. It reports x-quiet, the ratio of the tenth percentiles (see compare), of which the bar is 1.1, and how many
// rotations a second there really were.
func BenchmarkVerifyWhileKeysRotate(b *testing.B) {
	for _, workers := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
		b.Run(fmt.Sprintf("%d at a time", workers), func(b *testing.B) {
			r, v, tokens := newRotator(b)
			stop := make(chan struct{})
			var group sync.WaitGroup
			group.Go(func() { r.run(stop) })
			defer group.Wait()
			defer close(stop)
			i := 0
			for b.Loop() { // nothing but what testing wants to know
				if _, err := v.Verify(tokens[i%len(tokens)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.StopTimer()
			const turns = 100
			var quiet, rotating []float64
			var rotations int64
			var took time.Duration
			for turn := range turns {
				quiet = append(quiet, verifyTurn(b, v, tokens, turn, workers)...)
				before, began := r.done.Load(), time.Now()
				r.on.Store(true)
				rotating = append(rotating, verifyTurn(b, v, tokens, turn, workers)...)
				r.on.Store(false)
				took += time.Since(began)
				rotations += r.done.Load() - before
			}
			slices.Sort(quiet)
			slices.Sort(rotating)
			b.ReportMetric(rotating[len(rotating)/10]/quiet[len(quiet)/10], "x-quiet")
			b.ReportMetric(float64(rotations)/took.Seconds(), "rotations/s")
		})
	}
}

// verifyTurn lets each worker verify tokens for about ten milliseconds, and returns what each has needed for one of them, in nanoseconds.
func verifyTurn(b *testing.B, v *verifier.Verifier, tokens []string, turn, workers int) []float64 {
	const n = 150
	costs := make([]float64, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			began := time.Now()
			for i := range n {
				if _, err := v.Verify(tokens[((turn*workers+w)*n+i)%len(tokens)]); err != nil {
					b.Error(err)
					return
				}
			}
			costs[w] = float64(time.Since(began)) / n
		})
	}
	group.Wait()
	return costs
}
