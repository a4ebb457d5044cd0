package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

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

// TestF_AFeedHasMorePatienceWithServersThatAnswerLate: else servers that are busy would never answer anybody in time.
func TestF_AFeedHasMorePatienceWithServersThatAnswerLate(t *testing.T) {
	const answer = 7 * time.Second
	scripted(t, func() *script { s := newScript(1); s.answer = answer; return s }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		time.Sleep(answer) // more than it waits for the first answer,
		if s.attempts() > 0 {
			t.Fatal("it has waited for the first answer")
		}
		time.Sleep(answer) // and less than for the next
		s.send(1, 0)
		if !feed.Status().CaughtUp {
			t.Fatalf("it has not caught up: %+v", feed.Status())
		}
		checks := func(answer, during time.Duration) error {
			s.mu.Lock()
			s.answer = answer
			s.mu.Unlock()
			for began := time.Now(); time.Since(began) < during; time.Sleep(time.Second) {
				s.heartbeat(1)
			}
			return feed.Status().Err
		}
		for range 2 { // an answer in time makes it as impatient as before
			if err := checks(0, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			if checks(answer, 9*time.Second) == nil {
				t.Error("a check that takes longer is waited for")
			}
		}
	})
}

func TestFeedIsClosedWhenNothingOfItRuns(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		s.mu.Lock()
		s.answer, s.lingers = time.Hour, time.Minute
		s.mu.Unlock()
		time.Sleep(5 * time.Second) // a check is on its way
		feed.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asking != 0 {
			t.Errorf("%d readings of the state are still on their way", s.asking)
		}
	})
}
