package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
)

// heldSource is a stream that delivers what it is told to, when it is told to.
type heldSource struct {
	mu         sync.Mutex
	last       uint64
	messages   uint64
	asked      int // for its state
	err        error
	deliveries chan Delivery
}

func newHeldSource(last uint64) *heldSource {
	return &heldSource{last: last, deliveries: make(chan Delivery)}
}

func (s *heldSource) set(last uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.err = last, err
}

func (s *heldSource) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *heldSource) State(context.Context) (State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return State{First: 1, Last: s.last, Messages: s.messages}, s.err
}

func (s *heldSource) Watch(context.Context, uint64) (Watch, error) { return s, nil }
func (s *heldSource) Deliveries() <-chan Delivery                  { return s.deliveries }
func (s *heldSource) Failed() <-chan error                         { return nil }
func (s *heldSource) Stop()                                        {}

func (s *heldSource) Connected() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (s *heldSource) deliver(revision uint64) {
	s.deliveries <- Delivery{Entry: events.Entry{Name: "issuer.a", Revision: revision}, Through: revision}
}

// appliedRevision is a follower that remembers the last revision.
type appliedRevision struct {
	mu sync.Mutex
	n  uint64
}

func (a *appliedRevision) Restart() {}
func (a *appliedRevision) Commit()  {}
func (a *appliedRevision) Apply(e events.Entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n = e.Revision
}

func (a *appliedRevision) revision() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// waiting runs wait and returns its result when it has one.
func waiting(wait func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	return done
}

func pending(t *testing.T, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("it returned too early: %v", err)
	default:
	}
}

func finished(t *testing.T, done <-chan error) error {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		return err
	default:
		t.Fatal("it has not returned")
		return nil
	}
}

func TestSyncWaitsForWhatWasInTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, applied := newHeldSource(1), new(appliedRevision)
		feed := NewFeed(source, applied, zerolog.Nop())
		defer feed.Close()

		first := waiting(func() error { return feed.Sync(t.Context()) })
		pending(t, first) // has not caught up
		source.deliver(1)
		if err := finished(t, first); err != nil {
			t.Fatal(err)
		}

		source.set(3, nil)
		done := waiting(func() error { return feed.Sync(t.Context()) })
		pending(t, done)
		source.deliver(2)
		pending(t, done)
		source.set(4, nil) // what comes later is not waited for
		source.deliver(3)
		if err := finished(t, done); err != nil {
			t.Fatal(err)
		}
		if got := applied.revision(); got != 3 {
			t.Errorf("Sync returned with revision %d applied, want 3", got)
		}
		if err := finished(t, waiting(func() error { return feed.WaitRevision(t.Context(), 3) })); err != nil {
			t.Errorf("a revision that has been applied is waited for: %v", err)
		}
	})
}

func TestF_WhoWaitsKnowsSoonWhetherTheServerDeliversAll(t *testing.T) {
	for name, c := range map[string]struct {
		messages uint64
		written  bool
		want     FeedStatus
	}{
		"it does":                    {messages: 1, want: FeedStatus{Counted: true}},
		"it keeps one back":          {messages: 2, want: FeedStatus{Counted: true, Missing: 1}},
		"something was written":      {messages: 1, written: true},
		"the same, with one missing": {messages: 2, written: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := newHeldSource(2)
				source.messages = c.messages
				keys := NewKeySet(source, newHeldSource(0), zerolog.Nop())
				defer keys.Close()
				source.deliver(2)
				time.Sleep(checkEvery - checkJitter - 1)
				if n := source.questions(); n != 1 { // before the watch
					t.Errorf("the source was asked %d times while nobody waits", n)
				}
				if st := keys.Status(); st.Keys.Counted || st.Revocations.Counted {
					t.Errorf("before: %+v", st)
				}
				if c.written {
					source.set(3, nil)
				}
				began := time.Now()
				if err := keys.WaitCounted(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("it took %s", took)
				}
				if st := keys.Status(); st.Keys.Missing != c.want.Missing || st.Keys.Counted != c.want.Counted || !st.Revocations.Counted {
					t.Errorf("after: %+v", st)
				}
			})
		})
	}
}

func TestF_WhoWaitsForTheCountDoesNotWaitForTheNextCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHeldSource(2)
		source.messages = 1
		keys := NewKeySet(source, newHeldSource(0), zerolog.Nop())
		defer keys.Close()
		source.deliver(2)
		began := time.Now()
		if err := keys.WaitCounted(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*countEvery {
			t.Errorf("it took %s", took)
		}
	})
}

func TestWaitCountedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := NewKeySet(newHeldSource(1), newHeldSource(0), zerolog.Nop())
		defer keys.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := keys.WaitCounted(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestWaitRevisionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cancel context.CancelFunc, feed *Feed)
		want string
	}{
		"with its context":            {func(cancel context.CancelFunc, _ *Feed) { cancel() }, "waiting for revision 9, at 1: context canceled"},
		"when the feed is closed":     {func(_ context.CancelFunc, feed *Feed) { feed.Close() }, "the feed was closed"},
		"saying what ails the stream": {func(cancel context.CancelFunc, _ *Feed) { cancel() }, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := newHeldSource(1)
				feed := NewFeed(source, new(appliedRevision), zerolog.Nop())
				defer feed.Close()
				source.deliver(1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				done := waiting(func() error { return feed.WaitRevision(ctx, 9) })
				pending(t, done)
				if c.want == "no answer" {
					source.set(1, errors.New(c.want))
					time.Sleep(2 * checkEvery) // on the bubble's clock: a check takes place
				}
				c.end(cancel, feed)
				if err := finished(t, done); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error is %v, want one with %q", err, c.want)
				}
			})
		})
	}
}

func TestSyncRefusesABucketThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHeldSource(1)
		feed := NewFeed(source, new(appliedRevision), zerolog.Nop())
		defer feed.Close()
		source.deliver(1)
		source.set(2, nil)
		source.deliver(2)
		synctest.Wait()

		source.set(1, nil)
		if err := feed.Sync(t.Context()); !errors.Is(err, errSetBack) {
			t.Fatalf("error is %v, want %v", err, errSetBack)
		}
		source.set(1, errors.New("no answer"))
		if err := feed.Sync(t.Context()); err == nil || err.Error() != "no answer" {
			t.Fatalf("error is %v, want no answer", err)
		}
	})
}
