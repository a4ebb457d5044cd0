package registry

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/strictjson"
)

// ProviderKey is a key that an external issuer publishes itself, at its jwks_uri.
type ProviderKey struct {
	KeyID     events.KeyID
	Algorithm events.Algorithm
	Public    crypto.PublicKey
	Expires   int64 // what its owner says: exp, NumericDate. Zero: none
}

// Published is what an external issuer publishes.
type Published struct {
	Source string // where it was fetched
	Keys   []ProviderKey
	// Current is called right before each write. It returns an error if somebody else may have fetched, and written, something newer
	// since: then nothing more is written, and the error is that of the sync. Nil: nobody else does.
	Current func(context.Context) error
}

// KeySync is what [Registry.SyncKeys] did. All that is in none of the lists was as it should be.
type KeySync struct {
	Added   []events.KeyID
	Changed []events.KeyID // another public key, algorithm or exp under a kid that the issuer had already
	Removed []events.KeyID
	// Kept are kids under which an operator has registered another key than the issuer publishes: the operator's stays.
	Kept []events.KeyID
}

// UnfinishedSync is the error of a sync that was not done to its end, after something was, or perhaps was, written.
type UnfinishedSync struct {
	Did KeySync // before that: one more key may be written
	Err error   // why
}

func (e *UnfinishedSync) Error() string { return e.Err.Error() }
func (e *UnfinishedSync) Unwrap() error { return e.Err }

// originMember is a member of the record of a key that was fetched: where from. To the fold it means nothing; here it tells
// the keys that came by themselves, and go by themselves, from those that an operator registered.
const originMember = "jwks_uri"

// endMember is a member of such a record, too: its exp, when that is the one that the issuer says, and no end that an operator has set.
const endMember = "jwks_exp"

// SyncKeys makes the keys of an external issuer those that it publishes at the source, which must be the jwks_uri of its record:
//
//   - a kid that is new is registered, and one with another public key or exp than before is written anew. Since the exp is in the record,
//     the key ends at it whatever becomes of the provider; one that has passed is as not published;
//   - a kid that was fetched and is not there any more is removed. It is not trusted from then on, and is again when it comes back;
//   - what operators have decided stays: a revoked key stays dead, an end stays, keys that they registered are not touched. A fetched key
//     with an end that they set is ended and not removed, else it would come back without the end.
//
// New keys are written before old ones are removed. It may be repeated, and run at several places: each write is a compare-and-set.
// The errors are [ErrInvalid], also for a set without keys, which would remove all; [ErrNotFound] and [ErrDisabled].
// After an error a part may have been done: then it is an [*UnfinishedSync], and the part is in the audit log. When there is nothing to write, no line is written.
func (r *Registry) SyncKeys(ctx context.Context, caller Caller, name events.Name, set Published) (KeySync, error) {
	var did KeySync
	err := r.audited(caller, "key sync", line{issuer: name, source: set.Source}, func(l *line) error {
		if err := checkProviderKeys(name, set.Keys); err != nil {
			return err
		}
		return r.exclusive(ctx, func(known *events.Set) error {
			issuer, err := activeIn(known, name, events.TypeExternal)
			if err != nil {
				return err
			}
			if issuer.Record.JWKSURI != set.Source || set.Source == "" {
				return refuse(ErrInvalid, "keys of %s were fetched from %s, but its jwks_uri is %q now", name, set.Source, issuer.Record.JWKSURI)
			}
			s := keySync{r: r, caller: caller, set: known, name: name, source: set.Source, current: set.Current, line: l, did: &did}
			err = s.run(ctx, set.Keys)
			l.added, l.changed, l.removed = did.Added, did.Changed, did.Removed
			l.quiet = !s.wrote
			if err != nil && (s.wrote || errors.Is(err, bus.ErrUnknownOutcome)) {
				return &UnfinishedSync{did, err}
			}
			return err
		})
	})
	if err != nil {
		return KeySync{}, err
	}
	return did, nil
}

// NewKeys counts the keys that [Registry.SyncKeys] would register, or write anew with what is published now. Each is a write that goes to
// every verifier. Keys that an operator has registered or revoked are none of them.
func NewKeys(set *events.Set, name events.Name, keys []ProviderKey) int {
	n := 0
	for _, key := range keys {
		known := set.Key(name, key.KeyID)
		switch {
		case known == nil:
			n++
		case known.RevokedBy != 0:
		case known.Record == nil, origin(known.Record) != "" && !isSame(known.Record, key):
			n++
		}
	}
	return n
}

// checkProviderKeys refuses what is not a set of keys that may be registered.
func checkProviderKeys(name events.Name, keys []ProviderKey) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(keys) == 0 {
		return refuse(ErrInvalid, "no keys of %s: to trust none of its keys, disable it", name)
	}
	seen := map[events.KeyID]bool{}
	for _, key := range keys {
		if _, err := events.ParseKeyID(string(key.KeyID)); err != nil {
			return &refusal{ErrInvalid, err}
		}
		if seen[key.KeyID] {
			return refuse(ErrInvalid, "two keys of %s with the kid %q", name, string(key.KeyID))
		}
		seen[key.KeyID] = true
		if err := checkPublic(key.Algorithm, key.Public); err != nil {
			return err
		}
	}
	return nil
}

// keySync is one call of SyncKeys.
type keySync struct {
	r       *Registry
	caller  Caller
	set     *events.Set // has all that was acknowledged before
	name    events.Name
	source  string
	current func(context.Context) error // of Published
	line    *line
	did     *KeySync
	wrote   bool // anything at all, perhaps only where a key was fetched from
}

func (s *keySync) run(ctx context.Context, keys []ProviderKey) error {
	published := map[events.KeyID]bool{}
	for _, key := range keys {
		if key.Expires != 0 && key.Expires <= s.r.now().Unix() { // the set may be older than that
			continue
		}
		published[key.KeyID] = true
		known := s.set.Key(s.name, key.KeyID)
		if known != nil && (known.RevokedBy != 0 || s.isAsPublished(known.Record, key)) {
			continue
		}
		if err := s.put(ctx, key); err != nil {
			return unsure(err, "key %q of %s may or may not be registered", string(key.KeyID), s.name)
		}
	}
	for _, known := range s.set.Keys(s.name) {
		if published[known.KeyID] || known.RevokedBy != 0 || origin(known.Record) == "" || s.isOver(known.Record) {
			continue
		}
		if err := s.remove(ctx, known.KeyID); err != nil {
			return unsure(err, "key %q of %s may or may not be removed", string(known.KeyID), s.name)
		}
	}
	return nil
}

// FetchedFrom is where the key of a record was fetched from by [Registry.SyncKeys]. Empty: an operator has registered it.
func FetchedFrom(record *events.Key) string { return origin(record) }

// origin is where a key was fetched from, or empty if an operator registered it.
func origin(record *events.Key) string {
	if record == nil {
		return ""
	}
	s, _ := strictjson.String(record.Extra[originMember]) // an operator's own member of that name may be anything
	return s
}

func (s *keySync) isAsPublished(record *events.Key, key ProviderKey) bool {
	if record == nil {
		return false
	}
	switch origin(record) {
	case "":
		return sameKey(record, key)
	case s.source:
		return isSame(record, key)
	}
	return false
}

// isSame reports whether a key that was fetched is still published as it was.
func isSame(record *events.Key, key ProviderKey) bool {
	return sameKey(record, key) && record.Expires == endOf(record, key)
}

func sameKey(record *events.Key, key ProviderKey) bool {
	public, ok := record.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public) && record.Algorithm == key.Algorithm
}

// isEndedByHand reports whether the end of a key is an operator's. It need not be another one than its issuer's: see endKey.
func isEndedByHand(record *events.Key) bool {
	published, err := strictjson.Int(record.Extra[endMember])
	return record.Expires != 0 && (err != nil || record.Expires != published)
}

// endOf is the exp of a key's record when it is published as key.
func endOf(record *events.Key, key ProviderKey) int64 {
	if isEndedByHand(record) {
		return record.Expires
	}
	return key.Expires
}

// isOver reports whether a record says that its key is dead: it is left to say so.
func (s *keySync) isOver(record *events.Key) bool {
	state := record.State(s.r.now())
	return state == events.KeyRevoked || state == events.KeyExpired
}

// put registers a key, or writes it anew.
func (s *keySync) put(ctx context.Context, key ProviderKey) error {
	var done *[]events.KeyID
	err := s.update(ctx, key.KeyID, func(record *events.Key) (bus.Decision, error) {
		done = nil
		next := events.Key{}
		switch {
		case record == nil:
			done = &s.did.Added
		case s.isAsPublished(record, key):
			return bus.Decision{}, nil
		case origin(record) == "":
			done = &s.did.Kept
			return bus.Decision{}, nil
		default:
			next = *record
			if !isSame(record, key) { // else only the place has changed
				done = &s.did.Changed
			}
		}
		if err := s.publish(&next, key); err != nil {
			return bus.Decision{}, err
		}
		return encodeKey(s.name, key.KeyID, &next)
	})
	if err == nil && done != nil {
		*done = append(*done, key.KeyID)
	}
	return err
}

// publish makes a record, which may be empty, say what key says.
func (s *keySync) publish(record *events.Key, key ProviderKey) error {
	from, err := json.Marshal(s.source)
	if err != nil {
		return err
	}
	if record.Public == nil || !sameKey(record, key) {
		record.Algorithm, record.Public, record.IssuedAt = key.Algorithm, key.Public, s.r.now().Unix()
	}
	extra := maps.Clone(record.Extra)
	if extra == nil {
		extra = events.Extra{}
	}
	extra[originMember] = from
	delete(extra, endMember)
	if !isEndedByHand(record) {
		if record.Expires = key.Expires; key.Expires != 0 {
			extra[endMember] = strconv.AppendInt(nil, key.Expires, 10)
		}
	}
	record.Extra = extra
	return nil
}

// remove makes an end of a key that was fetched and is not published any more.
func (s *keySync) remove(ctx context.Context, kid events.KeyID) error {
	removed := false
	err := s.update(ctx, kid, func(record *events.Key) (bus.Decision, error) {
		removed = record != nil && origin(record) != "" && !s.isOver(record)
		if !removed {
			return bus.Decision{}, nil
		}
		now := s.r.now().Unix()
		if !isEndedByHand(record) || record.NotBefore >= now {
			return bus.Decision{Delete: true}, nil
		}
		next := *record
		next.Expires = now
		return encodeKey(s.name, kid, &next)
	})
	if err == nil && removed {
		s.did.Removed = append(s.did.Removed, kid)
	}
	return err
}

// update decides about the record of a kid that counts, nil being none.
func (s *keySync) update(ctx context.Context, kid events.KeyID, decide func(*events.Key) (bus.Decision, error)) error {
	writes := false
	revision, err := s.r.store.Update(ctx, bus.Keys, events.KeyRecord(s.name, kid).String(), s.caller.Name, func(e events.Entry) (bus.Decision, error) {
		record, err := s.r.keyRecord(ctx, s.name, kid, e)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return bus.Decision{}, err
		}
		d, err := decide(record)
		writes = d.Value != nil || d.Delete
		if err == nil && writes && s.current != nil {
			err = s.current(ctx)
		}
		return d, err
	})
	if err == nil && writes {
		s.wrote, s.line.revision = true, max(s.line.revision, revision)
	}
	return err
}

func encodeKey(name events.Name, kid events.KeyID, record *events.Key) (bus.Decision, error) {
	value, err := record.Encode(kid)
	if err != nil {
		return bus.Decision{}, refuse(ErrInvalid, "key %q of %s: %w", string(kid), name, err)
	}
	return bus.Decision{Value: value}, nil
}
