package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode"

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

	operationDelete = "DEL"
)

// maxCaller is how much is written and read of a caller, in bytes; the streams have 1 KiB for all headers.
const maxCaller = 256

const (
	// A write whose outcome is not known is looked for again after 50 ms at the earliest and 2 s at the latest.
	firstLook = 100 * time.Millisecond
	lastLook  = 2 * time.Second
	// leaderless is how long a write waits for a bucket's next leader, which takes ten seconds at the longest if there can be one.
	leaderless = 20 * time.Second
	// enoughConflicts is how often a write is refused before that is believed although nothing is there in its place: because there never was
	// the revision that it is to replace.
	enoughConflicts = 4
	// A decision that came too late is made again after 2.5 ms at the earliest and 500 ms at the latest.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 500 * time.Millisecond
)

// Put is one write.
type Put struct {
	Bucket Bucket
	Name   string
	Value  []byte
	// Replaces is the revision of the name's last message; zero: there must be none.
	Replaces uint64
	// Caller says who writes; see events.Entry. Control characters and what is beyond 256 bytes are left out.
	Caller string
	// TTL is how long the bucket keeps the message, rounded up to whole seconds. Zero: for ever, or the bucket's own limit.
	TTL time.Duration
	// Delete writes a delete marker in place of a value, which must be empty.
	Delete bool
}

// Put writes a record by compare-and-set and returns its revision. It fails with [ErrConflict] if the name's last
// message is not the one to replace, and at once with [ErrUnreachable] when there is no connection. When the bucket's leader is lost, Put
// waits for the next one; [ErrNoLeader] says that none came in time. When an answer gets lost, Put
// finds out what happened, and writes again what did not arrive. [ErrUnknownOutcome] says that it could not: ctx
// ended before, or the bucket's history does not tell any more.
func (c *Conn) Put(ctx context.Context, p Put) (uint64, error) {
	revision, err := c.put(ctx, p)
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", p.Name, err)
	}
	return revision, nil
}

func (c *Conn) put(ctx context.Context, p Put) (uint64, error) {
	if len(p.Value) > events.MaxValue {
		return 0, fmt.Errorf("%d bytes: %w", len(p.Value), ErrTooLarge)
	}
	if p.Delete && len(p.Value) > 0 {
		return 0, errors.New("a delete marker has no value")
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	msg, id := p.message()
	revision, err := c.deliver(ctx, p.Bucket, msg)
	if !isUnknown(err) && translate(err) != ErrConflict {
		return revision, translate(err)
	}
	return c.settle(ctx, p, msg, id, err)
}

func (p Put) message() (msg *nats.Msg, id string) {
	id = rand.Text()
	msg = nats.NewMsg(p.Bucket.Subject(p.Name))
	msg.Data = p.Value
	msg.Header.Set(headerWrite, id)
	msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(p.Replaces, 10))
	if by := cleanCaller(p.Caller); by != "" {
		msg.Header.Set(headerCaller, by)
	}
	if p.Delete {
		msg.Header.Set(headerOperation, operationDelete)
	}
	if p.TTL > 0 {
		seconds := (p.TTL + time.Second - 1) / time.Second
		msg.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(seconds), 10)+"s")
	}
	return msg, id
}

// deliver publishes a message that is sure not to have arrived before, and waits for a server that takes it: for some seconds after the one
// that decides about a bucket is lost, none does. Nobody has taken what was published then.
func (c *Conn) deliver(ctx context.Context, bucket Bucket, msg *nats.Msg) (uint64, error) {
	end := time.Now().Add(leaderless)
	for attempt := 0; ; attempt++ {
		revision, err := c.publish(ctx, msg)
		if !errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, nats.ErrNoResponders) {
			return revision, err
		}
		if _, missing := c.info(ctx, requestTimeout, bucket); errors.Is(missing, ErrNoBucket) {
			return 0, missing
		}
		if time.Now().After(end) {
			return 0, ErrNoLeader
		}
		if ended := sleep(ctx, backoff(attempt, firstLook, lastLook, mathrand.N)); ended != nil {
			return 0, fmt.Errorf("%w (%w)", ErrNoLeader, ended)
		}
	}
}

func (c *Conn) publish(ctx context.Context, msg *nats.Msg) (uint64, error) {
	if !c.nc.IsConnected() { // the library would take it while it is connecting, and lose it
		return 0, errOffline
	}
	ctx, stop := c.request(ctx, msg.Subject)
	defer stop()
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return 0, cause(ctx, err)
	}
	return ack.Sequence, nil
}

// settle finds out about a write whose answer got lost, or was that there is a conflict: in a cluster whose servers have just found each
// other again, a write can arrive twice, and conflict with itself. By compare-and-set, one message can follow the revision that it replaces:
// so it is safe to send it again while there is none.
func (c *Conn) settle(ctx context.Context, p Put, msg *nats.Msg, id string, reason error) (uint64, error) {
	answer, conflicts := reason, 0
	for attempt := 0; ; attempt++ {
		revision, err := c.outcome(ctx, p, id)
		if errors.Is(err, errNotThere) {
			if last, ok := conflictsWith(answer); ok && last <= revision { // and that was looked at
				conflicts++
			}
			if conflicts < enoughConflicts {
				if revision, err = c.publish(ctx, msg); translate(err) == ErrConflict {
					answer, err = err, errNotThere // with what came in between, perhaps our own: look again
				}
			}
		}
		switch {
		case conflicts >= enoughConflicts && errors.Is(err, errNotThere), translate(answer) == ErrConflict && errors.Is(err, ErrUnknownOutcome):
			return 0, ErrConflict // with something that cannot be seen
		case err == nil, errors.Is(err, ErrConflict), errors.Is(err, ErrUnknownOutcome):
			return revision, err
		}
		if c.nc.IsClosed() || sleep(ctx, backoff(attempt, firstLook, lastLook, mathrand.N)) != nil {
			return 0, fmt.Errorf("%w (%w)", ErrUnknownOutcome, reason)
		}
	}
}

var errNotThere = errors.New("the write has not been found, nor another in its place")

// outcome looks for a write: it returns its revision, or ErrConflict if another's took its place, or errNotThere and the revision that is.
func (c *Conn) outcome(ctx context.Context, p Put, id string) (uint64, error) {
	last, err := c.last(ctx, p.Bucket, p.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, errNotThere
	case err == nil && last.Sequence <= p.Replaces:
		return last.Sequence, errNotThere
	case errors.Is(err, ErrPermission): // an issuer node may write ASSERTIONS, and not read it
		return 0, fmt.Errorf("%w: the credential may not read it", ErrUnknownOutcome)
	case err != nil:
		return 0, err
	case last.Header.Get(headerWrite) == id:
		return last.Sequence, nil
	case replaces(last, p.Replaces):
		return 0, ErrConflict
	}
	// Another message is there: in place of ours, or after it.
	next, err := c.next(ctx, p.Bucket, p.Name, p.Replaces)
	switch {
	case errors.Is(err, ErrNotFound) && StreamConfig(p.Bucket, 1).MaxMsgsPerSubject > 1:
		return last.Sequence, errNotThere // this replica has not yet what the one before had
	case errors.Is(err, ErrPermission), errors.Is(err, ErrNotFound):
		return 0, fmt.Errorf("%w: another has followed", ErrUnknownOutcome)
	case err != nil:
		return 0, err
	case next.Header.Get(headerWrite) == id:
		return next.Sequence, nil
	case replaces(next, p.Replaces), StreamConfig(p.Bucket, 1).MaxMsgsPerSubject > 1:
		return 0, ErrConflict // to push ours out of the history, sixteen would have had to follow within seconds
	}
	return 0, fmt.Errorf("%w: another has followed", ErrUnknownOutcome)
}

// replaces reports whether a message was written by compare-and-set in the place of the given revision.
func replaces(m *jetstream.RawStreamMsg, revision uint64) bool {
	return m.Header.Get(jetstream.ExpectedLastSubjSeqHeader) == strconv.FormatUint(revision, 10)
}

// Get returns the last message on a name, which may be a marker: its revision is what the next write replaces. The
// server that answers may be behind: decide by the outcome of a write, not by a Get alone. The error is
// [ErrNotFound] if there is no message.
func (c *Conn) Get(ctx context.Context, bucket Bucket, name string) (events.Entry, error) {
	msg, err := c.last(ctx, bucket, name)
	if err != nil {
		return events.Entry{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return entryOf(name, msg.Data, msg.Header, msg.Sequence, msg.Time), nil
}

// entryOf is a message as the rest of us see it: what a marker carries means nothing.
func entryOf(name string, value []byte, h nats.Header, revision uint64, at time.Time) events.Entry {
	e := events.Entry{Name: name, Value: value, Deleted: isMarker(h), Revision: revision, Time: at, Caller: caller(h)}
	if e.Deleted {
		e.Value = nil
	}
	return e
}

func (c *Conn) last(ctx context.Context, bucket Bucket, name string) (*jetstream.RawStreamMsg, error) {
	stream, err := c.stream(ctx, bucket)
	if err != nil {
		return nil, err
	}
	ctx, stop := c.request(ctx, "$JS.API.DIRECT.GET."+bucket.Stream()+"."+bucket.Subject(name))
	defer stop()
	msg, err := stream.GetLastMsgForSubject(ctx, bucket.Subject(name))
	return msg, translate(cause(ctx, err))
}

// next returns the first message on a name after the given revision that is still there. Not every role may.
func (c *Conn) next(ctx context.Context, bucket Bucket, name string, after uint64) (*jetstream.RawStreamMsg, error) {
	stream, err := c.stream(ctx, bucket)
	if err != nil {
		return nil, err
	}
	ctx, stop := c.request(ctx, "$JS.API.DIRECT.GET."+bucket.Stream())
	defer stop()
	msg, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(bucket.Subject(name)))
	return msg, translate(cause(ctx, err))
}

func isMarker(h nats.Header) bool {
	switch h.Get(headerOperation) {
	case operationDelete, "PURGE":
		return true
	}
	return h.Get(headerMarkerReason) != ""
}

// caller reads who wrote a message. Anybody may have written anything there, and it ends up in terminals and logs.
func caller(h nats.Header) string {
	if by := h.Get(headerCaller); by != "" {
		return cleanCaller(by)
	}
	return ""
}

func cleanCaller(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxCaller {
		s = strings.ToValidUTF8(s[:maxCaller], "") // not half a character
	}
	return s
}

// Decision is what to write after reading a record. A nil Value writes nothing, unless Delete says to write a delete marker.
type Decision struct {
	Value  []byte
	TTL    time.Duration
	Delete bool
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
		if err != nil {
			return 0, err
		}
		if d.Value == nil && !d.Delete {
			return current.Revision, nil
		}
		revision, err := c.Put(ctx, Put{
			Bucket: bucket, Name: name, Value: d.Value, Replaces: current.Revision, Caller: caller, TTL: d.TTL, Delete: d.Delete,
		})
		if !errors.Is(err, ErrConflict) {
			return revision, err
		}
		if ended := sleep(ctx, backoff(attempt, firstRetry, lastRetry, mathrand.N)); ended != nil {
			return 0, fmt.Errorf("%w (%w)", err, ended)
		}
	}
}
