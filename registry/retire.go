package registry

import (
	"context"
	"maps"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Retirement says when a key ends.
type Retirement struct {
	// At is when. Zero: as soon as no token that the key may have signed is valid any more, or at the end that it has if
	// that is earlier. A past time is now.
	At time.Time
	// Force allows an earlier end: tokens that are valid now will be refused.
	Force bool
}

// safeEnd is the earliest end of a key that refuses no token that may have been signed with it until now: they live that long, and
// verifiers tolerate clocks that are so much behind.
func safeEnd(issuer *events.Issuer, now time.Time) int64 {
	return now.Add(issuer.TokenTTL() + events.MaxLeeway).Unix()
}

// RetireKey gives a key of a client or an external issuer its end, or another one. The errors are [ErrNotFound], [ErrKeyDead] for
// a key that has ended or was revoked, [ErrInvalid] for an end before its beginning, and [ErrNeedsForce].
func (r *Registry) RetireKey(ctx context.Context, caller Caller, name events.Name, kid events.KeyID, end Retirement) (*events.KeyEntry, error) {
	var key *events.KeyEntry
	err := r.audited(caller, "key retire", line{issuer: name, kid: kid}, func(l *line) error {
		set, err := r.live(ctx)
		if err != nil {
			return err
		}
		issuer, err := issuerIn(set, name, events.TypeClient, events.TypeExternal)
		if err != nil {
			return err
		}
		now := r.now()
		earliest := safeEnd(issuer.Record, now)
		at := earliest
		if !end.At.IsZero() {
			at = max(end.At.Unix(), now.Unix())
		}
		var changed bool
		key, changed, err = r.endKey(ctx, caller, set, name, kid, func(k *events.Key, state events.KeyState) (int64, error) {
			switch {
			case state == events.KeyRevoked || state == events.KeyExpired:
				return 0, refuse(ErrKeyDead, "key %q of %s is %s already", string(kid), name, state)
			case end.At.IsZero() && k.Expires != 0 && k.Expires < at:
				return k.Expires, nil
			case at < earliest && !end.Force && at != k.Expires:
				return 0, refuse(ErrNeedsForce, "key %q of %s: tokens that it has signed may be valid until %s: choose that or a later end, or force the earlier one",
					string(kid), name, time.Unix(earliest, 0).UTC().Format(time.RFC3339))
			}
			return at, nil
		})
		if err != nil {
			return err
		}
		l.revision = key.Revision
		if !changed {
			l.outcome = outcomeUnchanged
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// endKey sets the exp of a key to what choose says of its record as it is when it is written, and its state as of set. It writes
// nothing, and reports false, when that is the exp already, and not only because the key's external issuer says so now.
func (r *Registry) endKey(ctx context.Context, caller Caller, set *events.Set, name events.Name, kid events.KeyID, choose func(*events.Key, events.KeyState) (int64, error)) (ended *events.KeyEntry, changed bool, err error) {
	if _, err := events.ParseKeyID(string(kid)); err != nil {
		return nil, false, &refusal{ErrInvalid, err}
	}
	ended = &events.KeyEntry{Issuer: name, KeyID: kid}
	if known := set.Key(name, kid); known != nil {
		ended.RevokedBy, ended.Reason = known.RevokedBy, known.Reason // for ever, so it cannot be outdated
	}
	ended.Revision, err = r.store.Update(ctx, bus.Keys, events.KeyRecord(name, kid).String(), caller.Name, func(e events.Entry) (bus.Decision, error) {
		record, err := r.keyRecord(ctx, name, kid, e)
		if err != nil {
			return bus.Decision{}, err
		}
		next := *record
		ended.Record, ended.Modified = &next, e.Time.Unix()
		end, err := choose(record, ended.State(r.now()))
		_, published := record.Extra[endMember]
		changed = end != record.Expires || published
		if err != nil || !changed {
			return bus.Decision{}, err
		}
		next.Extra = maps.Clone(record.Extra)
		delete(next.Extra, endMember)
		next.Expires, ended.Modified = end, r.now().Unix()
		value, err := next.Encode(kid)
		if err != nil {
			return bus.Decision{}, refuse(ErrInvalid, "key %q of %s: %w", string(kid), name, err)
		}
		return bus.Decision{Value: value}, nil
	})
	if err != nil {
		return nil, false, err
	}
	return ended, changed, nil
}
