package bus_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

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
