package refresh

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// leaseName is the record of USAGE that says which node refreshes.
const leaseName = "refresh.lease"

// leaseRecord is its value: for people to read. Nobody's clock is trusted, so exp decides nothing.
type leaseRecord struct {
	Holder  string `json:"holder"`
	Expires int64  `json:"exp"`
}

// lease is one node's part in the agreement about who refreshes. The holder writes the record again all the time; another node
// takes over when it has seen the same revision for a lease's length, by its own monotonic clock. For a moment there may be two, when a
// holder was suspended. What both write is compare-and-set, and the one that was suspended does not put what it had fetched before in the
// place of what the other has: see covers.
type lease struct {
	store  Store
	caller string
	holder string // made up: a node that starts again is another one
	length time.Duration
	log    zerolog.Logger

	mu       sync.Mutex // held while the record is written
	revision uint64     // of our record
	sent     time.Time  // when the last renewal that was acknowledged had been sent

	seen  uint64 // another's record
	since time.Time
}

func newLease(cfg *Config) *lease {
	return &lease{store: cfg.Store, caller: cfg.Caller.Name, holder: rand.Text(), length: cfg.Lease, log: cfg.Logger}
}

// acquire looks once whether the lease can be had, and takes it.
func (l *lease) acquire(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, l.length/renewals)
	defer cancel()
	e, err := l.store.Get(ctx, bus.Usage, leaseName)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		l.log.Debug().Err(err).Msg("looking for the lease of key refresh")
		return false
	}
	var record leaseRecord
	_ = json.Unmarshal(e.Value, &record) // garbage has some holder, who is silent
	if e.Revision != 0 && !e.Deleted && record.Holder != l.holder {
		now := time.Now()
		if e.Revision != l.seen {
			l.seen, l.since = e.Revision, now
		}
		if now.Sub(l.since) < l.length {
			return false
		}
	}
	return l.write(ctx, e.Revision) == nil
}

// write puts the record in the place of a revision.
func (l *lease) write(ctx context.Context, replaces uint64) error {
	sent := time.Now()
	value, err := json.Marshal(leaseRecord{l.holder, sent.Add(l.length).Unix()})
	if err != nil {
		return err
	}
	revision, err := l.store.Put(ctx, bus.Put{Bucket: bus.Usage, Name: leaseName, Value: value, Replaces: replaces, Caller: l.caller})
	if err != nil {
		return err
	}
	l.revision, l.sent = revision, sent
	return nil
}

// renew writes the record again, which nobody can who has lost the lease.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.write(ctx, l.revision)
}

func (l *lease) renewed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// covers returns an error unless nobody else can have published anything since asked, when a document was asked for. It is for right
// before a write: the process, or the whole machine, may have been suspended at any time before. What is left is the way of the write
// itself: a key that it brings back is withdrawn with the next fetch.
func (l *lease) covers(ctx context.Context, asked moment) error {
	if age := asked.age(present()); age > l.length {
		return fmt.Errorf("publishing keys that were asked for %s ago: not after more than %s, others may have newer ones", age, l.length)
	}
	ctx, cancel := context.WithTimeout(ctx, l.length/renewals)
	defer cancel()
	if err := l.renew(ctx); err != nil { // a read may be behind
		return fmt.Errorf("publishing keys: another node may refresh them now: %w", err)
	}
	return nil
}

// moment is a time by two clocks, since each may fail to tell: the monotonic one stops with the machine, the other one can be set.
type moment struct{ monotonic, wall time.Time }

func present() moment {
	now := time.Now()
	return moment{now, now.Round(0)}
}

// age is by the clock by which more time has passed.
func (m moment) age(now moment) time.Duration {
	return max(now.monotonic.Sub(m.monotonic), now.wall.Sub(m.wall))
}

// keep renews the lease and returns when it is lost, or ctx is done. It gives up before another node can take over.
func (l *lease) keep(ctx context.Context) {
	every := l.length / renewals
	for wait := every; sleep(ctx, wait) == nil; {
		left := l.length - every - time.Since(l.renewed())
		if left <= 0 {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, left)
		err := l.renew(attempt)
		cancel()
		switch {
		case err == nil:
			wait = every
		case errors.Is(err, bus.ErrConflict), errors.Is(err, bus.ErrUnknownOutcome):
			l.log.Warn().Err(err).Msg("lease of key refresh lost")
			return
		default:
			l.log.Debug().Err(err).Msg("renewing the lease of key refresh")
			wait = every / 4
		}
	}
}

// release lets another node have the lease at once.
func (l *lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	_, err := l.store.Put(ctx, bus.Put{Bucket: bus.Usage, Name: leaseName, Delete: true, Replaces: l.revision, Caller: l.caller})
	if err != nil {
		l.log.Debug().Err(err).Msg("giving back the lease of key refresh")
	}
}

// sleep returns after d, or with the reason why ctx has ended before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// State is what is known, on any node, of the refresh of one issuer's keys: a record of USAGE.
type State struct {
	Success int64  `json:"success,omitempty"` // when its keys were fetched and published last, Unix seconds
	Failure int64  `json:"failure,omitempty"` // when that failed last
	Error   string `json:"error,omitempty"`   // why, if nothing has succeeded since
	Next    int64  `json:"next,omitempty"`    // when it is done again, unless somebody asks for it before
	Keys    int    `json:"keys,omitempty"`    // how many were published last
	// Spent is until when keys that were registered count against the 100 new ones a day, which one node leaves to the next one.
	Spent int64 `json:"spent_until,omitempty"`
}

// StateRecord is the name in USAGE of an issuer's [State].
func StateRecord(issuer events.Name) string { return "refresh.issuer." + string(issuer) }

// ReadState reads the state of an issuer's refresh as the node that does it has left it, and the record's revision. The error tests as
// [bus.ErrNotFound] if there is none.
func ReadState(ctx context.Context, store Store, issuer events.Name) (State, uint64, error) {
	e, err := store.Get(ctx, bus.Usage, StateRecord(issuer))
	if err != nil {
		return State{}, 0, err
	}
	var s State
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return State{}, e.Revision, bus.ErrNotFound // not ours to repair: the next refresh writes it anew
	}
	return s, e.Revision, nil
}

// writeState leaves the state for others to read. That it could not is no reason to fail.
func writeState(ctx context.Context, store Store, caller string, issuer events.Name, s State) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, bus.Usage, StateRecord(issuer), caller, func(events.Entry) (bus.Decision, error) {
		return bus.Decision{Value: value}, nil
	})
	return err
}
