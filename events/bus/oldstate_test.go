package bus_test

import (
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

// says lets every reading of the state say this from now on.
func (s *script) says(state bus.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// TestN_OldStateConfirmsWhatWas: an old leader that was paused, or is cut off from the others, answers as if nothing had been written since.
func TestN_OldStateConfirmsWhatWas(t *testing.T) {
	for name, c := range map[string]struct {
		state    bus.State
		confirms bool
	}{
		"a second old":                        {bus.State{First: 1, Last: 2, Age: time.Second}, true},
		"too old to say anything":             {bus.State{First: 1, Last: 2, Age: 4 * time.Second}, false},
		"too old to say that it was set back": {bus.State{First: 1, Last: 1, Age: 4 * time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func() *script { return newScript(2) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
				s.send(1, 1)
				s.send(2, 0)
				first := feed.Confirmed()
				s.says(c.state)
				time.Sleep(5 * time.Second) // at least one check
				s.heartbeat(2)
				age := time.Since(feed.Confirmed())
				switch {
				case !c.confirms && !feed.Confirmed().Equal(first):
					t.Errorf("confirmed by it, %v ago", age)
				case !c.confirms && feed.Status().Err == nil:
					t.Error("nobody is told")
				case c.confirms && (feed.Confirmed().Equal(first) || age < c.state.Age):
					t.Errorf("confirmed %v ago, by a state that is %v old", age, c.state.Age)
				}
				if status := feed.Status(); status.Gaps > 0 {
					t.Errorf("the feed has begun again: %+v", status)
				}
			})
		})
	}
}

// TestN_OldStateIsNotABucketThatWasSetBack: what was written meanwhile is not in an old state.
func TestN_OldStateIsNotABucketThatWasSetBack(t *testing.T) {
	scripted(t, func() *script { return newScript(1) }, func(t *testing.T, s *script, feed *bus.Feed, _ *strictFold) {
		s.send(1, 0)
		s.says(bus.State{First: 1, Last: 1, Age: 2900 * time.Millisecond})
		for revision := uint64(2); revision < 10; revision++ { // each check comes less than its age after something was written
			s.send(revision, 0)
			time.Sleep(time.Second)
		}
		if status := feed.Status(); status.Resyncs != 1 || status.Gaps != 0 {
			t.Errorf("status is %+v: it was taken for a bucket that was set back", status)
		}
		for range 4 { // now nothing explains it
			time.Sleep(bus.Heartbeat)
			s.heartbeat(9)
		}
		if status := feed.Status(); status.Resyncs < 2 {
			t.Errorf("status is %+v: the bucket is older than what was applied, and nobody sees it", status)
		}
	})
}
