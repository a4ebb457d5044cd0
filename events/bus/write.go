package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events"
)

// The headers of our own writes.
const (
	headerCaller = "Keyherald-Caller"
	// headerWrite is a random number for each write: it tells our own write from another's with the same content
	// when the answer got lost. It is not Nats-Msg-Id: that is one name space for the whole stream, in which one
	// writer can swallow another's message.
	headerWrite = "Keyherald-Write"

	headerOperation    = "KV-Operation"
	headerMarkerReason = "Nats-Marker-Reason"
)

// requestTimeout bounds one request; a caller's context may end it earlier.
const requestTimeout = 5 * time.Second

// Put is one write.
type Put struct {
	Bucket Bucket
	Name   string
	Value  []byte
	// Replaces is the revision of the name's last message; zero: there must be none.
	Replaces uint64
	// Caller says who writes; see events.Entry.
	Caller string
	// TTL is how long the bucket keeps the message, in whole seconds. Zero: for ever, or the bucket's own limit.
	TTL time.Duration
}

// Put writes a record by compare-and-set and returns its revision. It fails with [ErrConflict] if the name's last
// message is not the one to replace. When an answer gets lost, Put finds out what happened; it gives up with
// [ErrUnknownOutcome] when ctx ends before.
func (c *Conn) Put(ctx context.Context, p Put) (uint64, error) {
	if len(p.Value) > events.MaxValue {
		return 0, fmt.Errorf("writing %s: %d bytes: %w", p.Name, len(p.Value), ErrTooLarge)
	}
	subject := p.Bucket.Subject(p.Name)
	id := rand.Text()
	msg := nats.NewMsg(subject)
	msg.Data = p.Value
	msg.Header.Set(headerWrite, id)
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(p.Replaces, 10))
	if p.Caller != "" {
		msg.Header.Set(headerCaller, p.Caller)
	}
	if p.TTL > 0 {
		msg.Header.Set(jetstream.MsgTTLHeader, p.TTL.Truncate(time.Second).String())
	}
	sent := false // some attempt may have reached the stream
	for attempt := 0; ; attempt++ {
		revision, err := c.publish(ctx, msg)
		if err == nil {
			return revision, nil
		}
		if denied := c.denied(subject); denied != nil {
			return 0, fmt.Errorf("writing %s: %w", p.Name, translate(denied))
		}
		reason := translate(err)
		if !sent && !isUnknown(err) && !errors.Is(reason, ErrUnreachable) {
			return 0, fmt.Errorf("writing %s: %w", p.Name, reason)
		}
		sent = sent || isUnknown(err)
		if sent {
			if revision, err := c.outcome(ctx, p, id); err == nil {
				return revision, nil
			} else if errors.Is(err, ErrConflict) {
				return 0, fmt.Errorf("writing %s: %w", p.Name, ErrConflict)
			}
			reason = fmt.Errorf("%w: %w", ErrUnknownOutcome, reason)
		}
		if c.pause(ctx, attempt) != nil {
			return 0, fmt.Errorf("writing %s: %w", p.Name, reason)
		}
	}
}

func (c *Conn) publish(ctx context.Context, msg *nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

var errUndecided = errors.New("the write has not been found, nor another in its place")

// outcome looks for a write whose answer got lost. By compare-and-set, exactly one message can follow the revision that it
// replaces: if that is ours, the write took place; if it is another's, the error is ErrConflict. While there is none, sending again is safe.
func (c *Conn) outcome(ctx context.Context, p Put, id string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.stream(ctx, p.Bucket)
	if err != nil {
		return 0, err
	}
	next, err := stream.GetMsg(ctx, p.Replaces+1, jetstream.WithGetMsgSubject(p.Bucket.Subject(p.Name)))
	if err != nil {
		// Not every role may read by sequence; the last message is enough unless another followed ours already.
		last, lastErr := stream.GetLastMsgForSubject(ctx, p.Bucket.Subject(p.Name))
		if lastErr != nil || last.Header.Get(headerWrite) != id {
			return 0, errUndecided
		}
		return last.Sequence, nil
	}
	if next.Header.Get(headerWrite) == id {
		return next.Sequence, nil
	}
	return 0, ErrConflict
}

func (c *Conn) pause(ctx context.Context, attempt int) error {
	select {
	case <-time.After(backoff(attempt)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns the last message on a name, which may be a marker: its revision is what the next write replaces. The
// server that answers may be behind: decide by the outcome of a write, not by a Get alone. The error is
// [ErrNotFound] if there is no message.
func (c *Conn) Get(ctx context.Context, bucket Bucket, name string) (events.Entry, error) {
	msg, err := c.last(ctx, bucket, name)
	if err != nil {
		return events.Entry{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return events.Entry{
		Name: name, Value: msg.Data, Deleted: isMarker(msg.Header), Revision: msg.Sequence, Time: msg.Time,
		Caller: msg.Header.Get(headerCaller),
	}, nil
}

func (c *Conn) last(ctx context.Context, bucket Bucket, name string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := c.stream(ctx, bucket)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, bucket.Subject(name))
	return msg, translate(err)
}

// stream returns the bucket's stream, looked up once.
func (c *Conn) stream(ctx context.Context, bucket Bucket) (jetstream.Stream, error) {
	c.mu.Lock()
	s := c.streams[bucket]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := c.js.Stream(ctx, bucket.Stream())
	if err != nil {
		if denied := c.denied("$JS.API.STREAM.INFO." + bucket.Stream()); denied != nil {
			err = denied
		}
		return nil, translate(err)
	}
	c.mu.Lock()
	c.streams[bucket] = s
	c.mu.Unlock()
	return s, nil
}

func isMarker(h nats.Header) bool {
	switch h.Get(headerOperation) {
	case "DEL", "PURGE":
		return true
	}
	return h.Get(headerMarkerReason) != ""
}

// Decision is what to write after reading a record. A nil Value writes nothing.
type Decision struct {
	Value []byte
	TTL   time.Duration
}

// Update reads the last message on a name, lets decide say what to write instead, and writes it; after a conflict
// it reads and decides again. decide gets an entry with revision zero if there is no message. It returns the revision
// written, or the one read if there was nothing to write.
func (c *Conn) Update(ctx context.Context, bucket Bucket, name, caller string, decide func(events.Entry) (Decision, error)) (uint64, error) {
	for attempt := 0; ; attempt++ {
		current, err := c.Get(ctx, bucket, name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		current.Name = name
		d, err := decide(current)
		if err != nil || d.Value == nil {
			return current.Revision, err
		}
		revision, err := c.Put(ctx, Put{Bucket: bucket, Name: name, Value: d.Value, Replaces: current.Revision, Caller: caller, TTL: d.TTL})
		if err == nil || !errors.Is(err, ErrConflict) {
			return revision, err
		}
		if err := c.pause(ctx, attempt); err != nil {
			return 0, fmt.Errorf("writing %s: %w: %w", name, ErrConflict, err)
		}
	}
}
