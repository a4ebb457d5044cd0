package events

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Set is the key set: the fold of the messages of KEYS. It is a pure function of the messages that the bucket
// retains; see the package comment for the rules.
//
// One goroutine at a time may call Apply. Any number may read meanwhile: the lookups that decide about a token
// ([Set.IssuerOf], [Set.Issuer], [Set.Key]) load immutable values through atomic pointers and take no lock. A change costs the
// same however large the set is.
type Set struct {
	revision atomic.Uint64
	latest   atomic.Uint64 // of the last message that was not left out
	platform atomic.Pointer[platformView]
	issuers  *table[Name, issuerSlot]
	keys     *table[keyRef, keySlot]
	external *table[string, externalSlot] // by iss
	known    atomic.Int64                 // issuers that have a record
	losses   atomic.Uint64                // of trust
	emit     func(Change)

	mu       sync.RWMutex // for Apply and the listings; no lookup takes it
	revoked  map[keyRef]*keySlot
	rejected map[string]Rejected

	holds      sync.Mutex // one hold at a time
	walking    bool       // a hold looks up the places: new ones are noted for it
	newIssuers []*issuerSlot
	newKeys    []*keySlot
}

// IssuerEntry is an issuer in a set. It does not change.
type IssuerEntry struct {
	Name     Name
	Record   *Issuer
	Revision uint64
}

// KeyEntry is a key in a set. It does not change.
type KeyEntry struct {
	Issuer   Name
	KeyID    KeyID
	Record   *Key   // nil if there is none, or none that is valid
	Revision uint64 // of the record
	Modified int64  // server time of the record, Unix seconds

	// RevokedBy is the revision of the last message on revoked.…, or zero if there is none. It is the last one, because the
	// bucket may have dropped the first, and a node that starts now must say the same.
	RevokedBy uint64
	Reason    *KeyRevocation // what that message said; its time, if it could not be read
}

// State is the key's state at now.
func (e *KeyEntry) State(now time.Time) KeyState {
	switch {
	case e.RevokedBy != 0:
		return KeyRevoked
	case e.Record == nil:
		return KeyUnknown
	}
	return e.Record.State(now)
}

type keyRef struct {
	issuer Name
	kid    KeyID
}

// keySlot is the place of one key. Its entry is replaced whole, at last by nil when the key is gone; the other fields are the writer's, under mu.
type keySlot struct {
	entry      atomic.Pointer[KeyEntry]
	malformed  uint8 // messages since the record, all malformed
	next, prev *keySlot
}

// issuerSlot is the place of one issuer. Its entry is nil when there is no valid record.
type issuerSlot struct {
	entry     atomic.Pointer[IssuerEntry]
	malformed uint8
	name      Name
	keys      *keySlot // list, under mu
	count     int
}

type externalSlot struct {
	iss   string
	names []Name // more than one: none of them is trusted
}

// platformView is the platform's record with what is derived from it.
type platformView struct {
	entry        *IssuerEntry
	clientPrefix string
}

// NewSet returns an empty set. With emit, every change is told, in order and before Apply returns; emit must not
// block or call the set's listings.
func NewSet(emit func(Change)) *Set {
	return &Set{
		issuers:  newTable[Name, issuerSlot](),
		keys:     newTable[keyRef, keySlot](),
		external: newTable[string, externalSlot](),
		revoked:  map[keyRef]*keySlot{},
		rejected: map[string]Rejected{},
		emit:     emit,
	}
}

// Revision is the revision of the last message applied. The set contains everything up to it.
func (s *Set) Revision() uint64 { return s.revision.Load() }

// ClientURL is the issuer identifier of a client of the given platform.
func ClientURL(platform string, client Name) string { return platform + clientPath + string(client) }

const clientPath = "/v1/clients/"

// URL is the iss of the tokens of e, or empty for a client while there is no platform. It is derived here and not
// kept, because a client's record may arrive before the platform's.
func (s *Set) URL(e *IssuerEntry) string {
	if e.Record.Type != TypeClient {
		return e.Record.Iss
	}
	if p := s.platform.Load(); p != nil {
		return p.clientPrefix + string(e.Name)
	}
	return ""
}

// Platform returns the platform's issuer, or nil while there is none.
func (s *Set) Platform() *IssuerEntry {
	if p := s.platform.Load(); p != nil {
		return p.entry
	}
	return nil
}

// Issuer returns the issuer with the given name, or nil.
func (s *Set) Issuer(name Name) *IssuerEntry {
	if slot := s.issuers.get(name); slot != nil {
		return slot.entry.Load()
	}
	return nil
}

// IssuerOf returns the issuer whose tokens carry iss, compared byte by byte, or nil: the platform, else the client whose URL is
// derived from the platform's, else the one external issuer that says so. Of two external issuers with one iss neither
// is found, and none is found below the platform's /v1/clients/, whether there is a client of that name or not.
func (s *Set) IssuerOf(iss string) *IssuerEntry {
	p := s.platform.Load()
	if p != nil {
		if iss == p.entry.Record.Iss {
			return p.entry
		}
		if client, ok := strings.CutPrefix(iss, p.clientPrefix); ok {
			e := s.Issuer(Name(client))
			if e != nil && e.Record.Type == TypeClient {
				return e
			}
			return nil
		}
	}
	slot := s.external.get(iss)
	if slot == nil || len(slot.names) != 1 {
		return nil
	}
	// The index and the entry are two loads: what was found may have become another issuer in between.
	if e := s.Issuer(slot.names[0]); e != nil && e.Record.Type == TypeExternal && e.Record.Iss == iss {
		return e
	}
	return nil
}

// Key returns the key of an issuer, or nil. It may be a key without a record that is only known to be revoked.
func (s *Set) Key(issuer Name, kid KeyID) *KeyEntry {
	if slot := s.keys.get(keyRef{issuer, kid}); slot != nil {
		return slot.entry.Load()
	}
	return nil
}

// Len returns how many issuers have a record and how many keys there are, those of unknown issuers and those that are only
// known to be revoked included.
func (s *Set) Len() (issuers, keys int) { return int(s.known.Load()), s.keys.len() }

// Revoked returns how many keys are revoked by a record revoked.…. The number only rises.
func (s *Set) Revoked() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.revoked)
}

// Latest is the revision of the last message that was applied and not left out ([Set.LeaveOut]).
func (s *Set) Latest() uint64 { return s.latest.Load() }

// Losses is how many messages since the set was made have taken trust away, or may have: a key that is revoked, removed, retired, replaced or
// put off, an issuer that is changed or disabled. The number only rises, and costs a load.
func (s *Set) Losses() uint64 { return s.losses.Load() }

// Issuers visits every issuer that has a valid record, in no order.
func (s *Set) Issuers() iter.Seq[*IssuerEntry] {
	return func(yield func(*IssuerEntry) bool) {
		for slot := range s.issuers.all() {
			if e := slot.entry.Load(); e != nil && !yield(e) {
				return
			}
		}
	}
}

// AllKeys visits every key of every issuer, in no order.
func (s *Set) AllKeys() iter.Seq[*KeyEntry] {
	return func(yield func(*KeyEntry) bool) {
		for slot := range s.keys.all() {
			if e := slot.entry.Load(); e != nil && !yield(e) {
				return
			}
		}
	}
}

// Keys returns the keys of one issuer, the latest written first.
func (s *Set) Keys(issuer Name) []*KeyEntry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	slot := s.issuers.get(issuer)
	if slot == nil {
		return nil
	}
	out := make([]*KeyEntry, 0, slot.count)
	for k := slot.keys; k != nil; k = k.next {
		out = append(out, k.entry.Load())
	}
	slices.SortFunc(out, func(a, b *KeyEntry) int {
		return cmp.Or(cmp.Compare(b.Revision, a.Revision), cmp.Compare(b.RevokedBy, a.RevokedBy))
	})
	return out
}

// Rejected returns the messages that were not taken and that no valid message on the same name has followed, in no order.
func (s *Set) Rejected() []Rejected {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Rejected, 0, len(s.rejected))
	for _, r := range s.rejected {
		out = append(out, r)
	}
	return out
}

// Ambiguous returns the identifiers of external issuers that are not theirs alone, with the names of all who claim them. No external
// issuer is trusted under such an identifier: not if there are two, and not if it is the platform's or that of a client.
func (s *Set) Ambiguous() map[string][]Name {
	out := map[string][]Name{}
	p := s.platform.Load()
	for slot := range s.external.all() {
		switch {
		case p != nil && (slot.iss == p.entry.Record.Iss || strings.HasPrefix(slot.iss, p.clientPrefix)):
			out[slot.iss] = slices.Concat([]Name{Platform}, slot.names)
		case len(slot.names) > 1:
			out[slot.iss] = slices.Clone(slot.names)
		}
	}
	return out
}
