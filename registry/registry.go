package registry

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Store keeps the records. A write that it acknowledges is durable, and it never lets a write replace a message that the writer has
// not seen.
type Store interface {
	// Get returns the last message on a name, which may be a marker, or an error that tests as [bus.ErrNotFound]. It
	// may be behind what was written last.
	Get(ctx context.Context, bucket bus.Bucket, name string) (events.Entry, error)
	// Update shows the last message on a name to decide (one of revision zero, if there is none) and writes what it returns
	// in its place; when the name has changed meanwhile, it decides again. It returns the revision written, or the one shown
	// if there was nothing to write, or an error: that of decide as it is, or one of package bus.
	Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error)
}

// KeySet is a live copy of KEYS.
type KeySet interface {
	// Keys returns the set of now.
	Keys() *events.Set
	// Sync returns when Keys has everything that was in the bucket when Sync was called.
	Sync(ctx context.Context) error
}

var (
	_ Store  = (*bus.Conn)(nil)
	_ KeySet = (*bus.KeySet)(nil)
)

// Config says what a Registry works on.
type Config struct {
	// Store has the buckets KEYS, CLIENTS and REVOCATIONS. Required.
	Store Store
	// Keys follows the same KEYS. Required.
	Keys KeySet
	// Logger gets the audit log, at level info. The zero Logger is silent.
	Logger zerolog.Logger
	// Now is the clock by which windows begin and end. Nil: time.Now.
	Now func() time.Time
	// MaxClients is how many issuers of any type and status there may be before a caller with an [Authority] can create no other client.
	// Zero: [DefaultMaxClients].
	MaxClients int
}

// Registry is the write authority. Its methods may be called concurrently.
type Registry struct {
	store Store
	keys  KeySet
	log   zerolog.Logger
	now   func() time.Time
	full  int           // how many issuers are as many as callers with an authority may fill up to
	gate  chan struct{} // held by whoever decides by several records
	names nameIndex
}

// New makes a Registry.
func New(cfg Config) (*Registry, error) {
	if cfg.Store == nil || cfg.Keys == nil {
		return nil, errors.New("a registry needs a Store and Keys")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxClients == 0 {
		cfg.MaxClients = DefaultMaxClients
	}
	return &Registry{store: cfg.Store, keys: cfg.Keys, log: cfg.Logger, now: cfg.Now, full: cfg.MaxClients, gate: make(chan struct{}, 1)}, nil
}

// live returns a key set that has everything that was acknowledged before the call, our own last write included. It does not have
// what others are writing at this moment: see the package comment for what that means.
func (r *Registry) live(ctx context.Context) (*events.Set, error) {
	if err := r.keys.Sync(ctx); err != nil {
		return nil, err
	}
	return r.keys.Keys(), nil
}

// exclusive runs a decision by several records together with the write that follows from it: one at a time, so that each
// sees what the one before has written.
func (r *Registry) exclusive(ctx context.Context, decide func(*events.Set) error) error {
	select {
	case r.gate <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.gate }()
	set, err := r.live(ctx)
	if err != nil {
		return err
	}
	return decide(set)
}

// seconds is t as NumericDate; zero for the zero time.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
