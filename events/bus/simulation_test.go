package bus_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_FeedSurvivesAnyFaults lets random things happen to a bucket, and to the way to it, under a live feed. At every moment
// what the feed claims must be true; when it is quiet again, the feed must have what a fresh one has.
func TestN_FeedSurvivesAnyFaults(t *testing.T) {
	simulate(t, *seedCount, func(t *testing.T, seed uint64) {
		f := newSimulation(t, newWorld(seed))
		f.happen(append(f.all(), f.ofBucket(f.write)...), f.check)
		f.quiet()
	})
}

// TestN_FeedOfAnEmptyBucketSurvivesAnyFaults begins with nothing, which most buckets of revocations do, and has much that expires.
func TestN_FeedOfAnEmptyBucketSurvivesAnyFaults(t *testing.T) {
	simulate(t, *seedCount, func(t *testing.T, seed uint64) {
		f := &simulation{world: newWorld(seed), t: t, fold: &strictFold{t: t}, names: 5}
		f.follow()
		f.happen(append(f.ofConnection(), f.write, f.lease, f.lease, f.lease, f.stream.Disconnect), f.check)
		f.quiet()
	})
}

// TestN_NothingIsResumedWhereverItIsCut interrupts the feed of a bucket that was empty, at any moment after contact with it is found again: one
// message has come meanwhile, and another, which has expired. All of that must be shown before it is called complete.
func TestN_NothingIsResumedWhereverItIsCut(t *testing.T) {
	for after := time.Duration(0); after < 4*time.Second; after += 20 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			f := &simulation{world: newWorld(1), t: t, fold: &strictFold{t: t}}
			f.settle() // no faults but ours
			f.follow()
			eventstest.Eventually(t, "the empty bucket was read", func() bool { return f.feed.Status().CaughtUp })
			f.stream.Disconnect()
			synctest.Wait()
			f.stream.Write("a", "v1")
			f.stream.WriteTTL("lease", "bad", time.Second)
			time.Sleep(3 * time.Second)
			f.stream.Connect()
			time.Sleep(after)
			f.stream.Disconnect()
			synctest.Wait()
			f.stream.Connect()
			time.Sleep(20 * time.Second)
			if values, status := f.fold.Values(), f.feed.Status(); values["a"] != "v1" || !status.CaughtUp || status.Revision != 2 || status.Resyncs != 1 {
				t.Errorf("cut after %s, the feed has %v, and says %+v", after, values, status)
			}
		})
	}
}

// TestN_FeedReadsEverythingAgainOnlyWhenItMust has faults of the connection only, and no message is lost in the bucket.
func TestN_FeedReadsEverythingAgainOnlyWhenItMust(t *testing.T) {
	simulate(t, *seedCount, func(t *testing.T, seed uint64) {
		f := newSimulation(t, newWorld(seed))
		f.lossless, f.names = true, 1000
		eventstest.Eventually(t, "everything was read", func() bool { return f.feed.Status().CaughtUp })
		before := f.feed.Status().Resyncs
		f.happen(append(f.ofConnection(), f.write, f.write, f.write, f.write), f.check)
		f.quiet()
		if n := f.feed.Status().Resyncs - before; n > 0 {
			t.Errorf("everything was read again %d times", n)
		}
	})
}

// TestN_StaleStateIsNotBelievedTooFar lets a server that is not the leader any more answer for the stream's state. It says for how long it has
// not known that it is.
func TestN_StaleStateIsNotBelievedTooFar(t *testing.T) {
	simulate(t, *seedCount, func(t *testing.T, seed uint64) {
		f := newSimulation(t, newWorld(seed))
		f.mu.Lock()
		f.stale = true
		f.mu.Unlock()
		f.happen(append(f.all(), f.ofBucket(f.write)...), f.check)
		f.quiet()
	})
}

// simulation is a world with a live feed.
type simulation struct {
	*world
	t     *testing.T
	fold  *strictFold
	feed  *bus.Feed
	names int // how many there are
	value int // the last one written
}

func newSimulation(t *testing.T, w *world) *simulation {
	f := &simulation{world: w, t: t, fold: &strictFold{t: t}, names: 5}
	for range f.random.IntN(10) {
		f.write()
	}
	f.follow()
	return f
}

func (f *simulation) follow() {
	f.feed = bus.NewFeedWithJitter(f.stream, f.fold, zerolog.Nop(), jitter(f.seed))
	f.t.Cleanup(f.feed.Close) // and the bubble fails if a goroutine is left
}

func (f *simulation) happen(actions []func(), check func()) {
	for range 40 {
		actions[f.random.IntN(len(actions))]()
		f.pause()
		check()
	}
}

func (f *simulation) all() []func() {
	return append(f.ofConnection(), f.write, f.write, f.write, f.write, f.write, f.burst, f.burst, f.lease)
}

func (f *simulation) write() {
	f.value++
	name := fmt.Sprintf("n%d", f.random.IntN(f.names))
	switch f.random.IntN(6) {
	case 0:
		f.stream.Delete(name)
	case 1:
		f.stream.Write(name, fmt.Sprintf("bad%d", f.value))
	default:
		f.stream.Write(name, fmt.Sprintf("v%d", f.value))
	}
}

// burst writes one name as often as the bucket remembers, or a little more, sometimes nothing but malformed values.
func (f *simulation) burst() {
	name, kind := fmt.Sprintf("n%d", f.random.IntN(f.names)), "v"
	if f.random.IntN(2) == 0 {
		kind = "bad"
	}
	for range events.History - 2 + f.random.IntN(5) {
		f.value++
		f.stream.Write(name, fmt.Sprint(kind, f.value))
	}
}

// lease writes what goes away by itself. It is not valid, so that its going changes nothing.
func (f *simulation) lease() {
	f.stream.WriteTTL("lease", "bad", time.Duration(1+f.random.IntN(8))*time.Second)
}

// check holds the feed to what it claims: at the time of its confirmation it had everything.
func (f *simulation) check() {
	f.t.Helper()
	confirmed := f.feed.Confirmed()
	if confirmed.After(time.Now()) {
		f.t.Fatalf("confirmed in %s", time.Until(confirmed))
	}
	if !confirmed.After(f.brokenAt) {
		return // it cannot know yet
	}
	have, want, last := f.compared()
	for name, e := range last {
		if e.Time.Before(confirmed) && have[name] != want[name] {
			f.t.Fatalf("%s is %q, and was %q when everything was confirmed to be there", name, have[name], want[name])
		}
	}
	f.checkRevision()
}

// checkRevision holds the feed to its revision: everything up to it is applied.
func (f *simulation) checkRevision() {
	f.t.Helper()
	status := f.feed.Status()
	if status.Missing > 0 {
		f.t.Fatalf("%d messages are missing, and the bucket can read all that it has", status.Missing)
	}
	if !status.CaughtUp || !f.feed.Confirmed().After(f.brokenAt) {
		return
	}
	have, want, last := f.compared()
	for name, e := range last {
		if e.Revision <= status.Revision && have[name] != want[name] {
			f.t.Fatalf("%s is %q, and was %q at revision %d, which is complete", name, have[name], want[name], status.Revision)
		}
	}
}

// compared returns what the feed has, what a fresh one would have, and the last message on each name.
func (f *simulation) compared() (have, want map[string]string, last map[string]events.Entry) {
	fresh, last := new(eventstest.Fold), map[string]events.Entry{}
	fresh.Restart()
	for _, e := range f.stream.Retained() {
		fresh.Apply(e)
		last[e.Name] = e
	}
	fresh.Commit()
	return f.fold.Values(), fresh.Values(), last
}

// quiet ends all faults. The feed must be confirmed again before long, and have what is in the bucket.
func (f *simulation) quiet() {
	f.t.Helper()
	f.settle()
	f.write()
	now := time.Now()
	eventstest.Eventually(f.t, "the feed is confirmed again", func() bool { return f.feed.Confirmed().After(now) })
	if have, want, _ := f.compared(); !maps.Equal(have, want) {
		f.t.Fatalf("the feed has %v, a fresh one would have %v", have, want)
	}
	state, err := f.stream.State(f.t.Context())
	if status := f.feed.Status(); err != nil || !status.CaughtUp || status.Revision != state.Last || status.Err != nil {
		f.t.Fatalf("status is %+v at %+v (%v)", status, state, err)
	}
	f.feed.Close()
}

// strictFold is a fold that holds the feed to what it promises its follower.
type strictFold struct {
	eventstest.Fold
	t       *testing.T
	mu      sync.Mutex
	last    uint64
	reading bool // between Restart and Commit
	begun   bool
}

func (f *strictFold) enter() func() {
	if !f.mu.TryLock() {
		f.t.Error("called from two goroutines")
		f.mu.Lock()
	}
	return f.mu.Unlock
}

func (f *strictFold) Restart() {
	defer f.enter()()
	f.begun, f.reading, f.last = true, true, 0
	f.Fold.Restart()
}

func (f *strictFold) Apply(e events.Entry) {
	defer f.enter()()
	if !f.begun || e.Revision <= f.last {
		f.t.Errorf("revision %d is applied after %d", e.Revision, f.last)
	}
	f.last = e.Revision
	f.Fold.Apply(e)
}

func (f *strictFold) Commit() {
	defer f.enter()()
	if !f.reading {
		f.t.Error("nothing was begun that could be committed")
	}
	f.reading = false
	f.Fold.Commit()
}
