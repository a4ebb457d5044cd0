package bus_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

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

// A heartbeat says that the consumer is through with a message that it never brought, the last one up to there.
func TestN_HeartbeatThatPassesOverAMessageMeansANewWatch(t *testing.T) {
	scripted(t, func() *script { return newScript(2) }, func(t *testing.T, s *script, feed *bus.Feed, fold *strictFold) {
		s.send(1, 1)
		s.send(2, 0)
		s.heartbeat(2)
		s.set(3)
		s.heartbeat(3)
		time.Sleep(time.Second)
		if w := s.watch(); s.attempts() != 2 || w.from != 2 {
			t.Fatalf("%d watches, the last from %d", s.attempts(), w.from)
		}
		if status := feed.Status(); !status.CaughtUp || status.Revision != 2 {
			t.Fatalf("complete, and something was left out: %+v", status)
		}
		s.send(2, 1)
		s.send(3, 0)
		if status := feed.Status(); status.Revision != 3 || len(fold.Values()) != 3 {
			t.Errorf("not complete: %+v, %v", status, fold.Values())
		}
	})
}

// One that has expired before it could be delivered is not there either. The new watch finds that out, and is the last.
func TestN_HeartbeatAfterALastMessageThatExpired(t *testing.T) {
	scripted(t, func() *script { return newScript(2) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 1)
		s.send(2, 0)
		s.set(3)
		s.heartbeat(3)
		time.Sleep(time.Second)
		s.send(2, 0)
		for range 20 {
			s.heartbeat(3)
			time.Sleep(time.Second)
		}
		if status := feed.Status(); s.attempts() != 2 || status.Revision != 3 || status.Resyncs != 1 {
			t.Errorf("%d watches, status %+v", s.attempts(), status)
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
		if !feed.Confirmed().Equal(confirmed) {
			t.Errorf("confirmed by a watch that has proved nothing")
		}
		s.heartbeat(2)
		time.Sleep(time.Second)
		if w := s.watch(); w.from != 0 || !feed.Status().CaughtUp {
			t.Errorf("watching from %d, status %+v", w.from, feed.Status())
		}
	})
}
