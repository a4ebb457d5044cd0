package events

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"
)

// Revocations is the set of revoked tokens. It only grows by messages, whatever they say; a token is
// forgotten when its exp is past by more than [MaxLeeway], which no verifier tolerates any more, and never because of
// something that happens to the bucket. Lookups take no lock.
type Revocations struct {
	tokens   *table[TokenID, int64] // when to forget, Unix seconds
	revision atomic.Uint64
	emit     func(Change)

	mu       sync.Mutex // for Apply
	byExpiry expiryHeap // every token once
	oddNames int
}

// NewRevocations returns an empty set. With emit, every new revocation is told; see [NewSet].
func NewRevocations(emit func(Change)) *Revocations {
	return &Revocations{tokens: newTable[TokenID, int64](), emit: emit}
}

// Revision is the revision of the last message applied.
func (r *Revocations) Revision() uint64 { return r.revision.Load() }

// Len is how many tokens are revoked and not yet forgotten.
func (r *Revocations) Len() int { return r.tokens.len() }

// Revoked reports whether the token is revoked.
func (r *Revocations) Revoked(id TokenID) bool { return r.tokens.get(id) != nil }

// Malformed is how many messages had a name that is not a token's. Their number is all that is kept of them.
func (r *Revocations) Malformed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.oddNames
}

// Apply adds what the message revokes, and forgets what has ended by now. Any message on a token's name revokes it: put,
// marker or malformed alike. The order does not matter, and a message may come twice.
func (r *Revocations) Apply(e Entry, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	defer r.revision.Store(e.Revision)
	id, err := ParseTokenID(e.Name)
	if err != nil {
		r.oddNames++
		r.tell(e.change(RecordRejected, err.Error()))
		return
	}
	until, reason := keepUntil(e, now)
	if until > now.Unix() && r.keep(id, until) {
		r.tell(e.change(TokenRevoked, reason))
	}
}

// Keep adds what old has: what was seen revoked stays revoked, for as long as old would remember it. Nothing is told of it.
func (r *Revocations) Keep(old *Revocations) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old.mu.Lock()
	defer old.mu.Unlock()
	for _, e := range old.byExpiry {
		r.keep(e.id, *old.tokens.get(e.id))
	}
}

// keep revokes a token until then at least, and reports whether it was not revoked before.
func (r *Revocations) keep(id TokenID, until int64) bool {
	old := r.tokens.get(id)
	if old != nil && *old >= until {
		return false
	}
	r.tokens.put(id, &until)
	if old == nil {
		heap.Push(&r.byExpiry, expiring{id, until})
	}
	return old == nil
}

// keepUntil returns the moment, in Unix seconds, up to which what e revokes must be kept, and why it was revoked.
func keepUntil(e Entry, now time.Time) (until int64, reason string) {
	// No token lives longer than the bucket keeps a message. That time begins with the message or, as the server's clock may be
	// behind ours, now: a token is better remembered for too long than not at all.
	from := e.Time
	if from.Before(now) {
		from = now
	}
	longest := from.Add(RevocationsMaxAge).Unix() + 1 // rounded up
	if e.Deleted {
		return longest, "a marker: kept for the longest life of a token"
	}
	said, err := ParseTokenRevocation(e.Value)
	if err != nil {
		return longest, "malformed: kept for the longest life of a token"
	}
	return min(longest, said.Expires+int64(MaxLeeway/time.Second)), said.Reason
}

// forget drops what has ended.
func (r *Revocations) forget(now time.Time) {
	for len(r.byExpiry) > 0 && r.byExpiry[0].at < now.Unix() {
		first := &r.byExpiry[0]
		if until := *r.tokens.get(first.id); until > first.at { // it was revoked once more, for longer
			first.at = until
			heap.Fix(&r.byExpiry, 0)
			continue
		}
		r.tokens.delete(first.id)
		heap.Pop(&r.byExpiry)
	}
}

func (r *Revocations) tell(c Change) {
	if r.emit != nil {
		r.emit(c)
	}
}

// expiring is a token and the moment, in Unix seconds, after which to look whether it can be forgotten.
type expiring struct {
	id TokenID
	at int64
}

// expiryHeap has the token to look at next on top.
type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
