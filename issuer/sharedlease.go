package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
)

// sharedLease is the lease of a key that was given to the node. Other nodes may have the same key, and all of them keep its one
// record, without knowing of each other:
//
//   - Whoever finds the lease due writes it; the others see that in their own sets, and have nothing left to do. Of two writes at
//     the same time one is a conflict, which means no harm.
//   - A node's exp only grows, and a node that stops writes nothing: it cannot know who else signs with the key.
//   - What an operator does to the record holds. A key that was revoked, or given an earlier end or another key's record, is
//     not used again by this node. A delete marker is never written over, not by a later start either: who wants the key back puts its record
//     back. What is malformed says nothing, and is written over.
//   - A record that is gone without a marker (the bucket has dropped it after its end, or was restored) is written anew.
//
// It is a lease of which revision is the one to replace; acked, attempted and written are not used.
type sharedLease struct {
	lease
	seen uint64 // latest revision of the record's name in the node's own set; zero: none
	lost bool   // the key is not used again
}

func newSharedLease(key *signingKey) *sharedLease {
	return &sharedLease{lease: lease{key: key}}
}

// observe looks for the record in the node's own set. It returns why the key cannot be used any more, or "".
func (l *sharedLease) observe(set *events.Set, now time.Time) (lost string) {
	entry := set.Key(events.Platform, l.key.kid)
	switch {
	case entry != nil && entry.State(now) == events.KeyRevoked:
		return "it was revoked"
	case entry == nil || entry.Record == nil:
		l.appeared, l.applied = time.Time{}, 0
		l.see(l.malformed(set))
		return ""
	case !l.key.isOf(entry.Record):
		return "its record was replaced by another key's"
	case entry.Record.Expires == 0:
		return "its record has no exp: no node wrote it"
	case entry.Revision > l.seen && entry.Record.Expires < l.applied:
		return "its record was given an earlier end"
	}
	l.made = time.Unix(entry.Record.IssuedAt, 0)
	l.see(max(entry.Revision, l.malformed(set)))
	l.apply(entry.Record, now)
	return ""
}

// malformed is the revision of a malformed message that follows the last valid one, or zero.
func (l *sharedLease) malformed(set *events.Set) uint64 {
	name := events.KeyRecord(events.Platform, l.key.kid).String()
	for _, rejected := range set.Rejected() {
		if rejected.Name == name {
			return rejected.Revision
		}
	}
	return 0
}

// see notes the latest revision in the set. If it is another one, somebody has written, perhaps this node; or the bucket was
// restored.
func (l *sharedLease) see(revision uint64) {
	if revision != l.seen {
		l.seen, l.revision = revision, revision
		l.failures, l.next = 0, time.Time{}
	}
}

// conflicted decides what the next write replaces after one found another revision: what the set has; or nothing, if that may
// have left the bucket without a message to say so. It returns what is in the way if that is not a write that will show up, or "".
func (l *sharedLease) conflicted(now time.Time) (inTheWay string) {
	tried := l.revision
	l.revision = l.seen
	if tried != l.seen {
		return ""
	}
	switch {
	case l.applied != 0 && now.Unix() >= l.applied:
		l.revision = 0
	case l.applied == 0 && l.seen == 0 && l.failures > 2:
		return "its record was deleted: put it back, or use another key"
	}
	return ""
}

// stepFixed does what is due for the key that the node was given.
func (r *keyring) stepFixed(ctx context.Context, now time.Time) {
	l, set := r.fixed, r.keys.Keys()
	if l.lost {
		return
	}
	if reason := l.observe(set, now); reason != "" {
		l.lost = true
		l.key.retire()
		r.current.Store(nil)
		r.trouble.Store(&reason)
		r.log.Error().Str("kid", string(l.key.kid)).Str("reason", reason).Msg("signing key lost: this node needs another one")
		return
	}
	switch {
	case !l.settled(now):
		r.current.Store(nil)
	case r.current.Swap(l.key) != l.key:
		r.trouble.Store(nil)
		r.log.Info().Str("kid", string(l.key.kid)).Msg("signing key in use")
	}
	if r.mayMake(set) != nil { // Ready says why
		return
	}
	if l.made.IsZero() {
		l.made = now
	}
	exp, due := l.due(now)
	if !due || ctx.Err() != nil {
		return
	}
	if err := r.write(ctx, &l.lease, exp); !errors.Is(err, ErrConflict) {
		return
	}
	if reason := l.conflicted(now); reason != "" {
		r.trouble.Store(&reason)
		r.log.Warn().Str("kid", string(l.key.kid)).Str("reason", reason).Msg("lease not written")
	}
}
