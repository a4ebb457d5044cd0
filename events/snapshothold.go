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

// holding is a set as it was at one moment. What came while it was held may be there twice.
type holding struct {
	revision uint64
	issuers  []held[IssuerEntry]
	keys     []held[KeyEntry]
	rejected []Rejected
}

// hold copies what s consists of. The writer of s waits for that: so the places are looked up before, which takes most of the time, and
// those that are new since are noted meanwhile.
func (s *Set) hold() holding {
	s.holds.Lock()
	defer s.holds.Unlock()
	return s.holdPlaces(s.places())
}

// places looks up what there is, while the writer goes on. From then on it notes what is new.
func (s *Set) places() ([]*issuerSlot, []*keySlot) {
	s.mu.Lock()
	s.walking = true
	s.mu.Unlock()
	issuers := slices.AppendSeq(make([]*issuerSlot, 0, s.issuers.len()), s.issuers.all())
	return issuers, slices.AppendSeq(make([]*keySlot, 0, s.keys.len()), s.keys.all())
}

// holdPlaces copies what is in the places, and in those that are new.
func (s *Set) holdPlaces(issuers []*issuerSlot, keys []*keySlot) holding {
	const news = 64 // without another allocation
	h := holding{issuers: make([]held[IssuerEntry], 0, len(issuers)+news), keys: make([]held[KeyEntry], 0, len(keys)+news)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slots := range [][]*issuerSlot{issuers, s.newIssuers} {
		for _, slot := range slots {
			if e := slot.entry.Load(); e != nil {
				h.issuers = append(h.issuers, held[IssuerEntry]{e, slot.malformed})
			}
		}
	}
	for _, slots := range [][]*keySlot{keys, s.newKeys} {
		for _, slot := range slots {
			if e := slot.entry.Load(); e != nil {
				h.keys = append(h.keys, held[KeyEntry]{e, slot.malformed})
			}
		}
	}
	s.walking, s.newIssuers, s.newKeys = false, nil, nil
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
