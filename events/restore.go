package events

import "slices"

// lostRevocation is the reason with which a revocation that the bucket does not hold any more is reported.
const lostRevocation = "the bucket has lost this revocation: it stays in force here; write it again"

// KeepRevocations adds the revocations of old that s does not have: a bucket that was restored to an older state or
// made anew has lost them, and a key that was seen revoked must not come back. It returns the names of the records that
// the bucket has lost, in order; an operator should write them again. They are in [Set.Rejected] until then.
//
// Call it before s is shared. It covers what is revoked by a record revoked.…; a revoked member holds as long as its record.
func (s *Set) KeepRevocations(old *Set) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	old.mu.RLock()
	defer old.mu.RUnlock()
	var lost []string
	for ref, slot := range old.revoked {
		if _, ok := s.revoked[ref]; ok {
			continue
		}
		entry := slot.entry.Load()
		s.revoke(ref, entry.RevokedBy, entry.Reason)
		name := RevokedRecord(ref.issuer, ref.kid).String()
		s.rejected[name] = Rejected{Name: name, Revision: entry.RevokedBy, Caller: UnknownCaller, Reason: lostRevocation}
		lost = append(lost, name)
	}
	slices.Sort(lost)
	return lost
}

// OnlyRevoked returns a set of nothing but the keys that s knows to be revoked by a record revoked.…, of the issuers that the caller
// asks for: what there is to keep for a set that has not followed the same issuers.
func (s *Set) OnlyRevoked(of func(Name) bool) *Set {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := NewSet(nil)
	for ref, slot := range s.revoked {
		if entry := slot.entry.Load(); of(ref.issuer) {
			out.revoke(ref, entry.RevokedBy, entry.Reason)
		}
	}
	return out
}
