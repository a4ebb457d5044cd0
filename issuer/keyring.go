package issuer

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
)

// keyring has the node's signing keys: usually one; two while a new one takes over.
type keyring struct {
	keys     KeySet
	publish  LeasePublisher
	mayMake  func(*events.Set) error     // nil if the set is of the registry that the node is set up for
	generate func() (*signingKey, error) // makes a new key
	rotation time.Duration
	log      zerolog.Logger

	current atomic.Pointer[signingKey] // the one that signs; read by requests
	trouble atomic.Pointer[string]     // why the configured key cannot be used; nil: nothing is known to be wrong

	// The rest is of the goroutine of Run.
	fixed  *sharedLease // of the configured key; nil: the node makes its own
	leases []*lease     // the newest first
	losses int          // keys that were lost in a row, none having been used
	nextAt time.Time    // when the next key may be made, at the earliest
}

// acquire returns the key for a token that ends at exp, or nil if there is none. The decision is made from the node's own
// set of this moment: a key that was revoked or removed there does not sign again.
func (r *keyring) acquire(set *events.Set, now time.Time, exp int64) *signingKey {
	for range 2 { // the key may be retired right after it was found; its successor is there then
		if key := r.current.Load(); key != nil && key.covers(set, now, exp) && key.reserve(exp) {
			return key
		}
	}
	return nil
}

// covers reports whether there is a key for a token that ends at exp.
func (r *keyring) covers(set *events.Set, now time.Time, exp int64) bool {
	key := r.current.Load()
	return key != nil && key.covers(set, now, exp)
}

// run keeps the keys until ctx is done, then ends their leases.
func (r *keyring) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		r.step(ctx, time.Now())
		select {
		case <-ctx.Done():
			r.stop(context.WithoutCancel(ctx))
			return
		case <-ticker.C:
		}
	}
}

// step looks at what has become of the keys and does what is due.
func (r *keyring) step(ctx context.Context, now time.Time) {
	if r.fixed != nil {
		r.stepFixed(ctx, now)
		return
	}
	r.observe(now)
	r.rotate(now)
	for _, l := range r.leases {
		exp, due := l.due(now)
		if !due || ctx.Err() != nil {
			continue
		}
		if err := r.write(ctx, l, exp); errors.Is(err, ErrConflict) {
			r.lose(l, now, "its record was written by someone else")
		}
	}
	r.leases = slices.DeleteFunc(r.leases, func(l *lease) bool { return l.over(now) })
}

// observe drops the keys that are lost, and lets the newest one sign that is known for long enough.
func (r *keyring) observe(now time.Time) {
	set, confirmed := r.keys.Keys(), r.keys.Confirmed()
	for _, l := range slices.Clone(r.leases) {
		if reason := l.observe(set, confirmed, now); reason != "" {
			r.lose(l, now, reason)
		}
	}
	newest := slices.IndexFunc(r.leases, func(l *lease) bool { return l.settled(now) })
	if newest < 0 {
		r.current.Store(nil)
		return
	}
	key := r.leases[newest].key
	if r.current.Swap(key) == key {
		return
	}
	r.losses = 0
	r.log.Info().Str("kid", string(key.kid)).Msg("signing key in use")
	for _, old := range r.leases[newest+1:] { // its successor signs from here on
		old.retiring, old.next = true, now
	}
}

// lose gives up a key: it is not used again, and a new one is made.
func (r *keyring) lose(l *lease, now time.Time, reason string) {
	l.key.retire()
	r.current.CompareAndSwap(l.key, nil)
	r.leases = slices.DeleteFunc(slices.Clone(r.leases), func(other *lease) bool { return other == l })
	if l.retiring {
		return // it has been replaced already
	}
	if r.losses > 0 {
		r.nextAt = now.Add(backoff(r.losses - 1))
	}
	r.losses++
	r.log.Warn().Str("kid", string(l.key.kid)).Str("reason", reason).Msg("signing key lost: a new one will be made")
}

// rotate makes a new key if there is none, or none young enough. It waits for one that is not in use yet. A node that
// is connected to another platform's registry by mistake registers none: verifiers would trust it.
func (r *keyring) rotate(now time.Time) {
	if now.Before(r.nextAt) {
		return
	}
	newest := slices.IndexFunc(r.leases, func(l *lease) bool { return !l.retiring })
	if newest >= 0 && (now.Sub(r.leases[newest].made) < r.rotation || !r.leases[newest].settled(now)) {
		return
	}
	if err := r.mayMake(r.keys.Keys()); err != nil {
		return // Ready says why
	}
	key, err := r.generate()
	if err != nil {
		r.nextAt = now.Add(retryMost)
		r.log.Error().Err(err).Msg("no new signing key")
		return
	}
	r.leases = slices.Insert(slices.Clone(r.leases), 0, &lease{key: key, made: now})
}

// write publishes the lease of a key.
func (r *keyring) write(ctx context.Context, l *lease, exp int64) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	value, ttl, err := l.record(exp, time.Now())
	if err == nil {
		var revision uint64
		if revision, err = r.publish(ctx, l.key.kid, value, l.revision, ttl); err == nil {
			l.adopt(revision, time.Now())
			r.log.Debug().Str("kid", string(l.key.kid)).Uint64("revision", revision).Int64("exp", exp).Msg("lease written")
			return nil
		}
	}
	l.failed(time.Now())
	if !errors.Is(err, ErrConflict) {
		r.log.Warn().Err(err).Str("kid", string(l.key.kid)).Dur("retry_in", time.Until(l.next)).Msg("lease not written")
	}
	return err
}

// stop ends the use of all keys and shortens their leases to the end of their last tokens. That of a key which the node was given is
// not among them: others may use it.
func (r *keyring) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	now := time.Now()
	r.observe(now) // in case the answer to the last write got lost
	r.current.Store(nil)
	for _, l := range r.leases {
		l.retiring = true
		l.key.retire()
		if l.revision == 0 || l.over(now) {
			continue // nothing was published, or nothing is to be shortened
		}
		_ = r.write(ctx, l, l.end(now)) // logged there; the lease ends by itself
	}
}
