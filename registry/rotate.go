package registry

import (
	"context"
	"crypto"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/keyherald/keyherald/events"
)

// Rotation says how a client's keys are replaced by a new one.
type Rotation struct {
	// Overlap is how long the old keys may still be used to mint: until the last instance of the client has the new key. The old
	// keys end when the last token minted then has ended: the client's longest token life and [events.MaxLeeway] later.
	Overlap time.Duration
	// Force ends the old keys after Overlap: tokens that are valid then will be refused.
	Force bool
	// KeyID, Public and Algorithm describe the new key; see [KeySpec]. With none of them a pair is made.
	KeyID     events.KeyID
	Public    crypto.PublicKey
	Algorithm events.Algorithm
}

// Rotated is what a rotation did.
type Rotated struct {
	New   NewKey
	Ended []*events.KeyEntry // the old keys that had no end, or a later one, with the end that they have now
}

// RotateKey registers a new key of a client, trusted at once, and then gives each key that was trusted until now its end, unless it
// has an earlier one. Keys that are pending stay as they are.
//
// The errors are those of [Registry.AddKey], and [*UnfinishedRotation] if the new key was registered and an old end could not be
// written. A rotation may be repeated: the ends are written again and, if it brings its public key, no other is registered.
func (r *Registry) RotateKey(ctx context.Context, caller Caller, name events.Name, rotation Rotation) (Rotated, error) {
	var done Rotated
	err := r.audited(caller, "key rotate", line{issuer: name, kid: rotation.KeyID}, func(l *line) error {
		if rotation.Overlap < 0 {
			return refuse(ErrInvalid, "rotate keys of client %s: the overlap %s is negative", name, rotation.Overlap)
		}
		return r.exclusive(ctx, func(set *events.Set) (err error) {
			client, err := activeIn(set, name, events.TypeClient)
			if err != nil {
				return err
			}
			done.New, err = r.successor(ctx, caller, set, name, rotation)
			l.kid, l.revision = done.New.KeyID, done.New.Revision
			if err != nil {
				return err
			}
			err = r.endOthers(ctx, caller, set, client, rotation, &done)
			for _, key := range done.Ended {
				l.ended = append(l.ended, string(key.KeyID)+"@"+strconv.FormatInt(key.Record.Expires, 10))
			}
			return err
		})
	})
	if err != nil {
		return Rotated{}, err
	}
	return done, nil
}

// successor registers the new key, or finds the one that an interrupted rotation has registered already.
func (r *Registry) successor(ctx context.Context, caller Caller, set *events.Set, name events.Name, rotation Rotation) (NewKey, error) {
	if rotation.Public != nil {
		key := ownerOf(set, rotation.Public)
		if key != nil && key.Issuer == name && key.State(r.now()) == events.KeyActive && (rotation.KeyID == "" || rotation.KeyID == key.KeyID) {
			return NewKey{Issuer: name, KeyID: key.KeyID, Record: key.Record, Revision: key.Revision}, nil
		}
	}
	return r.addKey(ctx, caller, set, name, KeySpec{KeyID: rotation.KeyID, Public: rotation.Public, Algorithm: rotation.Algorithm})
}

// endOthers gives the keys that set has their end, the oldest first.
func (r *Registry) endOthers(ctx context.Context, caller Caller, set *events.Set, client *events.IssuerEntry, rotation Rotation, done *Rotated) error {
	now := r.now()
	end := safeEnd(client.Record, now.Add(rotation.Overlap))
	if rotation.Force {
		end = now.Add(rotation.Overlap).Unix()
	}
	var old []events.KeyID
	for _, key := range slices.Backward(set.Keys(client.Name)) {
		if key.State(now).Usable() && key.KeyID != done.New.KeyID {
			old = append(old, key.KeyID)
		}
	}
	for i, kid := range old {
		key, changed, err := r.endKey(ctx, caller, set, client.Name, kid, func(k *events.Key, state events.KeyState) (int64, error) {
			at := max(end, k.NotBefore+1) // a key that began this very second
			if state.Usable() && (k.Expires == 0 || k.Expires > at) {
				return at, nil
			}
			return k.Expires, nil
		})
		switch {
		case errors.Is(err, ErrNotFound): // deleted meanwhile
		case err != nil:
			return &UnfinishedRotation{New: done.New, Open: old[i:], Err: err}
		case changed:
			done.Ended = append(done.Ended, key)
		}
	}
	return nil
}
