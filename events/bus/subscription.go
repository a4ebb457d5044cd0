package bus

import (
	"sync"
	"sync/atomic"

	"github.com/keyherald/keyherald/events"
)

// Subscription delivers changes as they are applied.
type Subscription struct {
	from *broadcaster
	c    chan events.Change
	slow atomic.Bool
}

// C delivers the changes. It is closed when the key set or the subscription is closed, and when the reader was too slow.
func (s *Subscription) C() <-chan events.Change { return s.c }

// Slow reports whether the subscription was ended because its backlog was full. What was missed has to be looked up.
func (s *Subscription) Slow() bool { return s.slow.Load() }

// Close ends the subscription.
func (s *Subscription) Close() { s.from.drop(s) }

// broadcaster sends changes to subscribers and never waits for one.
type broadcaster struct {
	mu          sync.Mutex
	subscribers map[*Subscription]struct{}
	closed      bool
}

func (b *broadcaster) subscribe(backlog int) *Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &Subscription{from: b, c: make(chan events.Change, backlog)}
	if b.closed {
		close(s.c)
		return s
	}
	if b.subscribers == nil {
		b.subscribers = map[*Subscription]struct{}{}
	}
	b.subscribers[s] = struct{}{}
	return s
}

func (b *broadcaster) any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subscribers) > 0
}

func (b *broadcaster) send(c events.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.subscribers {
		select {
		case s.c <- c:
		default:
			s.slow.Store(true)
			delete(b.subscribers, s)
			close(s.c)
		}
	}
}

func (b *broadcaster) drop(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.subscribers[s]; ok {
		delete(b.subscribers, s)
		close(s.c)
	}
}

func (b *broadcaster) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.subscribers {
		delete(b.subscribers, s)
		close(s.c)
	}
}
