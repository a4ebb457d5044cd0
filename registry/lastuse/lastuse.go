// Package lastuse notes when credentials were last used, so that an operator sees which are not in use any more.
//
// A note is worth little, and must cost little: it is written at most once an hour for each credential, over all nodes, after the request
// that used it was answered, and is given up when the bucket cannot be written. Nothing is decided by it.
//
//	recorder, err := lastuse.New(lastuse.Config{Store: conn, Caller: "issuer", Logger: log})
//	go recorder.Run(ctx)
//	recorder.Note(events.UsedSecret, "orders", "5p22fX0M") // at once
//	at, err := lastuse.Of(ctx, conn, events.UsedSecret, "orders", "5p22fX0M")
package lastuse

import (
	"context"
	"errors"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

const (
	// Every is how long a credential must not have been noted for it to be noted again.
	Every = time.Hour
	// again is when a note that could not be written is tried again, if the credential is used then.
	again = time.Minute
	// memory is how many credentials this process knows to be noted: some megabytes. One that it has forgotten costs a read.
	memory = 1 << 16
	// backlog is how many notes may wait; more are given up.
	backlog = 1 << 10
	// writeTimeout bounds one note.
	writeTimeout = 5 * time.Second
)

// Store has the bucket USAGE.
type Store interface {
	// Update is as [bus.Conn.Update].
	Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error)
}

// Getter reads the bucket USAGE.
type Getter interface {
	// Get is as [bus.Conn.Get].
	Get(ctx context.Context, bucket bus.Bucket, name string) (events.Entry, error)
}

var (
	_ Store  = (*bus.Conn)(nil)
	_ Getter = (*bus.Conn)(nil)
)

// Config says where notes go.
type Config struct {
	// Store has the bucket. Required.
	Store Store
	// Caller is who stands in the records as their writer. Empty: nobody.
	Caller string
	// Logger gets, at debug level, the notes that were given up. The zero Logger is silent.
	Logger zerolog.Logger
}

// credential is what a note is about.
type credential struct {
	kind   events.UsageKind
	client events.Name
	id     string
}

// Recorder writes notes.
type Recorder struct {
	cfg   Config
	next  *lru.Cache[credential, time.Time] // when a credential is to be noted again
	notes chan credential
}

// New makes a recorder, which writes while [Recorder.Run] runs.
func New(cfg Config) (*Recorder, error) {
	if cfg.Store == nil {
		return nil, errors.New("last use: Store is required")
	}
	next, err := lru.New[credential, time.Time](memory)
	if err != nil {
		return nil, err
	}
	return &Recorder{cfg: cfg, next: next, notes: make(chan credential, backlog)}, nil
}

// Note notes that a credential was used now. It does not block, and may be called by any number of goroutines.
func (r *Recorder) Note(kind events.UsageKind, client events.Name, id string) {
	c, now := credential{kind, client, id}, time.Now()
	if next, ok := r.next.Get(c); ok && now.Before(next) {
		return
	}
	select {
	case r.notes <- c:
		r.next.Add(c, now.Add(Every))
	default: // it is noted when it is used again
	}
}

// Run writes notes until ctx ends. It returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case c := <-r.notes:
			if err := r.write(ctx, c); err != nil {
				r.next.Add(c, time.Now().Add(again))
				r.cfg.Logger.Debug().Err(err).Str("client", string(c.client)).Str("credential", c.id).Msg("last use not noted")
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Recorder) write(ctx context.Context, c credential) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	name := events.UsageRecord(c.kind, c.client, c.id)
	_, err := r.cfg.Store.Update(ctx, bus.Usage, name, r.cfg.Caller, func(e events.Entry) (bus.Decision, error) {
		now, record := time.Now(), new(events.Usage)
		if e.Revision != 0 && !e.Deleted {
			// What is malformed is replaced.
			if known, err := events.ParseUsage(e.Value); err == nil {
				record = known
			}
		}
		if noted := time.Unix(record.At, 0); now.Sub(noted) < Every && !noted.After(now.Add(Every)) {
			return bus.Decision{}, nil // by another node
		}
		record.At = now.Unix()
		value, err := record.Encode()
		return bus.Decision{Value: value}, err
	})
	return err
}

// Of returns when a credential was last used, to the hour, or the zero time if that is not known.
func Of(ctx context.Context, store Getter, kind events.UsageKind, client events.Name, id string) (time.Time, error) {
	e, err := store.Get(ctx, bus.Usage, events.UsageRecord(kind, client, id))
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	case e.Deleted:
		return time.Time{}, nil
	}
	record, err := events.ParseUsage(e.Value)
	if err != nil || record.At == 0 {
		return time.Time{}, nil // information that nobody can read
	}
	return time.Unix(record.At, 0), nil
}
