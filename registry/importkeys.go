package registry

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
)

// ParseKeySet reads a JWK set (RFC 7517 §5) of which every key is to be registered. Each is read as by [ParsePublicKey], and may have nbf and exp.
// One that cannot be registered spoils the set: the error says which. The errors are [ErrInvalid] and [ErrPrivateKey].
func ParseKeySet(data []byte) ([]KeySpec, error) {
	var obj strictjson.Object
	err := obj.Parse(data)
	set := obj.Get("keys")
	if err != nil || set == nil {
		// What it is matters more than what it is not.
		if _, single := ParsePublicKey(data); errors.Is(single, ErrPrivateKey) || bytes.Contains(data, []byte(`"d"`)) {
			return nil, errPrivateKey
		}
		if err == nil {
			err = errors.New("it has no member keys; a single key is for key add --public")
		}
		return nil, refuse(ErrInvalid, "not a JWK set: %w", err)
	}
	var specs []KeySpec
	err = strictjson.Elements(set, maxImported, func(element []byte) error {
		spec, err := parseKeySpec(element)
		if err != nil {
			return fmt.Errorf("key %d%s: %w", len(specs)+1, named(spec.KeyID), err)
		}
		specs = append(specs, spec)
		return nil
	})
	switch {
	case errors.Is(err, ErrPrivateKey):
		return nil, err
	case err != nil:
		return nil, refuse(ErrInvalid, "JWK set: %w", err)
	case len(specs) == 0:
		return nil, refuse(ErrInvalid, "JWK set: there is no key in it")
	}
	return specs, nil
}

func named(kid events.KeyID) string {
	if kid == "" {
		return ""
	}
	return fmt.Sprintf(" (kid %q)", string(kid))
}

// parseKeySpec returns the kid with an error, too, if it has one.
func parseKeySpec(element []byte) (spec KeySpec, err error) {
	var obj strictjson.Object
	if err := obj.Parse(element); err != nil {
		return spec, err
	}
	if kid, err := strictjson.String(obj.Get("kid")); err == nil {
		spec.KeyID, _ = events.ParseKeyID(kid)
	}
	key, err := ParsePublicKey(element)
	if err != nil {
		return spec, err
	}
	spec = KeySpec{KeyID: key.KeyID, Public: key.Public, Algorithm: key.Algorithm}
	if obj.Get("revoked") != nil {
		return spec, errors.New("it is revoked, as it says itself: take it out of the file")
	}
	for _, window := range []struct {
		name string
		at   *time.Time
	}{{"nbf", &spec.NotBefore}, {"exp", &spec.Expires}} {
		value := obj.Get(window.name)
		if value == nil {
			continue
		}
		seconds, err := strictjson.Int(value)
		if err != nil || seconds < 0 {
			return spec, fmt.Errorf("member %s is not a time in whole seconds", window.name)
		}
		*window.at = time.Unix(seconds, 0)
	}
	return spec, nil
}

// Imported is what [Registry.ImportKeys] did.
type Imported struct {
	Added []NewKey
	// Already are kids under which the issuer has the key, and with the same window.
	Already []events.KeyID
}

// ImportKeys registers public keys of one client or external issuer, all or, if one of them may not be, none. Repeated, it finds what is
// registered and leaves it. The errors are those of [Registry.AddKey]; after one of package bus, a part may have been registered.
func (r *Registry) ImportKeys(ctx context.Context, caller Caller, name events.Name, specs []KeySpec) (Imported, error) {
	var did Imported
	err := r.audited(caller, "key import", line{issuer: name}, func(l *line) error {
		return r.exclusive(ctx, func(set *events.Set) error {
			keys, already, err := r.prepareImport(set, name, specs)
			if err != nil {
				return err
			}
			did.Already = already
			l.quiet = len(keys) == 0
			for _, key := range keys {
				if key.Revision, err = r.createKey(ctx, caller, key); err != nil {
					return unsure(err, "key %q of %s may or may not be registered, see key list: repeat the import", string(key.KeyID), name)
				}
				did.Added = append(did.Added, key)
				l.added, l.revision = append(l.added, key.KeyID), key.Revision
			}
			return nil
		})
	})
	return did, err
}

// prepareImport decides about all keys before any is written.
func (r *Registry) prepareImport(set *events.Set, name events.Name, specs []KeySpec) (keys []NewKey, already []events.KeyID, err error) {
	issuer, err := activeIn(set, name, events.TypeClient, events.TypeExternal)
	if err != nil {
		return nil, nil, err
	}
	for i, spec := range specs {
		fail := func(err error) ([]NewKey, []events.KeyID, error) {
			return nil, nil, fmt.Errorf("key %d%s: %w", i+1, named(spec.KeyID), err)
		}
		key := NewKey{Issuer: name}
		if key.Record, err = r.newRecord(issuer, spec); err != nil {
			return fail(err)
		}
		if owner := ownerOf(set, spec.Public); owner != nil {
			if owner.Issuer != name || spec.KeyID != "" && owner.KeyID != spec.KeyID || !isRegisteredAs(owner, key.Record) {
				return fail(refuse(ErrKeyTaken, "this public key is registered already, as key %q of %s, %s", string(owner.KeyID), owner.Issuer, owner.State(r.now())))
			}
			already = append(already, owner.KeyID)
			continue
		}
		if key.KeyID, err = chooseKeyID(set, issuer, spec); err != nil {
			return fail(err)
		}
		if known := set.Key(name, key.KeyID); known != nil && known.Record != nil {
			return fail(refuse(ErrExists, "%s has another key of that kid (revision %d)", name, known.Revision))
		}
		for _, other := range keys {
			if other.KeyID == key.KeyID || isPublic(other.Record, spec.Public) {
				return fail(refuse(ErrInvalid, "it, or its kid, stands there twice"))
			}
		}
		keys = append(keys, key)
	}
	return keys, already, r.checkRoomFor(set, issuer, len(keys))
}

// isRegisteredAs reports whether a key that is there is good, and for as long as the record says.
func isRegisteredAs(key *events.KeyEntry, record *events.Key) bool {
	return key.RevokedBy == 0 && key.Record.Revoked == nil && key.Record.Algorithm == record.Algorithm &&
		key.Record.NotBefore == record.NotBefore && key.Record.Expires == record.Expires
}

func isPublic(record *events.Key, public crypto.PublicKey) bool {
	k, ok := record.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(public)
}
