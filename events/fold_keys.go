package events

import (
	"strings"
	"time"
)

func (s *Set) applyKey(ref keyRef, e Entry) {
	slot := s.keys.get(ref)
	var before, record *Key
	if slot != nil {
		before = slot.entry.Load().Record
	}
	if !e.Deleted {
		var err error
		if record, err = e.key(ref.kid, before); err != nil {
			s.rejectKey(ref, slot, e, err)
			return
		}
	}
	delete(s.rejected, e.Name)
	if slot != nil {
		slot.malformed = 0
	}
	switch {
	case record != nil:
		after := s.setKey(ref, slot, record, e)
		event, reason := keyEvent(before, after, e.Time)
		s.tell(event, e, reason)
		if before != nil && !record.samePublic(before) {
			s.losses.Add(1)
		}
	case before != nil:
		s.unsetKey(ref, slot)
		s.tell(KeyRemoved, e, "the record was deleted")
	}
	if record != nil && ref.issuer == Platform {
		s.forgetLeases(e)
	}
}

// rejectKey notes a malformed message. It ends the record that it follows when there are so many of them that the
// bucket has dropped that record.
func (s *Set) rejectKey(ref keyRef, slot *keySlot, e Entry, err error) {
	s.reject(e, err)
	if slot == nil || slot.entry.Load().Record == nil {
		return
	}
	if slot.malformed++; slot.malformed >= History {
		s.unsetKey(ref, slot)
		s.tell(KeyRemoved, e, pushedOut)
	}
}

// deadAnyway is what is said of a record for a key that is revoked for ever.
const deadAnyway = "the key stays revoked: a record revoked.… is for ever"

// keyEvent names what a new record did to the key that before described, as of the time of the message.
func keyEvent(before *Key, after *KeyEntry, at time.Time) (event Event, reason string) {
	record := after.Record
	switch {
	case after.RevokedBy != 0:
		return KeyWasRevoked, deadAnyway
	case record.Revoked != nil:
		return KeyWasRevoked, record.Revoked.Reason
	case record.State(at) == KeyPending:
		return KeyScheduled, ""
	case record.Expires != 0 && before != nil && (before.Expires == 0 || record.Expires < before.Expires):
		return KeyRetired, ""
	}
	return KeyRegistered, ""
}

// setKey gives a key its record.
func (s *Set) setKey(ref keyRef, slot *keySlot, record *Key, e Entry) *KeyEntry {
	next := slot.copy()
	next.Record, next.Revision, next.Modified = record, e.Revision, e.Time.Unix()
	s.storeKey(ref, slot, next)
	return next
}

// unsetKey takes the record of a key away. What is left is that it is revoked, or nothing.
func (s *Set) unsetKey(ref keyRef, slot *keySlot) {
	next := slot.copy()
	if next.RevokedBy == 0 {
		s.dropKey(ref, slot)
		return
	}
	next.Record, next.Revision, next.Modified = nil, 0, 0
	slot.malformed = 0
	slot.entry.Store(next)
}

// copy returns what the slot has, for a new entry; slot may be nil.
func (slot *keySlot) copy() *KeyEntry {
	if slot == nil {
		return new(KeyEntry)
	}
	next := *slot.entry.Load()
	return &next
}

// storeKey shows the entry to readers, in a new slot at the head of its issuer's list if there is none yet.
func (s *Set) storeKey(ref keyRef, slot *keySlot, next *KeyEntry) *keySlot {
	if slot != nil {
		slot.entry.Store(next)
		return slot
	}
	issuer := s.issuerSlot(ref.issuer)
	ref = keyRef{issuer.name, KeyID(strings.Clone(string(ref.kid)))} // one copy of each, not the whole name of the record
	next.Issuer, next.KeyID = ref.issuer, ref.kid
	slot = &keySlot{next: issuer.keys}
	slot.entry.Store(next)
	if issuer.keys != nil {
		issuer.keys.prev = slot
	}
	issuer.keys = slot
	issuer.count++
	s.keys.put(ref, slot)
	if s.walking {
		s.newKeys = append(s.newKeys, slot)
	}
	return slot
}

func (s *Set) dropKey(ref keyRef, slot *keySlot) {
	s.keys.delete(ref)
	slot.entry.Store(nil)
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
	s.dropIssuer(issuer)
}

// applyRevoked takes any message on a name revoked.…, whatever its value or marker: revocations only accumulate.
func (s *Set) applyRevoked(ref keyRef, e Entry) {
	delete(s.rejected, e.Name)
	said := &KeyRevocation{}
	if !e.Deleted {
		if r, err := parseKeyRevocation(e.Value); err == nil {
			said = r
		}
	}
	if said.RevokedAt == 0 {
		said.RevokedAt = e.Time.Unix()
	}
	if s.revoke(ref, e.Revision, said) {
		s.tell(KeyWasRevoked, e, said.Reason)
	}
}

// revoke marks a key as revoked, and reports whether it was not before.
func (s *Set) revoke(ref keyRef, revision uint64, said *KeyRevocation) bool {
	slot := s.keys.get(ref)
	next := slot.copy()
	isNew := next.RevokedBy == 0
	next.RevokedBy, next.Reason = revision, said
	slot = s.storeKey(ref, slot, next)
	s.revoked[keyRef{next.Issuer, next.KeyID}] = slot
	return isNew
}

// forgetLeases takes out the records of issuer nodes that are gone: the bucket drops them by message TTL, without a message to
// say so. Keys that nobody can use any more are all that is lost if one of them had no TTL. The cost is in the number of nodes.
func (s *Set) forgetLeases(e Entry) {
	limit := e.Time.Add(-LeaseKeep).Unix()
	for slot := s.issuerSlot(Platform).keys; slot != nil; slot = slot.next {
		entry := slot.entry.Load()
		if entry.Record == nil || entry.Record.Expires == 0 || entry.Record.Expires > limit {
			continue
		}
		s.unsetKey(keyRef{entry.Issuer, entry.KeyID}, slot)
		s.tellOf(KeyRecord(entry.Issuer, entry.KeyID), KeyRemoved, e, "its lease has ended")
	}
}
