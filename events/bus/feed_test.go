package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// script is a source that does what it is told, one step after the other. Its watches end only when they are told to.
type script struct {
	mu        sync.Mutex
	state     bus.State
	stateErr  error
	answer    time.Duration // how long an answer about the state takes
	watchErr  error
	connected chan struct{}
	watches   []*scriptWatch
}

type scriptWatch struct {
	from       uint64
	made       time.Time
	deliveries chan bus.Delivery
	failed     chan error
	stopped    bool
}

func (w *scriptWatch) Deliveries() <-chan bus.Delivery { return w.deliveries }
func (w *scriptWatch) Failed() <-chan error            { return w.failed }
func (w *scriptWatch) Stop()                           { w.stopped = true }

func newScript(last uint64) *script {
	s := &script{connected: make(chan struct{})}
	close(s.connected)
	s.set(last)
	return s
}

// set says what the stream's last sequence is.
func (s *script) set(last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = bus.State{First: 1, Last: last}
}

func (s *script) State(ctx context.Context) (bus.State, error) {
	s.mu.Lock()
	state, err, answer := s.state, s.stateErr, s.answer
	s.mu.Unlock()
	if answer == 0 {
		return state, err
	}
	select {
	case <-time.After(answer):
		return state, err
	case <-ctx.Done():
		return bus.State{}, ctx.Err()
	}
}

func (s *script) Watch(_ context.Context, from uint64) (bus.Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &scriptWatch{from: from, made: time.Now(), deliveries: make(chan bus.Delivery, 100), failed: make(chan error, 1)}
	s.watches = append(s.watches, w)
	return w, s.watchErr
}

func (s *script) Connected() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// watch is the last watch that was made.
func (s *script) watch() *scriptWatch {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches[len(s.watches)-1]
}

// attempts is how many watches were made.
func (s *script) attempts() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.watches)
}

// send delivers a message on the last watch.
func (s *script) send(revision, pending uint64) {
	name := fmt.Sprintf("n%d", revision)
	s.watch().deliveries <- bus.Delivery{
		Entry:   events.Entry{Name: name, Value: []byte(name), Revision: revision, Time: time.Unix(int64(revision), 0)},
		Through: revision, Pending: pending,
	}
	synctest.Wait()
}

func (s *script) heartbeat(through uint64) {
	s.watch().deliveries <- bus.Delivery{Through: through}
	synctest.Wait()
}

// scripted runs body in a bubble, with a feed on a script.
func scripted(t *testing.T, s func() *script, body func(t *testing.T, s *script, feed *bus.Feed, fold *strictFold)) {
	synctest.Test(t, func(t *testing.T) {
		source, fold := s(), &strictFold{t: t}
		feed := bus.NewFeed(source, fold, zerolog.Nop())
		defer feed.Close()
		body(t, source, feed, fold)
		feed.Close()
		for i, w := range source.watches {
			if !w.stopped {
				t.Errorf("watch %d was not stopped", i)
			}
		}
	})
}

func TestN_ConfirmedIsWhenItWasAsked(t *testing.T) {
	const answer = 1500 * time.Millisecond
	scripted(t, func() *script { s := newScript(2); s.answer = answer; return s }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		start := time.Now()
		time.Sleep(answer)
		s.send(1, 1)
		time.Sleep(time.Millisecond)
		s.send(2, 0)
		if c := feed.Confirmed(); !c.Equal(start) {
			t.Errorf("confirmed as of %s after the start, before which nothing was asked", c.Sub(start))
		}
		for range 20 {
			asked := time.Now() // at the latest
			for range 8 {       // a check, and a sign of life after its answer
				s.heartbeat(2)
				time.Sleep(time.Second)
			}
			c := feed.Confirmed()
			if c.Before(asked.Add(-2 * time.Second)) {
				t.Fatalf("confirmed %s ago", time.Since(c))
			}
			if time.Since(c) < answer {
				t.Fatalf("confirmed %s ago, and an answer takes %s", time.Since(c), answer)
			}
		}
	})
}

func TestN_AnswerAloneConfirmsNothing(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		time.Sleep(time.Nanosecond)
		first := feed.Confirmed()
		time.Sleep(6 * time.Second) // at least one check
		synctest.Wait()
		if !feed.Confirmed().Equal(first) {
			t.Error("confirmed without a sign of life: the bucket may be another one of the same length")
		}
		s.heartbeat(1)
		if !feed.Confirmed().After(first) {
			t.Error("not confirmed by an answer and a heartbeat after it")
		}
	})
}

func TestN_EmptyBucketNeedsNoHeartbeat(t *testing.T) {
	for name, state := range map[string]bus.State{
		"new":                     {First: 1, Last: 0},
		"everything in it is old": {First: 10, Last: 9},
	} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func() *script { s := newScript(0); s.state = state; return s }, func(t *testing.T, _ *script, feed *bus.Feed, fold *strictFold) {
				synctest.Wait()
				if status := feed.Status(); !status.CaughtUp || status.Revision != state.Last || feed.Confirmed().IsZero() {
					t.Errorf("status is %+v", status)
				}
				if fold.reading {
					t.Error("the fold was not committed")
				}
			})
		})
	}
}

func TestN_NothingFollowsFromAMessageBeforeOthers(t *testing.T) {
	scripted(t, func() *script { return newScript(3) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 3)
		s.send(3, 1) // 2 has been pushed out of the history by 4, which is still to come
		if status := feed.Status(); status.CaughtUp || !feed.Confirmed().IsZero() {
			t.Fatalf("caught up with a hole in it: %+v", status)
		}
		s.send(4, 0)
		if status := feed.Status(); !status.CaughtUp || status.Revision != 4 || feed.Confirmed().IsZero() {
			t.Fatalf("not caught up: %+v", status)
		}

		confirmed := feed.Confirmed()
		s.set(6)
		time.Sleep(4 * time.Second)
		s.send(6, 1) // 5 has been pushed out by 7
		if status := feed.Status(); status.Revision != 4 || !feed.Confirmed().Equal(confirmed) {
			t.Fatalf("complete with a hole in it: %+v", status)
		}
		s.send(7, 0)
		if status := feed.Status(); status.Revision != 7 || !feed.Confirmed().After(confirmed) {
			t.Fatalf("not complete: %+v", status)
		}
	})
}

// A bucket that is set back to 6 has 5 again, and 6 is the same message still.
func TestN_NoResumeAfterAMessageBeforeOthers(t *testing.T) {
	scripted(t, func() *script { return newScript(4) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(4, 0)
		s.set(7)
		s.send(6, 1)
		s.watch().failed <- errors.New("cut")
		time.Sleep(time.Second)
		if w := s.watch(); w.from != 0 || feed.Status().CaughtUp {
			t.Errorf("resumed at %d, status %+v", w.from, feed.Status())
		}
	})
}

func TestN_ResumeProvesItself(t *testing.T) {
	same := events.Entry{Name: "n2", Value: []byte("n2"), Revision: 2, Time: time.Unix(2, 0)}
	change := func(change func(*events.Entry)) bus.Delivery {
		e := same
		change(&e)
		return bus.Delivery{Entry: e, Through: e.Revision}
	}
	for name, c := range map[string]struct {
		first []bus.Delivery
		full  bool
	}{
		"the same message":                        {[]bus.Delivery{{Entry: same, Through: 2}}, false},
		"the same message after a heartbeat":      {[]bus.Delivery{{Through: 1}, {Entry: same, Through: 2}}, false},
		"another revision":                        {[]bus.Delivery{change(func(e *events.Entry) { e.Revision = 3 })}, true},
		"another name":                            {[]bus.Delivery{change(func(e *events.Entry) { e.Name = "n3" })}, true},
		"another value":                           {[]bus.Delivery{change(func(e *events.Entry) { e.Value = []byte("n3") })}, true},
		"another time":                            {[]bus.Delivery{change(func(e *events.Entry) { e.Time = e.Time.Add(1) })}, true},
		"a marker":                                {[]bus.Delivery{change(func(e *events.Entry) { e.Deleted = true })}, true},
		"a heartbeat that has passed it by":       {[]bus.Delivery{{Through: 2}}, true},
		"a heartbeat that has passed it by a lot": {[]bus.Delivery{{Through: 1}, {Through: 9}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func() *script { return newScript(2) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
				s.send(1, 1)
				s.send(2, 0)
				s.watch().failed <- errors.New("cut")
				time.Sleep(time.Second)
				if w := s.watch(); w.from != 2 {
					t.Fatalf("the next watch begins at %d", w.from)
				}
				s.set(3)
				for _, d := range c.first {
					s.watch().deliveries <- d
				}
				time.Sleep(time.Second)
				from := uint64(2)
				if c.full {
					from = 0
				}
				if w := s.watch(); w.from != from {
					t.Fatalf("the feed watches from %d, want %d", w.from, from)
				}
				if feed.Status().CaughtUp == c.full {
					t.Errorf("status is %+v", feed.Status())
				}
			})
		})
	}
}

// The message that a resumed watch must begin with may be the only one that expired since the stream's state was read.
func TestN_ResumedWatchOfABucketThatHasJustBecomeEmpty(t *testing.T) {
	scripted(t, func() *script { return newScript(2) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(2, 0)
		confirmed := feed.Confirmed()
		s.watch().failed <- errors.New("cut")
		time.Sleep(time.Millisecond)
		s.mu.Lock()
		s.state = bus.State{First: 2, Last: 2}
		s.mu.Unlock()
		for s.attempts() < 2 {
			time.Sleep(time.Millisecond)
		}
		s.mu.Lock()
		s.state = bus.State{First: 3, Last: 2}
		s.mu.Unlock()
		time.Sleep(5 * time.Second)
		if c := feed.Confirmed(); s.attempts() == 2 && c.After(confirmed.Add(2*time.Second)) {
			t.Errorf("confirmed by a watch that has proved nothing")
		}
		s.heartbeat(2)
		time.Sleep(time.Second)
		if w := s.watch(); w.from != 0 || !feed.Status().CaughtUp {
			t.Errorf("watching from %d, status %+v", w.from, feed.Status())
		}
	})
}

func TestN_ConsumerThatIsStuckIsReplaced(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		s.set(2)
		for range 14 {
			s.heartbeat(1)
			time.Sleep(time.Second)
		}
		if s.attempts() < 2 {
			t.Errorf("the stream has been ahead for 14 s, and the watch is still the same: %+v", feed.Status())
		}
	})
}

func TestN_WatchThatHasJustBeenOvertakenIsNotReplaced(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		last := uint64(1)
		s.send(last, 0)
		for range 300 { // a write at every moment within a period of checks, after a long time without one
			for range 10 {
				s.heartbeat(last)
				time.Sleep(1007 * time.Millisecond)
			}
			last++
			s.set(last)
			time.Sleep(1500 * time.Millisecond) // the message is on its way: most times a check comes in between
			s.send(last, 0)
		}
		if n := s.attempts(); n != 1 {
			t.Errorf("the watch was replaced %d times", n-1)
		}
	})
}

func TestN_SilentWatchIsReplaced(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		for range 20 {
			time.Sleep(2 * bus.Heartbeat)
			s.heartbeat(1)
		}
		if s.attempts() != 1 {
			t.Fatal("replaced, although it gave signs of life")
		}
		time.Sleep(4 * bus.Heartbeat)
		if s.attempts() != 2 {
			t.Error("it has been silent for four heartbeats, and not been replaced")
		}
	})
}

// slowFold takes its time.
type slowFold struct {
	eventstest.Fold
	took time.Duration
}

func (f *slowFold) Apply(e events.Entry) {
	time.Sleep(f.took)
	f.Fold.Apply(e)
}

func TestN_SlownessOfOurOwnIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(50)
		feed := bus.NewFeed(s, &slowFold{took: 20 * time.Second}, zerolog.Nop())
		defer feed.Close()
		synctest.Wait()
		w := s.watches[0]
		for i := range uint64(50) {
			w.deliveries <- bus.Delivery{Entry: events.Entry{Name: "a", Revision: i + 1}, Through: i + 1, Pending: 49 - i}
		}
		time.Sleep(50 * 20 * time.Second)
		synctest.Wait()
		if status := feed.Status(); s.attempts() != 1 || !status.CaughtUp {
			t.Errorf("%d watches, status %+v", s.attempts(), status)
		}
	})
}

func TestN_AttemptsBecomeRarer(t *testing.T) {
	scripted(t, func() *script { s := newScript(1); s.watchErr = errors.New("no"); return s }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.mu.Lock()
		var waits []time.Duration
		for i := range s.watches[1:] {
			waits = append(waits, s.watches[i+1].made.Sub(s.watches[i].made))
		}
		for _, w := range s.watches {
			w.stopped = true // a watch that was not made need not be stopped
		}
		s.mu.Unlock()
		if waits[0] > 100*time.Millisecond {
			t.Errorf("the second attempt came after %s", waits[0])
		}
		if longest := slices.Max(waits); longest < 15*time.Second || longest > 30*time.Second {
			t.Errorf("the longest wait was %s", longest)
		}
		if n := len(waits); n > 60 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		if status := feed.Status(); status.Err == nil || status.Gaps != len(waits)+1 {
			t.Errorf("status is %+v after %d attempts", status, len(waits)+1)
		}
	})
}

func TestN_WatchThatHasLastedIsReplacedAtOnce(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		for i := range 20 {
			w := s.watch()
			for range 11 { // longer than what counts as steady
				s.heartbeat(1)
				time.Sleep(time.Second)
			}
			w.failed <- errors.New("cut")
			time.Sleep(100 * time.Millisecond)
			if s.attempts() != i+2 {
				t.Fatalf("the watch was not replaced at once the %d. time", i+1)
			}
			s.send(1, 0)
		}
	})
}

func TestN_FlickeringWatchIsReplacedMoreAndMoreRarely(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		start := time.Now()
		for time.Since(start) < 5*time.Minute {
			s.send(1, 0) // it even catches up
			s.watch().failed <- errors.New("cut")
			n := s.attempts()
			for s.attempts() == n {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if n := s.attempts(); n > 40 {
			t.Errorf("%d consumers in five minutes", n)
		}
	})
}

func TestN_NoAttemptWithoutAConnection(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		s.mu.Lock()
		s.connected = make(chan struct{})
		s.mu.Unlock()
		s.watch().failed <- errors.New("cut")
		time.Sleep(time.Hour)
		if s.attempts() != 1 {
			t.Fatal("it was tried without a connection")
		}
		close(s.connected)
		time.Sleep(250 * time.Millisecond)
		if s.attempts() != 2 {
			t.Error("it was not tried as soon as there was a connection")
		}
	})
}

func TestFeedSaysWhatAilsIt(t *testing.T) {
	scripted(t, func() *script { s := newScript(1); s.stateErr = errors.New("no such stream"); return s }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := feed.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no such stream") {
			t.Errorf("error is %v", err)
		}
		s.mu.Lock()
		s.stateErr = nil
		s.mu.Unlock()
		for s.attempts() == 0 {
			time.Sleep(time.Second)
		}
		s.send(1, 0)
		if err := feed.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if status := feed.Status(); status.Err != nil {
			t.Errorf("it has recovered and still says %v", status.Err)
		}
		<-feed.CaughtUp()

		s.mu.Lock()
		s.stateErr = errors.New("leader is gone")
		s.mu.Unlock()
		for range 5 {
			s.heartbeat(1)
			time.Sleep(time.Second)
		}
		if status := feed.Status(); status.Err == nil || status.Gaps == 0 || !status.CaughtUp {
			t.Errorf("a check has failed and the status is %+v", status)
		}
	})
}

func TestFeedCanBeClosedAtAnyTime(t *testing.T) {
	for name, s := range map[string]func() *script{
		"before it has asked anything": func() *script { s := newScript(1); s.answer = time.Hour; return s },
		"while it watches":             func() *script { return newScript(1) },
		"while it waits":               func() *script { s := newScript(1); s.stateErr = errors.New("no"); return s },
		"without a connection": func() *script {
			s := newScript(1)
			s.stateErr, s.connected = errors.New("no"), make(chan struct{})
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			scripted(t, s, func(t *testing.T, _ *script, feed *bus.Feed, _ *strictFold) {
				time.Sleep(time.Second)
				synctest.Wait()
				before := time.Now()
				feed.Close()
				if time.Since(before) > 0 {
					t.Error("it took time")
				}
				if err := feed.WaitRevision(t.Context(), 5); err == nil {
					t.Error("a closed feed is waited for")
				}
			})
		})
	}
}
