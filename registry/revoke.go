package registry

import (
	"context"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Revoked is a revocation that is in force.
type Revoked struct {
	Already  bool      // it was before; the rest is what was written then
	At       time.Time // when it was written
	Caller   string    // by whom
	Revision uint64
	// Known is whether the key is one that the issuer has. A revocation of an unknown one may be meant for a key that is still
	// to come, or be a typing error that leaves another key trusted.
	Known bool
}

// RevokeKey revokes a key for ever: of any issuer, whatever its state, and also one that is not known yet. It does not depend on the key
// set being up to date, nor on the issuer having a record, unless the caller has only an [Authority]. Repeated, it says since when. The
// errors are [ErrInvalid], for such a caller also [ErrForbidden] and [ErrNotFound], and those of package bus.
func (r *Registry) RevokeKey(ctx context.Context, caller Caller, name events.Name, kid events.KeyID, reason string) (Revoked, error) {
	var revoked Revoked
	err := r.audited(caller, "key revoke", line{issuer: name, kid: kid}, func(l *line) (err error) {
		if err := checkName(name); err != nil {
			return err
		}
		if _, err := events.ParseKeyID(string(kid)); err != nil {
			return &refusal{ErrInvalid, err}
		}
		if err := r.checkAuthority(ctx, caller, name); err != nil {
			return err
		}
		value, err := (&events.KeyRevocation{RevokedAt: r.now().Unix(), Reason: reason}).Encode()
		if err != nil {
			return &refusal{ErrInvalid, err}
		}
		revoked, err = r.revoke(ctx, caller, bus.Keys, events.RevokedRecord(name, kid).String(), func(e events.Entry) []byte {
			if e.Revision != 0 {
				return nil // any message revokes, whatever it says
			}
			return value
		}, l)
		revoked.Known = r.knows(ctx, name, kid)
		return err
	})
	if err != nil {
		return Revoked{}, err
	}
	return revoked, nil
}

// knows reports whether an issuer has a key: by the set or, since that may be milliseconds behind, by the bucket.
func (r *Registry) knows(ctx context.Context, name events.Name, kid events.KeyID) bool {
	if key := r.keys.Keys().Key(name, kid); key != nil && key.Record != nil {
		return true
	}
	e, err := r.store.Get(ctx, bus.Keys, events.KeyRecord(name, kid).String())
	return err == nil && !e.Deleted
}

// RevokeToken revokes a single token, exp being its own end. The error is [ErrInvalid] for a token that is over, or that would
// outlive the bucket's memory.
func (r *Registry) RevokeToken(ctx context.Context, caller Caller, id events.TokenID, exp time.Time, reason string) (Revoked, error) {
	var revoked Revoked
	err := r.audited(caller, "token revoke", line{token: id.String()}, func(l *line) (err error) {
		now := r.now()
		switch {
		case id == events.TokenID{}:
			return refuse(ErrInvalid, "revoke token: it was not said which")
		case !exp.Add(events.MaxLeeway).After(now):
			return refuse(ErrInvalid, "revoke token: it expired at %s, nobody accepts it any more", exp.UTC().Format(time.RFC3339))
		case exp.After(now.Add(events.MaxTokenTTL + events.MaxLeeway)):
			return refuse(ErrInvalid, "revoke token: it ends at %s, and nobody accepts a token that is to live longer than %s; if its issuer is not to be trusted, disable it or revoke its key", exp.UTC().Format(time.RFC3339), events.MaxTokenTTL)
		}
		record := events.TokenRevocation{Expires: exp.Unix(), Reason: reason}
		value, err := record.Encode()
		if err != nil {
			return &refusal{ErrInvalid, err}
		}
		revoked, err = r.revoke(ctx, caller, bus.Revocations, id.String(), func(e events.Entry) []byte {
			if lasts(e, exp) {
				return nil
			}
			if said, err := events.ParseTokenRevocation(e.Value); err == nil {
				longer := record
				longer.Extra = said.Extra
				if kept, err := longer.Encode(); err == nil { // else it is too long with them
					return kept
				}
			}
			return value
		}, l)
		return err
	})
	if err != nil {
		return Revoked{}, err
	}
	return revoked, nil
}

// lasts reports whether the last message on a token's name revokes it for as long as any verifier would accept it: the bucket forgets
// the message by its age, and a verifier by the exp that it says.
func lasts(e events.Entry, exp time.Time) bool {
	end := exp.Add(events.MaxLeeway)
	if e.Revision == 0 || e.Time.Add(events.RevocationsMaxAge).Before(end) {
		return false
	}
	said, err := events.ParseTokenRevocation(e.Value)
	return e.Deleted || err != nil || said.Expires >= exp.Unix()
}

// revoke writes what missing returns for the last message on a name, unless that is nothing.
func (r *Registry) revoke(ctx context.Context, caller Caller, bucket bus.Bucket, name string, missing func(events.Entry) []byte, l *line) (Revoked, error) {
	revoked := Revoked{}
	revision, err := r.store.Update(ctx, bucket, name, caller.Name, func(e events.Entry) (bus.Decision, error) {
		value := missing(e)
		revoked.Already = value == nil
		if revoked.Already {
			revoked.At, revoked.Caller, l.outcome = e.Time, by(e), outcomeUnchanged
		} else {
			revoked.At, revoked.Caller, l.outcome = r.now(), caller.Name, outcomeDone
		}
		return bus.Decision{Value: value}, nil
	})
	revoked.Revision, l.revision = revision, revision
	return revoked, err
}
