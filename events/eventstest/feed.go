package eventstest

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Fold is a [bus.Follower] in strings: on each name the last valid one of the last 16 values counts. A value that begins with
// bad is not valid.
type Fold struct {
	mu    sync.Mutex
	seen  map[string]foldValue // by readers
	fresh map[string]foldValue // nil but while everything is read again
}

type foldValue struct {
	value string // empty: there is no valid one
	bad   int    // values since, none of which is valid
}

var _ bus.Follower = (*Fold)(nil)

// Restart implements bus.Follower.
func (f *Fold) Restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fresh = map[string]foldValue{}
}

// Apply implements bus.Follower.
func (f *Fold) Apply(e events.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to := f.seen
	if f.fresh != nil {
		to = f.fresh
	}
	v := to[e.Name]
	switch {
	case e.Deleted:
		v = foldValue{}
	case strings.HasPrefix(string(e.Value), "bad"):
		if v.bad++; v.bad >= events.History {
			v = foldValue{}
		}
	default:
		v = foldValue{value: string(e.Value)}
	}
	to[e.Name] = v
}

// Commit implements bus.Follower.
func (f *Fold) Commit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen, f.fresh = f.fresh, nil
}

// Values is what readers see.
func (f *Fold) Values() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	values := map[string]string{}
	for name, v := range f.seen {
		if v.value != "" {
			values[name] = v.value
		}
	}
	return values
}

// TestFeed tests that a feed on a source sees what happens to a bucket, and ends up with what a feed that starts then has.
func TestFeed(t *testing.T, run Run) {
	for name, body := range map[string]func(*testing.T, *followed){
		"an empty bucket is caught up with":                       func(*testing.T, *followed) {},
		"a change is applied":                                     feedChange,
		"what was missed is read after a lost connection":         feedResume,
		"a last message that is gone means a full read":           feedPushedOut,
		"a bucket that was set back is read again":                feedSetBack,
		"a bucket that was set back and written to is read again": feedSetBackAndWritten,
		"a bucket that was set back while nobody looked":          feedSetBackOffline,
		"a bucket that was made again is read again":              feedRecreated,
		"a bucket that was made again with as many messages":      feedRecreatedAlike,
		"a bucket in which everything has expired is caught up":   feedExpired,
		"sixteen malformed values push out a good one":            feedMalformed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, func(t *testing.T, b Bucket) {
				f := follow(t, b)
				f.settles()
				body(t, f)
				f.settles()
			})
		})
	}
}

// followed is a bucket with a live feed on it.
type followed struct {
	Bucket
	t    *testing.T
	fold *Fold
	feed *bus.Feed
}

func follow(t *testing.T, b Bucket) *followed {
	f := &followed{Bucket: b, t: t, fold: new(Fold)}
	f.feed = bus.NewFeed(b, f.fold, zerolog.Nop())
	t.Cleanup(f.feed.Close)
	return f
}

// settles waits until the live feed is confirmed to be complete as of now, and has what a fresh one has.
func (f *followed) settles() {
	f.t.Helper()
	now := time.Now()
	fresh := follow(f.t, f.Bucket)
	defer fresh.feed.Close()
	for _, x := range []*followed{f, fresh} {
		Eventually(f.t, "the feed is confirmed", func() bool { return x.feed.Confirmed().After(now) })
	}
	have, want := f.fold.Values(), fresh.fold.Values()
	if !maps.Equal(have, want) {
		f.t.Fatalf("the live feed has %v, a fresh one %v", have, want)
	}
	status, last := f.feed.Status(), stateOf(f.t, f.Bucket).Last
	if !status.CaughtUp || status.Revision != last || status.Err != nil {
		f.t.Errorf("status is %+v, want it caught up with %d", status, last)
	}
}

func (f *followed) resyncs(want int) {
	f.t.Helper()
	f.settles()
	if have := f.feed.Status().Resyncs; have != want {
		f.t.Errorf("everything was read %d times, want %d", have, want)
	}
}

func (f *followed) write(n int) {
	for i := range n {
		f.Write("a", fmt.Sprint(i))
	}
}

func feedChange(_ *testing.T, f *followed) {
	f.Write("a", "1")
	f.Write("b", "1")
	f.settles()
	f.Write("a", "2")
	f.Delete("b")
	f.resyncs(1)
}

func feedResume(_ *testing.T, f *followed) {
	f.write(3)
	f.settles()
	f.Disconnect()
	f.Write("b", "1")
	f.Delete("a")
	f.Connect()
	f.resyncs(1)
}

func feedPushedOut(_ *testing.T, f *followed) {
	f.write(3)
	f.settles()
	f.Disconnect()
	f.write(events.History)
	f.Connect()
	f.resyncs(2)
}

func feedSetBack(_ *testing.T, f *followed) {
	f.write(3)
	restore := f.Save()
	f.Write("b", "gone")
	f.settles()
	restore()
	f.resyncs(2)
}

func feedSetBackAndWritten(_ *testing.T, f *followed) {
	f.write(3)
	restore := f.Save()
	f.Write("b", "gone")
	f.Write("c", "gone")
	f.settles()
	restore()
	f.Write("d", "1")
	f.Write("d", "2")
	f.Write("d", "3")
	f.resyncs(2)
}

func feedSetBackOffline(_ *testing.T, f *followed) {
	f.write(3)
	restore := f.Save()
	f.Write("b", "gone")
	f.settles()
	f.Disconnect()
	restore()
	f.Write("d", "1")
	f.Connect()
	f.resyncs(2)
}

func feedRecreated(_ *testing.T, f *followed) {
	f.write(3)
	f.settles()
	f.Recreate()
	f.resyncs(2)
}

func feedRecreatedAlike(_ *testing.T, f *followed) {
	f.Write("a", "1")
	f.Write("b", "1")
	f.settles()
	f.Recreate()
	f.Write("c", "1")
	f.Write("b", "1")
	f.resyncs(2)
}

func feedExpired(_ *testing.T, f *followed) {
	f.WriteTTL("lease", "bad: not in the fold", livesLong)
	f.settles()
	Eventually(f.t, "it has expired", func() bool { return stateOf(f.t, f.Bucket).First == 2 })
	f.resyncs(1)
	f.Disconnect()
	f.Connect()
	f.settles()
	f.write(1)
}

func feedMalformed(_ *testing.T, f *followed) {
	f.Write("a", "good")
	f.Write("b", "good")
	for range events.History {
		f.Write("a", "bad")
	}
	f.settles()
	if have := f.fold.Values(); have["a"] != "" || have["b"] != "good" {
		f.t.Errorf("the fold is %v", have)
	}
}
