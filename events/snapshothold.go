package events

import (
	"maps"
	"slices"
)

// held is an entry of a set as it was at one moment. The entry itself does not change.
type held[E any] struct {
	entry     *E
	malformed uint8
}

// holding is a set as it was at one moment.
type holding struct {
	revision uint64
	issuers  []held[IssuerEntry]
	keys     []held[KeyEntry]
	rejected []Rejected
}

// hold copies what s consists of. The writer of s waits for it: what can be done later is not done here.
func (s *Set) hold() holding {
	const news = 64 // records that may come before the lock is there, without another allocation
	h := holding{
		issuers: make([]held[IssuerEntry], 0, int(s.known.Load())+news),
		keys:    make([]held[KeyEntry], 0, s.keys.len()+news),
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for slot := range s.issuers.all() {
		if e := slot.entry.Load(); e != nil {
			h.issuers = append(h.issuers, held[IssuerEntry]{e, slot.malformed})
		}
	}
	for slot := range s.keys.all() {
		h.keys = append(h.keys, held[KeyEntry]{slot.entry.Load(), slot.malformed})
	}
	h.rejected = slices.AppendSeq(make([]Rejected, 0, len(s.rejected)), maps.Values(s.rejected))
	h.revision = s.revision.Load()
	return h
}

// hold copies which tokens are revoked. The writer of r waits for it.
func (r *Revocations) hold() ([]expiring, uint64) {
	const news = 64
	held := make([]expiring, 0, r.Len()+news)
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(held, r.byExpiry...), r.revision.Load()
}
