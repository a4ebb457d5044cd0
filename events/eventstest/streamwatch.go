package eventstest

import (
	"context"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

// watch is a consumer of a [Stream] and the subscription to it.
type watch struct {
	stream     *Stream
	deliveries chan bus.Delivery
	failed     chan error
	stop       func()
	done       chan struct{}

	// The rest is guarded by the stream's mu.
	next uint64 // the consumer looks for the first message from here on
	dead bool   // the consumer is gone, and nobody has said so
	hole bool   // a delivery was lost
}

var _ bus.Watch = (*watch)(nil)

// Watch implements bus.Source.
func (s *Stream) Watch(ctx context.Context, from uint64) (bus.Watch, error) {
	if err := s.pass(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{
		stream: s, next: max(from, 1), deliveries: make(chan bus.Delivery, 16), failed: make(chan error, 1),
		stop: cancel, done: make(chan struct{}),
	}
	s.mu.Lock()
	s.watches[w] = struct{}{}
	s.mu.Unlock()
	go w.run(ctx)
	return w, nil
}

func (w *watch) Deliveries() <-chan bus.Delivery { return w.deliveries }
func (w *watch) Failed() <-chan error            { return w.failed }

func (w *watch) Stop() {
	w.stop()
	<-w.done
	w.stream.mu.Lock()
	defer w.stream.mu.Unlock()
	delete(w.stream.watches, w)
}

func (w *watch) fail(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// run sends what there is, and a heartbeat when there has been nothing for a while.
func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	heartbeat := time.NewTimer(bus.Heartbeat)
	defer heartbeat.Stop()
	due := false
	for {
		batch, changed, flowing := w.look(due)
		for _, d := range batch {
			select {
			case w.deliveries <- d:
				heartbeat.Reset(bus.Heartbeat)
			case <-ctx.Done():
				return
			}
		}
		due = false
		if len(batch) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-flowing:
		case <-heartbeat.C:
			heartbeat.Reset(bus.Heartbeat)
			due = true
		case <-ctx.Done():
			return
		}
	}
}

// look returns what the consumer sends now: the next message, or a heartbeat if one is due, or nothing. Then it says what to wait for.
func (w *watch) look(heartbeat bool) (batch []bus.Delivery, changed, flowing <-chan struct{}) {
	s := w.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.dead {
		return nil, nil, nil
	}
	select {
	case <-s.flowing:
	default:
		return nil, nil, s.flowing
	}
	s.expire()
	d := bus.Delivery{}
	if i := slices.IndexFunc(s.messages, func(m message) bool { return m.Revision >= w.next }); i >= 0 {
		m := s.messages[i]
		d = bus.Delivery{Entry: m.Entry, Through: m.Revision, Pending: uint64(len(s.messages) - i - 1)}
	}
	switch {
	case d.Entry.Revision != 0:
		w.next = d.Entry.Revision + 1
	case !heartbeat:
		return nil, s.changed, nil
	default:
		w.next = max(w.next, s.last+1) // it is taken at its word where it began: that may be further
		d.Through = w.next - 1
	}
	if w.hole {
		w.fail(ErrLost)
		w.dead = true
		return nil, nil, nil
	}
	fate := Delivered
	if d.Entry.Revision != 0 && s.faults.Deliver != nil {
		fate = s.faults.Deliver(d.Entry)
	}
	switch fate {
	case Lost:
		w.hole = true
		return nil, closed(), nil
	case Twice:
		return []bus.Delivery{d, d}, nil, nil
	case Early:
		d.Pending = 0
	}
	return []bus.Delivery{d}, nil, nil
}
