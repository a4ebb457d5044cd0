package eventstest

import "slices"

// Disconnect cuts the connection: watches fail, and nothing can be asked until Connect.
func (s *Stream) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.online:
		s.online = make(chan struct{})
	default:
	}
	for w := range s.watches {
		w.dead = true
		w.fail(ErrOffline)
	}
	s.wake()
}

// Connect makes the connection again.
func (s *Stream) Connect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.online:
	default:
		close(s.online)
	}
}

// Freeze lets nothing pass any more, in any direction, on a connection that stays.
func (s *Stream) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.flowing:
		s.flowing = make(chan struct{})
	default:
	}
	s.wake()
}

// Thaw ends Freeze.
func (s *Stream) Thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.flowing:
	default:
		close(s.flowing)
	}
}

// LoseConsumers lets the consumers of all watches vanish. Nobody tells the watches.
func (s *Stream) LoseConsumers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loseConsumers()
}

func (s *Stream) loseConsumers() {
	for w := range s.watches {
		w.dead = true
	}
	s.wake()
}

// Save returns a function that sets the stream back to what it is now. The consumers are gone then, as they are after a
// restore through the API; for a store directory that was copied back call Disconnect and Connect, too.
func (s *Stream) Save() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	messages, last := slices.Clone(s.messages), s.last
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.messages, s.last = slices.Clone(messages), last
		s.loseConsumers()
	}
}

// Recreate deletes the stream and makes it again, empty.
func (s *Stream) Recreate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.last = nil, 0
	s.loseConsumers()
}
