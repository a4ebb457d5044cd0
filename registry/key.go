package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// KeySpec describes a key to register. The zero value makes a new Ed25519 key pair.
type KeySpec struct {
	KeyID     events.KeyID     // kid. Empty: 6 random alphanumeric characters; required for an external issuer
	Public    crypto.PublicKey // whose private half stays where it is; see [ParsePublicKey]. Nil: a new pair is made
	Algorithm events.Algorithm // of Public. Empty: the only one that there is for it; RSA has two and needs one said
	NotBefore time.Time        // trusted from then on. Zero: at once
	Expires   time.Time        // not trusted from then on. Zero: until it is retired
}

// NewKey is a key that was registered.
type NewKey struct {
	Issuer    events.Name
	KeyID     events.KeyID
	AccessKey *events.AccessKey // of a pair that was made: the private half is here and nowhere else. Nil for a key that was brought
	Record    *events.Key
	Revision  uint64
}

// kidLength is what secret scanners expect at most between client and account of an access key.
const kidLength = 6

// AddKey registers a key of a client, made here or brought along, or a public key of an external issuer. It is trusted within
// milliseconds, or from its NotBefore on.
//
// The errors are [ErrInvalid], [ErrPrivateKey], [ErrNotFound], [ErrDisabled], [ErrExists] for a kid that is in use or was ever
// revoked, [ErrKeyTaken] for a public key that is registered, whoever has it and whatever became of it, and [ErrTooManyKeys] for a client
// of which [events.MaxClientKeys] are pending, active or retiring.
func (r *Registry) AddKey(ctx context.Context, caller Caller, name events.Name, spec KeySpec) (NewKey, error) {
	var key NewKey
	err := r.audited(caller, "key add", line{issuer: name, kid: spec.KeyID}, func(l *line) error {
		return r.exclusive(ctx, func(set *events.Set) (err error) {
			if err := checkTarget(set, caller, name); err != nil {
				return err
			}
			key, err = r.addKey(ctx, caller, set, name, spec)
			l.kid, l.revision = key.KeyID, key.Revision
			if err != nil {
				return err
			}
			return r.recheck(ctx, caller, name, func(ctx context.Context, caller Caller) error {
				_, err := r.RevokeKey(ctx, caller, name, key.KeyID, "the client got more rights than the caller has while the key was added")
				return err
			})
		})
	})
	if err != nil {
		return NewKey{}, err
	}
	return key, nil
}

// addKey returns what it knows of the new key with an error, too, for the audit log.
func (r *Registry) addKey(ctx context.Context, caller Caller, set *events.Set, name events.Name, spec KeySpec) (NewKey, error) {
	key := NewKey{Issuer: name, KeyID: spec.KeyID}
	issuer, err := activeIn(set, name, events.TypeClient, events.TypeExternal)
	if err != nil {
		return key, err
	}
	if key.Record, err = r.newRecord(issuer, spec); err != nil {
		return key, err
	}
	if key.KeyID, err = chooseKeyID(set, issuer, spec); err != nil {
		return key, err
	}
	if err := r.checkRoom(set, issuer); err != nil {
		return key, err
	}
	if spec.Public == nil {
		if key.AccessKey, err = makePair(set, &key); err != nil {
			return key, err
		}
	} else if owner := ownerOf(set, spec.Public); owner != nil {
		return key, refuse(ErrKeyTaken, "this public key is registered already: it is key %q of %s, %s: make a new pair", string(owner.KeyID), owner.Issuer, owner.State(r.now()))
	}
	key.Revision, err = r.createKey(ctx, caller, key)
	return key, unsure(err, "key %s of %s may or may not be registered, see key list; if it is, revoke it and add another", key.KeyID, name)
}

// newRecord makes the record of a key, all but a pair that is still to be made.
func (r *Registry) newRecord(issuer *events.IssuerEntry, spec KeySpec) (*events.Key, error) {
	now := r.now()
	k := &events.Key{Algorithm: spec.Algorithm, Public: spec.Public, IssuedAt: now.Unix(), NotBefore: seconds(spec.NotBefore), Expires: seconds(spec.Expires)}
	if !spec.Expires.IsZero() && k.Expires <= now.Unix() { // in 1970, too, of which the record would say nothing
		return nil, refuse(ErrInvalid, "the key would have expired at %s already: choose a later end", spec.Expires.UTC().Format(time.RFC3339))
	}
	if k.Expires != 0 && k.Expires <= k.NotBefore {
		return nil, refuse(ErrInvalid, "the key would end (%s) before it begins (%s): choose a later end", spec.Expires.UTC().Format(time.RFC3339), spec.NotBefore.UTC().Format(time.RFC3339))
	}
	if spec.Public == nil {
		if issuer.Record.Type == events.TypeExternal {
			return nil, refuse(ErrInvalid, "%s is an external issuer, which makes its keys itself: give the public key and its kid", issuer.Name)
		}
		if spec.Algorithm != "" && spec.Algorithm != events.EdDSA {
			return nil, refuse(ErrInvalid, "key pairs are made for %s only: make one for %q where it is to stay, and bring its public key", events.EdDSA, string(spec.Algorithm))
		}
		return k, nil
	}
	if k.Algorithm == "" {
		k.Algorithm = onlyAlgorithm(spec.Public)
	}
	return k, checkPublic(k.Algorithm, spec.Public)
}

// onlyAlgorithm is the algorithm of a key for which there is only one.
func onlyAlgorithm(public crypto.PublicKey) events.Algorithm {
	switch public.(type) {
	case ed25519.PublicKey:
		return events.EdDSA
	case *ecdsa.PublicKey:
		return events.ES256
	}
	return ""
}

// checkPublic refuses a private key by any type that has a public half, and a public one that may not be registered.
func checkPublic(alg events.Algorithm, public crypto.PublicKey) error {
	if _, private := public.(interface{ Public() crypto.PublicKey }); private {
		return errPrivateKey
	}
	if err := events.CheckPublicKey(alg, public); err != nil {
		return refuse(ErrInvalid, "public key: %w", err)
	}
	return nil
}

// chooseKeyID returns the kid that was asked for, or one that is free.
func chooseKeyID(set *events.Set, issuer *events.IssuerEntry, spec KeySpec) (events.KeyID, error) {
	if spec.KeyID == "" {
		if issuer.Record.Type == events.TypeExternal {
			return "", refuse(ErrInvalid, "a key of the external issuer %s needs the kid that its tokens carry", issuer.Name)
		}
		kid := events.KeyID(randomText(kidLength, alphanumeric))
		for set.Key(issuer.Name, kid) != nil {
			kid = events.KeyID(randomText(kidLength, alphanumeric))
		}
		return kid, nil
	}
	kid, err := events.ParseKeyID(string(spec.KeyID))
	if err != nil {
		return "", &refusal{ErrInvalid, err}
	}
	if issuer.Record.Type == events.TypeClient && !kid.Plain() {
		return "", refuse(ErrInvalid, "kid %q of a client's key is not 1 to %d of A-Z a-z 0-9 _ -", string(kid), events.MaxKeyID)
	}
	if key := set.Key(issuer.Name, kid); key != nil && key.RevokedBy != 0 {
		return "", refuse(ErrExists, "the kid %q of %s was revoked (revision %d), and a revoked kid stays dead: choose another", string(kid), issuer.Name, key.RevokedBy)
	}
	return kid, nil
}

// checkRoom refuses a client's sixth key. The number is there so that a forgotten rotation is noticed; no token becomes valid when two
// registries exceed it at the same moment.
func (r *Registry) checkRoom(set *events.Set, issuer *events.IssuerEntry) error {
	return r.checkRoomFor(set, issuer, 1)
}

// checkRoomFor is checkRoom for more keys than one.
func (r *Registry) checkRoomFor(set *events.Set, issuer *events.IssuerEntry, more int) error {
	if issuer.Record.Type != events.TypeClient {
		return nil
	}
	var live []events.KeyID
	for _, key := range set.Keys(issuer.Name) {
		switch key.State(r.now()) {
		case events.KeyPending, events.KeyActive, events.KeyRetiring:
			live = append(live, key.KeyID)
		}
	}
	if more > 0 && len(live)+more > events.MaxClientKeys {
		return refuse(ErrTooManyKeys, "client %s has %d keys already (%v), and may have %d: retire or revoke one that is not in use", issuer.Name, len(live), live, events.MaxClientKeys)
	}
	return nil
}

// makePair makes the key pair of a client's new key.
func makePair(set *events.Set, key *NewKey) (*events.AccessKey, error) {
	platform := set.Platform()
	if platform == nil || platform.Record.Account == "" {
		return nil, refuse(ErrNotFound, "there is no platform with an account, which is a part of access keys: start keyherald serve once")
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	key.Record.Algorithm, key.Record.Public = events.EdDSA, public
	access, err := events.NewAccessKey(key.Issuer, key.KeyID, platform.Record.Account, private)
	if err != nil {
		return nil, refuse(ErrInvalid, "%w", err)
	}
	return &access, nil
}

// ownerOf returns the key that has the public key, under whatever issuer and in whatever state, or nil. A key that was deleted
// has left nothing to compare with. The cost is in the number of all keys.
func ownerOf(set *events.Set, public crypto.PublicKey) *events.KeyEntry {
	for key := range set.AllKeys() {
		if key.Record == nil {
			continue
		}
		if k, ok := key.Record.Public.(interface{ Equal(crypto.PublicKey) bool }); ok && k.Equal(public) {
			return key
		}
	}
	return nil
}

// createKey writes the first record on a key's name. A name that has only a marker or malformed values is free: nothing counts there.
func (r *Registry) createKey(ctx context.Context, caller Caller, key NewKey) (uint64, error) {
	value, err := key.Record.Encode(key.KeyID)
	if err != nil {
		return 0, refuse(ErrInvalid, "key %q of %s: %w", string(key.KeyID), key.Issuer, err)
	}
	return r.store.Update(ctx, bus.Keys, events.KeyRecord(key.Issuer, key.KeyID).String(), caller.Name, func(e events.Entry) (bus.Decision, error) {
		_, err := r.keyRecord(ctx, key.Issuer, key.KeyID, e)
		switch {
		case errors.Is(err, ErrNotFound):
			return bus.Decision{Value: value}, nil
		case err != nil:
			return bus.Decision{}, err
		}
		return bus.Decision{}, refuse(ErrExists, "%s has a key %q already (revision %d, by %s): choose another kid", key.Issuer, string(key.KeyID), e.Revision, by(e))
	})
}

// Keys returns the keys of an issuer of any type, the latest first.
func (r *Registry) Keys(ctx context.Context, name events.Name) ([]*events.KeyEntry, error) {
	set, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	keys := set.Keys(name)
	if len(keys) == 0 && set.Issuer(name) == nil {
		return nil, refuse(ErrNotFound, "there is no issuer or client %s", name)
	}
	return keys, nil
}
