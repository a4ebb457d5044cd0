package events

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Apply folds one message into the set. Messages must come in the order of their revisions; one that is not newer than
// the last is ignored, so that delivering a message twice does no harm. It keeps nothing of e.Value.
func (s *Set) Apply(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Revision <= s.revision.Load() {
		return
	}
	name, err := ParseRecordName(e.Name)
	switch {
	case err != nil:
		s.reject(e, err)
	case name.Kind == KindIssuer:
		s.applyIssuer(name.Issuer, e)
	case name.Kind == KindKey:
		s.applyKey(keyRef{name.Issuer, name.KeyID}, e)
	case name.Kind == KindRevoked:
		s.applyRevoked(keyRef{name.Issuer, name.KeyID}, e)
	}
	s.revision.Store(e.Revision)
}

func (s *Set) tell(event Event, e Entry, reason string) {
	if s.emit == nil {
		return
	}
	caller := e.Caller
	if caller == "" {
		caller = UnknownCaller
	}
	s.emit(Change{Event: event, Name: e.Name, Revision: e.Revision, Time: e.Time, Caller: caller, Reason: reason})
}

func (s *Set) reject(e Entry, err error) {
	caller := e.Caller
	if caller == "" {
		caller = UnknownCaller
	}
	s.rejected[e.Name] = Rejected{e.Name, e.Revision, e.Time, caller, err.Error()}
	s.tell(RecordRejected, e, err.Error())
}

// pushedOut is why a good record is gone after History malformed ones: the bucket has dropped it, so a node that
// starts now does not find it.
const pushedOut = "the last valid revision was pushed out of the history by malformed ones"

func (s *Set) issuerSlot(name Name) *issuerSlot {
	slot := s.issuers.get(name)
	if slot == nil {
		slot = &issuerSlot{name: name}
		s.issuers.put(name, slot)
	}
	return slot
}

func (s *Set) applyIssuer(name Name, e Entry) {
	var record *Issuer
	if !e.Deleted {
		var err error
		if record, err = ParseIssuer(e.Value); err == nil {
			err = checkTypeOfName(name, record.Type)
		}
		if err != nil {
			s.reject(e, err)
			slot := s.issuers.get(name)
			if slot == nil || slot.entry.Load() == nil {
				return
			}
			if slot.malformed++; slot.malformed >= History {
				s.setIssuer(slot, nil)
				s.tell(IssuerDisabled, e, pushedOut)
			}
			return
		}
	}
	delete(s.rejected, e.Name)
	slot := s.issuerSlot(name)
	before := slot.entry.Load()
	slot.malformed = 0
	if record == nil {
		s.setIssuer(slot, nil)
		if before != nil {
			s.tell(IssuerDisabled, e, "the record was deleted")
		}
		return
	}
	s.setIssuer(slot, &IssuerEntry{Name: name, Record: record, Revision: e.Revision})
	switch {
	case record.Status == Disabled:
		s.tell(IssuerDisabled, e, "")
	case before == nil:
		s.tell(IssuerAdded, e, "")
	default:
		s.tell(IssuerChanged, e, "")
	}
}

// checkTypeOfName ties the name platform to the type platform: there is one such record.
func checkTypeOfName(name Name, t IssuerType) error {
	if (name == Platform) != (t == TypePlatform) {
		return fmt.Errorf("type %s under the name %s: the name platform, and only it, is for the type platform", t, name)
	}
	return nil
}

// setIssuer replaces the entry of slot and keeps the indexes true.
func (s *Set) setIssuer(slot *issuerSlot, next *IssuerEntry) {
	before := slot.entry.Load()
	if before != nil && before.Record.Type == TypeExternal {
		s.unindexExternal(before.Record.Iss, before.Name)
	}
	slot.entry.Store(next)
	if next != nil && next.Record.Type == TypeExternal {
		s.indexExternal(next.Record.Iss, next.Name)
	}
	if slot.name == Platform {
		s.setPlatform(next)
	}
	if next == nil && slot.keys == nil {
		s.issuers.delete(slot.name)
	}
}

func (s *Set) setPlatform(next *IssuerEntry) {
	if next == nil {
		s.platform.Store(nil)
		return
	}
	s.platform.Store(&platformView{next, ClientURL(next.Record.Iss, "")})
}

func (s *Set) indexExternal(iss string, name Name) {
	slot := &externalSlot{iss: iss}
	if old := s.external.get(iss); old != nil {
		slot.names = slices.Clone(old.names)
	}
	slot.names = append(slot.names, name)
	slices.Sort(slot.names)
	s.external.put(iss, slot)
}

func (s *Set) unindexExternal(iss string, name Name) {
	old := s.external.get(iss)
	slot := &externalSlot{iss: iss, names: slices.DeleteFunc(slices.Clone(old.names), func(n Name) bool { return n == name })}
	if len(slot.names) == 0 {
		s.external.delete(iss)
		return
	}
	s.external.put(iss, slot)
}

func (s *Set) applyKey(ref keyRef, e Entry) {
	var record *Key
	if !e.Deleted {
		var err error
		if record, err = ParseKey(ref.kid, e.Value); err != nil {
			s.reject(e, err)
			slot := s.keys.get(ref)
			if slot == nil || slot.entry.Load().Record == nil {
				return
			}
			if slot.malformed++; slot.malformed >= History {
				s.setKey(ref, slot, nil, e)
				s.tell(KeyRemoved, e, pushedOut)
			}
			return
		}
	}
	delete(s.rejected, e.Name)
	slot := s.keys.get(ref)
	var before *Key
	if slot != nil {
		before = slot.entry.Load().Record
		slot.malformed = 0
	}
	if record == nil {
		if before != nil {
			s.setKey(ref, slot, nil, e)
			s.tell(KeyRemoved, e, "")
		}
		return
	}
	s.setKey(ref, slot, record, e)
	s.tell(keyEvent(before, record, e.Time), e, "")
	if ref.issuer == Platform {
		s.forgetLeases(e)
	}
}

// keyEvent names what the record after did to the key that before described, as of the time of the message.
func keyEvent(before, after *Key, at time.Time) Event {
	switch {
	case after.Revoked != nil:
		return KeyWasRevoked
	case after.State(at) == KeyPending:
		return KeyScheduled
	case after.Expires != 0 && before != nil && (before.Expires == 0 || after.Expires < before.Expires):
		return KeyRetired
	}
	return KeyRegistered
}

// setKey replaces the record of a key. A slot whose key is neither registered nor revoked goes away.
func (s *Set) setKey(ref keyRef, slot *keySlot, record *Key, e Entry) {
	next := &KeyEntry{Issuer: ref.issuer, KeyID: ref.kid, Record: record, Revision: e.Revision, Modified: e.Time.Unix()}
	if slot == nil {
		s.addKey(ref, next)
		return
	}
	before := slot.entry.Load()
	next.Issuer, next.KeyID = before.Issuer, before.KeyID // the strings that are there already
	next.RevokedBy, next.Reason = before.RevokedBy, before.Reason
	slot.entry.Store(next)
	if record == nil && next.RevokedBy == 0 {
		s.dropKey(ref, slot)
	}
}

// addKey puts a new slot into the table and at the head of its issuer's list.
func (s *Set) addKey(ref keyRef, entry *KeyEntry) *keySlot {
	issuer := s.issuerSlot(ref.issuer)
	entry.Issuer, ref.issuer = issuer.name, issuer.name // one copy of the name
	slot := &keySlot{next: issuer.keys}
	slot.entry.Store(entry)
	if issuer.keys != nil {
		issuer.keys.prev = slot
	}
	issuer.keys = slot
	issuer.count++
	s.keys.put(ref, slot)
	return slot
}

func (s *Set) dropKey(ref keyRef, slot *keySlot) {
	s.keys.delete(ref)
	issuer := s.issuers.get(ref.issuer)
	if slot.prev != nil {
		slot.prev.next = slot.next
	} else {
		issuer.keys = slot.next
	}
	if slot.next != nil {
		slot.next.prev = slot.prev
	}
	issuer.count--
	if issuer.keys == nil && issuer.entry.Load() == nil {
		s.issuers.delete(ref.issuer)
	}
}

// applyRevoked takes any message on a name revoked.…, whatever its value or marker: revocations only accumulate.
func (s *Set) applyRevoked(ref keyRef, e Entry) {
	said := &KeyRevocation{RevokedAt: e.Time.Unix()}
	if r, err := parseKeyRevocation(e.Value); err == nil {
		said = r
	}
	delete(s.rejected, e.Name)
	if s.revoke(ref, e.Revision, said) {
		s.tell(KeyWasRevoked, e, said.Reason)
	}
}

// revoke marks a key as revoked, and reports whether it was not before.
func (s *Set) revoke(ref keyRef, revision uint64, said *KeyRevocation) bool {
	slot := s.keys.get(ref)
	if slot == nil {
		slot = s.addKey(ref, &KeyEntry{Issuer: ref.issuer, KeyID: ref.kid})
	}
	before := slot.entry.Load()
	if before.RevokedBy != 0 {
		return false
	}
	next := *before
	next.RevokedBy, next.Reason = revision, said
	slot.entry.Store(&next)
	s.revoked[ref] = slot
	return true
}

// forgetLeases drops the keys of issuer nodes that are gone: the bucket drops their records by message TTL, without
// a message to say so. The cost is in the number of nodes.
func (s *Set) forgetLeases(e Entry) {
	limit := e.Time.Add(-LeaseKeep).Unix()
	for slot := s.issuerSlot(Platform).keys; slot != nil; slot = slot.next {
		entry := slot.entry.Load()
		if entry.RevokedBy == 0 && entry.Record != nil && entry.Record.Expires != 0 && entry.Record.Expires <= limit {
			s.dropKey(keyRef{entry.Issuer, entry.KeyID}, slot)
		}
	}
}

// errForgotten is the reason of a revocation that the bucket does not hold any more.
var errForgotten = errors.New("the bucket has lost this revocation; it is kept here")

// KeepRevocations adds the revocations of old that s does not have: a bucket that was restored to an older state or
// made anew has lost them, and a key that was seen revoked must not come back. It returns the names of the records that
// the bucket has lost; an operator should write them again.
func (s *Set) KeepRevocations(old *Set) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old.mu.RLock()
	defer old.mu.RUnlock()
	var lost []string
	for ref, slot := range old.revoked {
		entry := slot.entry.Load()
		if s.revoke(ref, entry.RevokedBy, entry.Reason) {
			name := RevokedRecord(ref.issuer, ref.kid).String()
			s.rejected[name] = Rejected{Name: name, Revision: entry.RevokedBy, Reason: errForgotten.Error()}
			lost = append(lost, name)
		}
	}
	return lost
}
