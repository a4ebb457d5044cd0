package eventstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// The errors with which a [Stream] says what was done to it.
var (
	ErrOffline = fmt.Errorf("simulated: %w", bus.ErrUnreachable)
	ErrLost    = errors.New("simulated: a message was lost on the way")
)

// Fate is what becomes of a delivery.
type Fate uint8

// The fates of a delivery.
const (
	Delivered Fate = iota
	Lost           // it does not arrive, and the watch finds out when the next one does
	Twice          // it arrives twice
	Early          // it says that nothing is left to come after it, whatever is
)

// Faults are the places at which a test can interfere with a [Stream]. They are called one at a time. A nil one does nothing.
type Faults struct {
	// Write decides about a write by [Stream.Put]: whether it takes place, and what the writer hears of it. A nil error is what
	// really happened.
	Write func(bus.Put) (apply bool, err error)
	// State decides what a reading of the state says.
	State func(bus.State) (bus.State, error)
	// Delay is how long an answer about the state is on its way, after it was read.
	Delay func() time.Duration
	// Deliver decides about a delivery of a message.
	Deliver func(events.Entry) Fate
}

// Stream is a bucket's stream in memory, with a consumer for each watch: a [bus.Source] that behaves as a NATS server does, as far as
// a feed can tell, and that a test can interfere with. Times are those of package time, so under testing/synctest it runs on the
// bubble's clock. It keeps the last 16 messages on each name.
type Stream struct {
	mu       sync.Mutex
	faults   Faults
	messages []message // by sequence
	last     uint64
	written  time.Time     // of the message written last, on whatever timeline
	online   chan struct{} // closed while there is a connection
	flowing  chan struct{} // closed while answers and deliveries pass
	changed  chan struct{} // closed, and replaced, when there is something to look at for a watch
	watches  map[*watch]struct{}
}

type message struct {
	events.Entry
	expires time.Time // zero: never
}

var _ bus.Source = (*Stream)(nil)

// NewStream returns an empty stream.
func NewStream() *Stream {
	s := &Stream{online: closed(), flowing: closed(), changed: make(chan struct{}), watches: map[*watch]struct{}{}}
	return s
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// SetFaults replaces the faults.
func (s *Stream) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Write appends a message as the nats command does: unseen, and with no word of who.
func (s *Stream) Write(name, value string) uint64 {
	return s.append(events.Entry{Name: name, Value: []byte(value)}, 0)
}

// WriteTTL appends a message that the stream keeps for ttl. It goes without a marker.
func (s *Stream) WriteTTL(name, value string, ttl time.Duration) uint64 {
	return s.append(events.Entry{Name: name, Value: []byte(value)}, ttl)
}

// Delete appends a delete marker.
func (s *Stream) Delete(name string) uint64 {
	return s.append(events.Entry{Name: name, Deleted: true}, 0)
}

func (s *Stream) append(e events.Entry, ttl time.Duration) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.appendLocked(e, ttl)
}

func (s *Stream) appendLocked(e events.Entry, ttl time.Duration) uint64 {
	s.expire()
	s.last++
	m := message{Entry: e}
	// No two messages have the same time, as with a real clock: what was written after a restore can be told from what was
	// lost by it.
	m.Revision, m.Time = s.last, time.Now()
	if !m.Time.After(s.written) {
		m.Time = s.written.Add(time.Nanosecond)
	}
	s.written = m.Time
	if ttl > 0 {
		m.expires = m.Time.Add(ttl)
	}
	s.messages = append(s.messages, m)
	n := 0
	for i := len(s.messages) - 1; i >= 0; i-- {
		if s.messages[i].Name != e.Name {
			continue
		}
		if n++; n > events.History {
			s.messages = slices.Delete(s.messages, i, i+1)
			break
		}
	}
	s.wake()
	return s.last
}

// Put writes by compare-and-set, as [bus.Conn.Put] does. The bucket is not looked at.
func (s *Stream) Put(ctx context.Context, p bus.Put) (uint64, error) {
	if err := s.pass(ctx); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	apply, fault := true, error(nil)
	if s.faults.Write != nil {
		apply, fault = s.faults.Write(p)
	}
	if !apply {
		return 0, fault
	}
	var revision uint64
	if m := s.lastOf(p.Name); m != nil {
		revision = m.Revision
	}
	if revision != p.Replaces {
		return 0, errors.Join(bus.ErrConflict, fault)
	}
	revision = s.appendLocked(events.Entry{Name: p.Name, Value: slices.Clone(p.Value), Deleted: p.Delete, Caller: p.Caller}, p.TTL)
	if fault != nil {
		return 0, fault
	}
	return revision, nil
}

// Get returns the last message on a name, as [bus.Conn.Get] does.
func (s *Stream) Get(ctx context.Context, name string) (events.Entry, error) {
	if err := s.pass(ctx); err != nil {
		return events.Entry{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if m := s.lastOf(name); m != nil {
		return m.Entry, nil
	}
	return events.Entry{}, bus.ErrNotFound
}

func (s *Stream) lastOf(name string) *message {
	for i := range slices.Backward(s.messages) {
		if s.messages[i].Name == name {
			return &s.messages[i]
		}
	}
	return nil
}

// Retained returns the messages that the stream has, in order.
func (s *Stream) Retained() []events.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	out := make([]events.Entry, len(s.messages))
	for i, m := range s.messages {
		out[i] = m.Entry
	}
	return out
}

// expire drops the messages whose time is over. The caller holds mu.
func (s *Stream) expire() {
	now := time.Now()
	s.messages = slices.DeleteFunc(s.messages, func(m message) bool { return !m.expires.IsZero() && !m.expires.After(now) })
}

// wake lets watches look again. The caller holds mu.
func (s *Stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// State implements bus.Source.
func (s *Stream) State(ctx context.Context) (bus.State, error) {
	if err := s.pass(ctx); err != nil {
		return bus.State{}, err
	}
	state, delay, err := s.state()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return bus.State{}, ctx.Err()
		}
		if err := s.pass(ctx); err != nil {
			return bus.State{}, err
		}
	}
	return state, err
}

func (s *Stream) state() (state bus.State, delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	state = bus.State{First: s.last + 1, Last: s.last, Messages: uint64(len(s.messages))}
	if len(s.messages) > 0 {
		state.First = s.messages[0].Revision
	}
	if s.faults.Delay != nil {
		delay = s.faults.Delay()
	}
	if s.faults.State != nil {
		state, err = s.faults.State(state)
	}
	return state, delay, err
}

// pass returns when the way is free, or with the reason why it is not. Requests time out as they do on a real connection.
func (s *Stream) pass(ctx context.Context) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.mu.Lock()
	online, flowing := s.online, s.flowing
	s.mu.Unlock()
	select {
	case <-online:
	default:
		return ErrOffline
	}
	select {
	case <-flowing:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Connected implements bus.Source.
func (s *Stream) Connected() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.online
}
