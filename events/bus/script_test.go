package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// script is a source that does what it is told, one step after the other. Its watches end only when they are told to.
type script struct {
	mu        sync.Mutex
	state     bus.State
	stateErr  error
	answer    time.Duration // how long an answer about the state takes,
	lingers   time.Duration // and how long one that nobody waits for any more
	asking    int           // how many are on their way
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
	state, err, answer, lingers := s.state, s.stateErr, s.answer, s.lingers
	s.asking++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asking--
	}()
	if answer == 0 {
		return state, err
	}
	select {
	case <-time.After(answer):
		return state, err
	case <-ctx.Done():
		time.Sleep(lingers)
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
