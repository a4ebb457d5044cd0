package events

import (
	"fmt"
	"slices"
	"strings"
)

func (s *Set) applyIssuer(name Name, e Entry) {
	slot := s.issuers.get(name)
	var before, after *IssuerEntry
	if slot != nil {
		before = slot.entry.Load()
	}
	if !e.Deleted {
		record, err := e.issuer()
		if err == nil {
			err = checkTypeOfName(name, record.Type)
		}
		if err != nil {
			s.rejectIssuer(slot, e, err)
			return
		}
		after = &IssuerEntry{Name: name, Record: record, Revision: e.Revision}
	}
	delete(s.rejected, e.Name)
	if before == nil && after == nil {
		return
	}
	slot = s.issuerSlot(name)
	slot.malformed = 0
	s.setIssuer(slot, after, e)
	if after == nil {
		s.tell(IssuerDisabled, e, "the record was deleted")
		return
	}
	event, reason := s.issuerEvent(after, before == nil)
	s.tell(event, e, reason)
}

// rejectIssuer notes a malformed message. It ends the record that it follows when there are so many of them that the
// bucket has dropped that record.
func (s *Set) rejectIssuer(slot *issuerSlot, e Entry, err error) {
	s.reject(e, err)
	if slot == nil || slot.entry.Load() == nil {
		return
	}
	if slot.malformed++; slot.malformed >= History {
		s.setIssuer(slot, nil, e)
		s.tell(IssuerDisabled, e, pushedOut)
	}
}

// checkTypeOfName ties the name platform to the type platform: there is one such record.
func checkTypeOfName(name Name, t IssuerType) error {
	if (name == Platform) != (t == TypePlatform) {
		return fmt.Errorf("type %s under the name %s: the name platform, and only it, is for the type platform", t, name)
	}
	return nil
}

// contestedIss is why an external issuer with an active record is not trusted.
const contestedIss = "another external issuer has the same iss: neither is trusted"

// issuerEvent names what has become of an issuer.
func (s *Set) issuerEvent(e *IssuerEntry, isNew bool) (event Event, reason string) {
	switch {
	case e.Record.Status == Disabled:
		return IssuerDisabled, ""
	case s.contested(e):
		return IssuerDisabled, contestedIss
	case isNew:
		return IssuerAdded, ""
	}
	return IssuerChanged, ""
}

// contested reports whether e is an external issuer that shares its iss.
func (s *Set) contested(e *IssuerEntry) bool {
	if e.Record.Type != TypeExternal {
		return false
	}
	slot := s.external.get(e.Record.Iss)
	return slot != nil && len(slot.names) > 1
}

// issuerSlot returns the place of an issuer, a new one if need be.
func (s *Set) issuerSlot(name Name) *issuerSlot {
	slot := s.issuers.get(name)
	if slot == nil {
		slot = &issuerSlot{name: Name(strings.Clone(string(name)))} // not the whole name of the record
		s.issuers.put(slot.name, slot)
		if s.walking {
			s.newIssuers = append(s.newIssuers, slot)
		}
	}
	return slot
}

// setIssuer replaces the entry of slot and keeps the indexes true. Readers find an iss that stays the same at every moment.
func (s *Set) setIssuer(slot *issuerSlot, next *IssuerEntry, e Entry) {
	before, after := slot.externalIss(), ""
	if next != nil && next.Record.Type == TypeExternal {
		after = next.Record.Iss
	}
	if next != nil {
		next.Name = slot.name
	}
	if after != before && after != "" {
		s.indexExternal(after, slot.name, e)
	}
	switch old := slot.entry.Swap(next); {
	case old == nil && next != nil:
		s.known.Add(1)
	case old != nil && next == nil:
		s.known.Add(-1)
	}
	if after != before && before != "" {
		s.unindexExternal(before, slot.name, e)
	}
	if slot.name == Platform {
		s.setPlatform(next)
	}
	s.dropIssuer(slot)
}

// externalIss is the iss that slot stands for in the index of external issuers, or empty.
func (slot *issuerSlot) externalIss() string {
	if e := slot.entry.Load(); e != nil && e.Record.Type == TypeExternal {
		return e.Record.Iss
	}
	return ""
}

// dropIssuer takes out a slot that has neither a record nor keys.
func (s *Set) dropIssuer(slot *issuerSlot) {
	if slot.entry.Load() == nil && slot.keys == nil {
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

func (s *Set) indexExternal(iss string, name Name, e Entry) {
	slot := &externalSlot{iss: iss, names: []Name{name}}
	if old := s.external.get(iss); old != nil {
		slot.names = append(slot.names, old.names...)
		slices.Sort(slot.names)
		if len(old.names) == 1 {
			s.tellOf(IssuerRecord(old.names[0]), IssuerDisabled, e, contestedIss)
		}
	}
	s.external.put(iss, slot)
}

func (s *Set) unindexExternal(iss string, name Name, e Entry) {
	slot := &externalSlot{iss: iss}
	for _, n := range s.external.get(iss).names {
		if n != name {
			slot.names = append(slot.names, n)
		}
	}
	if len(slot.names) == 0 {
		s.external.delete(iss)
		return
	}
	s.external.put(iss, slot)
	if len(slot.names) == 1 {
		event, reason := s.issuerEvent(s.Issuer(slot.names[0]), false)
		s.tellOf(IssuerRecord(slot.names[0]), event, e, reason)
	}
}
