package bus_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

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

// TestN_WatchThatWasCurrentAndFellSilentIsReplacedAtOnce comes after so many failures that attempts have become rare.
func TestN_WatchThatWasCurrentAndFellSilentIsReplacedAtOnce(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, _ *bus.Feed, _ *strictFold) {
		await := func(n int) {
			for s.attempts() < n {
				time.Sleep(10 * time.Millisecond)
			}
		}
		for i := range 9 {
			s.watch().failed <- errors.New("cut")
			await(i + 2)
		}
		s.send(1, 0)
		current := time.Now()
		await(11)
		if took := time.Since(current); took > 7500*time.Millisecond { // it takes seven seconds to be silent
			t.Errorf("it took %s to replace a watch that had fallen silent", took)
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
