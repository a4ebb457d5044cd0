package eventstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Bucket is a bucket to test a source on, with the hands that do to it what happens to one. It is empty at first, and keeps 16
// messages on each name. [*Stream] is one.
type Bucket interface {
	bus.Source
	// Write and Delete write as the nats command does, WriteTTL with a time to live.
	Write(name, value string) uint64
	WriteTTL(name, value string, ttl time.Duration) uint64
	Delete(name string) uint64
	// Disconnect cuts the source's own connection, Connect lets it be made again. The hands have another one.
	Disconnect()
	Connect()
	// Save returns a function that sets the bucket back to what it is now.
	Save() (restore func())
	// Recreate deletes the bucket and makes it again.
	Recreate()
}

// Run makes a bucket, lets body test it, and cleans up.
type Run func(t *testing.T, body func(t *testing.T, b Bucket))

// livesLong is a time to live that a message has not reached when it is delivered on a busy machine.
const livesLong = 5 * time.Second

// TestSource tests that an implementation of [bus.Source] keeps its promises.
func TestSource(t *testing.T, run Run) {
	for name, body := range map[string]func(*testing.T, Bucket){
		"the state of an empty stream has its first beyond its last": stateOfEmpty,
		"the state says what is retained":                            stateOfRetained,
		"a watch from zero brings all, in order, then what is new":   watchAll,
		"a watch from a sequence begins with that message":           watchFrom,
		"a message is delivered as it was written":                   watchEntry,
		"sixteen messages of a name are retained":                    watchHistory,
		"an idle watch looks through to the last sequence":           watchIdle,
		"an empty stream's watch looks through to zero":              watchEmpty,
		"what has expired is looked through":                         watchExpired,
		"a watch from beyond the end brings nothing from before":     watchBeyond,
		"a lost connection ends the watch":                           watchDisconnected,
		"a watch that was stopped is over":                           watchStopped,
		"a context that has ended is obeyed":                         endedContext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, body)
		})
	}
}

func stateOfEmpty(t *testing.T, b Bucket) {
	if state := stateOf(t, b); state.Last != 0 || state.First <= state.Last {
		t.Errorf("state is %+v", state)
	}
}

func stateOfRetained(t *testing.T, b Bucket) {
	for range events.History + 2 {
		b.Write("a", "x")
	}
	if state, want := stateOf(t, b), (bus.State{First: 3, Last: events.History + 2, Messages: events.History}); state != want {
		t.Errorf("state is %+v, want %+v", state, want)
	}
}

func watchAll(t *testing.T, b Bucket) {
	b.Write("a", "1")
	b.Write("b", "2")
	b.Delete("a")
	w := open(t, b, 0)
	w.wants("a=1", "b=2", "a deleted")
	b.Write("c", "4")
	w.wants("c=4")
}

func watchFrom(t *testing.T, b Bucket) {
	b.Write("a", "1")
	b.Write("b", "2")
	b.Write("c", "3")
	open(t, b, 2).wants("b=2", "c=3")
}

func watchEntry(t *testing.T, b Bucket) {
	before := time.Now().Add(-time.Minute) // another clock
	name := "a." + strings.Repeat("n", 300) + "._-9"
	b.Write(name, "v")
	e := open(t, b, 0).next()
	if e.Name != name || string(e.Value) != "v" || e.Deleted || e.Revision != 1 || e.Caller != "" {
		t.Errorf("entry is %+v", e)
	}
	if e.Time.Before(before) || e.Time.After(time.Now().Add(time.Minute)) {
		t.Errorf("time is %s", e.Time)
	}
}

func watchHistory(t *testing.T, b Bucket) {
	var want []string
	for i := range events.History + 4 {
		b.Write("a", fmt.Sprint(i))
		if i >= 4 {
			want = append(want, fmt.Sprint("a=", i))
		}
	}
	open(t, b, 0).wants(want...)
}

func watchIdle(t *testing.T, b Bucket) {
	b.Write("a", "1")
	w := open(t, b, 0)
	w.wants("a=1")
	w.looksThrough(1)
	b.WriteTTL("b", "2", livesLong)
	w.wants("b=2")
	Eventually(t, "the last message has expired", func() bool { return stateOf(t, b).Messages == 1 })
	w.looksThrough(2)
}

func watchEmpty(t *testing.T, b Bucket) { open(t, b, 0).looksThrough(0) }

func watchExpired(t *testing.T, b Bucket) {
	b.Write("a", "1")
	b.WriteTTL("b", "2", time.Second)
	b.WriteTTL("c", "3", time.Second)
	Eventually(t, "two messages have expired", func() bool {
		w := open(t, b, 2)
		defer w.watch.Stop()
		return w.delivery().Entry.Revision == 0
	})
	w := open(t, b, 0)
	w.wants("a=1")
	w.looksThrough(3)
	if state, want := stateOf(t, b), (bus.State{First: 1, Last: 3, Messages: 1}); state != want {
		t.Errorf("state is %+v, want %+v", state, want)
	}
}

func watchBeyond(t *testing.T, b Bucket) {
	b.Write("a", "1")
	w := open(t, b, 4)
	b.Write("b", "2")
	b.Write("c", "3")
	b.Write("d", "4")
	for d := w.delivery(); ; d = w.delivery() {
		if d.Entry.Revision != 0 {
			if d.Entry.Revision != 4 {
				t.Errorf("revision %d is delivered", d.Entry.Revision)
			}
			return
		}
	}
}

func watchDisconnected(t *testing.T, b Bucket) {
	b.Write("a", "1")
	w := open(t, b, 0)
	w.wants("a=1")
	b.Disconnect()
	within(t, "the watch fails", w.watch.Failed())
	if _, err := b.State(t.Context()); err == nil {
		t.Error("the state was read without a connection")
	}
	select {
	case <-b.Connected():
		t.Error("connected")
	default:
	}
	b.Connect()
	within(t, "there is a connection", b.Connected())
	again := open(t, b, 1)
	again.wants("a=1")
}

func watchStopped(t *testing.T, b Bucket) {
	w := open(t, b, 0)
	w.watch.Stop()
	w.watch.Stop()
	for len(w.watch.Deliveries()) > 0 {
		<-w.watch.Deliveries()
	}
	b.Write("a", "1")
	other := open(t, b, 0)
	other.wants("a=1")
	if len(w.watch.Deliveries()) > 0 {
		t.Error("it still delivers")
	}
}

func endedContext(t *testing.T, b Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.State(ctx); err == nil {
		t.Error("the state was read")
	}
	if w, err := b.Watch(ctx, 0); err == nil {
		w.Stop()
		t.Error("the stream is watched")
	}
}

func stateOf(t *testing.T, s bus.Source) bus.State {
	t.Helper()
	state, err := s.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// reader reads a watch.
type reader struct {
	t     *testing.T
	watch bus.Watch
}

func open(t *testing.T, s bus.Source, from uint64) reader {
	t.Helper()
	w, err := s.Watch(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return reader{t, w}
}

func (r reader) delivery() bus.Delivery {
	r.t.Helper()
	select {
	case d := <-r.watch.Deliveries():
		return d
	case err := <-r.watch.Failed():
		r.t.Fatalf("the watch failed: %v", err)
	case <-time.After(Patience):
		r.t.Fatal("nothing was delivered")
	}
	return bus.Delivery{}
}

// next is the next message.
func (r reader) next() events.Entry {
	r.t.Helper()
	for began := time.Now(); time.Since(began) < Patience; {
		if d := r.delivery(); d.Entry.Revision != 0 {
			if d.Through != d.Entry.Revision {
				r.t.Errorf("revision %d looks through to %d", d.Entry.Revision, d.Through)
			}
			return d.Entry
		}
	}
	r.t.Fatal("there are signs of life, and no message")
	return events.Entry{}
}

func (r reader) wants(entries ...string) {
	r.t.Helper()
	for _, want := range entries {
		e := r.next()
		have := e.Name + "=" + string(e.Value)
		if e.Deleted {
			have = e.Name + " deleted"
		}
		if have != want {
			r.t.Fatalf("revision %d is %s, want %s", e.Revision, have, want)
		}
	}
}

// looksThrough waits for a heartbeat that says so.
func (r reader) looksThrough(revision uint64) {
	r.t.Helper()
	for began := time.Now(); time.Since(began) < Patience; {
		d := r.delivery()
		if d.Entry.Revision != 0 {
			r.t.Fatalf("revision %d is delivered", d.Entry.Revision)
		}
		if d.Through > revision {
			r.t.Fatalf("it claims to have looked through to %d, want %d", d.Through, revision)
		}
		if d.Through == revision {
			return
		}
	}
	r.t.Fatalf("it does not look through to %d", revision)
}

func within[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(Patience):
		t.Fatalf("it did not come about that %s", what)
	}
	return v
}
