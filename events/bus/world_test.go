package bus_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

var (
	seedCount = flag.Int("seeds", defaultSeeds, "how many seeds a simulation runs")
	oneSeed   = flag.Uint64("seed", 0, "the one seed that a simulation runs, as a failure has printed it")
)

// simulate runs body in a bubble for each seed, and prints the seed of one that fails. What a seed fixes is what happens
// and when. What happens at the very same moment may still come in any order: repeat it a few times.
func simulate(t *testing.T, seeds int, body func(t *testing.T, seed uint64)) {
	t.Parallel()
	first := uint64(1)
	if *oneSeed != 0 {
		first, seeds = *oneSeed, 1
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		done := false
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if !done || t.Failed() {
					t.Logf("repeat it with: go test ./events/bus -run '^%s$' -count 20 -seed %d", t.Name(), seed)
				}
			}()
			body(t, seed)
			done = true
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds", seeds)
}

// world is a bucket and the way to it, and what can happen to them.
type world struct {
	stream   *eventstest.Stream
	random   *rand.Rand // of the test's own goroutine
	seed     uint64
	brokenAt time.Time // when the bucket last lost messages that it had
	saved    []func()  // set the bucket back to what it was

	mu       sync.Mutex // for what follows: the stream's goroutines use it
	calm     bool       // nothing happens any more
	stale    bool       // readings of the state may be old, and say how old
	lossless bool       // no delivery is lost; one that is lost in the middle of several leaves nothing to resume at
	states   []reading
}

// reading is the state as it was once.
type reading struct {
	bus.State
	at time.Time
}

func newWorld(seed uint64) *world {
	w := &world{stream: eventstest.NewStream(), seed: seed, random: rand.New(rand.NewPCG(seed, 0))}
	w.stream.SetFaults(eventstest.Faults{State: w.state, Delay: w.delay, Deliver: w.deliver})
	return w
}

// jitter is for feeds, in the place of one that nobody can repeat.
func jitter(seed uint64) func(time.Duration) time.Duration {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	return func(d time.Duration) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(random.Int64N(int64(d)))
	}
}

// pause lets time pass, or not, and everything happen that can.
func (w *world) pause() {
	if w.random.IntN(4) > 0 {
		time.Sleep(time.Duration(w.random.Int64N(int64(2 * time.Second))))
	}
	synctest.Wait()
}

// dice are for the faults in the stream. What they say depends on the moment and on what they are thrown for, not on who came
// first: so a seed can be repeated.
func (w *world) dice(what, revision uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed<<8|what, uint64(time.Now().UnixNano())^revision<<40))
}

// What dice are thrown for.
const (
	forDelay = iota + 2
	forDelivery
	forState
)

func (w *world) delay() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := w.dice(forDelay, 0); !w.calm && d.IntN(4) == 0 {
		return time.Duration(d.Int64N(int64(4 * time.Second)))
	}
	return 0
}

func (w *world) deliver(e events.Entry) eventstest.Fate {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch n := w.dice(forDelivery, e.Revision).IntN(40); {
	case w.calm:
	case n == 0 && !w.lossless:
		return eventstest.Lost
	case n == 1, n == 2:
		return eventstest.Twice
	case n < 6:
		return eventstest.Early
	}
	return eventstest.Delivered
}

func (w *world) state(s bus.State) (bus.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.dice(forState, s.Last)
	if !w.calm && d.IntN(20) == 0 {
		return bus.State{}, errors.New("simulated: no answer")
	}
	w.states = append(w.states, reading{s, time.Now()})
	if w.stale && !w.calm && d.IntN(3) == 0 { // one of the last, for the most part: what is older is not used
		old := w.states[len(w.states)-1-d.IntN(min(len(w.states), 1+d.IntN(8)))]
		s, s.Age = old.State, time.Since(old.at)
	}
	return s, nil
}

// ofConnection is what can happen on the way to the bucket.
func (w *world) ofConnection() []func() {
	s := w.stream
	return []func(){s.Disconnect, s.Connect, s.Connect, s.Freeze, s.Thaw, s.Thaw, s.LoseConsumers}
}

// ofBucket is what can happen to the bucket itself; write writes to it.
func (w *world) ofBucket(write func()) []func() {
	some := func() {
		for range w.random.IntN(12) {
			write()
		}
	}
	restore := func() {
		if len(w.saved) > 0 {
			w.saved[w.random.IntN(len(w.saved))]()
			w.broken()
		}
	}
	return []func(){
		func() { w.saved = append(w.saved, w.stream.Save()) },
		restore,
		func() { restore(); some() },
		func() { w.stream.Disconnect(); restore(); some(); w.stream.Connect() },
		func() { w.stream.Recreate(); w.broken(); some() },
	}
}

func (w *world) broken() {
	w.brokenAt = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = nil // an old leader has an old state of the same bucket
}

// settle ends all faults.
func (w *world) settle() {
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	w.stream.Thaw()
	w.stream.Connect()
}
