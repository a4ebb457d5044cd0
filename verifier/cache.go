package verifier

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// cache remembers tokens that were accepted, within a budget of bytes. It may be used by any number of goroutines, who take no
// lock, neither to look up nor to add.
//
// It is a table of small buckets, a token's being chosen by a hash that nobody outside can foretell, and found by its whole text:
// nobody can make two tokens be one, nor pick the tokens that push another one out. Only what was verified is added. What is found is
// no more than a hint about the signature: see [accepted.isOf] and [accepted.holds].
//
// The well-kept caches (otter, ristretto) find without a lock as well, but lock to add and may make whoever adds do the
// work of evicting, or of a goroutine that has fallen behind; and their bookkeeping costs as much as all else that there is to do
// for a token that is found.
type cache struct {
	seed    maphash.Seed
	memory  int64 // budget
	taken   atomic.Int64
	tokens  atomic.Int64
	hand    atomic.Uint64            // the bucket to look at next for something to evict
	buckets atomic.Pointer[[]bucket] // made with the first token
}

const (
	// ways is how many tokens a bucket has: as many as fit into one cache line.
	ways = 5
	// bytesPerSlot is far less than a token takes: the budget ends before the slots do, and few buckets are ever full.
	bytesPerSlot = 400
	// evictFrom is of how many buckets the least recently used token is evicted: that of all would take too long to find.
	evictFrom = 6
	// evictTries is how many are evicted at most to make room for one token.
	evictTries = 32
)

// bucket has tokens and, so that few others are touched to find one, a part of the hash of each. The two may disagree for a moment, or for as
// long as both stay: then the token is not found.
type bucket struct {
	slots [ways]atomic.Pointer[accepted]
	tags  [ways]atomic.Uint32
	_     [4]byte
}

// newCache returns a cache that takes so many bytes, or nil if that is nothing to speak of.
func newCache(memory int64) *cache {
	if memory < int64(unsafe.Sizeof(bucket{})) {
		return nil
	}
	return &cache{seed: maphash.MakeSeed(), memory: memory}
}

func (c *cache) hash(token string) uint64 {
	if c == nil || len(token) > jws.MaxToken {
		return 0
	}
	return maphash.String(c.seed, token)
}

// bucketOf is the bucket for a hash. There are a power of two of them.
func bucketOf(buckets []bucket, hash uint64) *bucket { return &buckets[hash&uint64(len(buckets)-1)] }

func tagOf(hash uint64) uint32 { return uint32(hash>>32) | 1 } // zero is that of an empty slot

// find returns the token with this text, or nil.
func (c *cache) find(token string, hash uint64) *accepted {
	if c == nil {
		return nil
	}
	buckets := c.buckets.Load()
	if buckets == nil {
		return nil
	}
	b := bucketOf(*buckets, hash)
	tag := tagOf(hash)
	for i := range b.tags {
		if b.tags[i].Load() != tag {
			continue
		}
		if a := b.slots[i].Load(); a != nil && a.hash == hash && a.text == token {
			return a
		}
	}
	return nil
}

// add remembers a, in the place of the same token, of none, or of the least recently used one in its bucket.
func (c *cache) add(hash uint64, a *accepted, now time.Time) {
	if c == nil || a.until == 0 {
		return
	}
	a.hash = hash
	a.used.Store(now.Unix())
	buckets := c.table()
	if !c.reserve(buckets, a.size) {
		return
	}
	b := bucketOf(buckets, hash)
	at := b.place(a)
	old := b.slots[at].Swap(a)
	b.tags[at].Store(tagOf(hash))
	c.tokens.Add(1)
	c.forget(old)
}

// drop forgets a, if it is there still.
func (c *cache) drop(a *accepted) {
	b := bucketOf(c.table(), a.hash)
	for i := range b.slots {
		if b.slots[i].CompareAndSwap(a, nil) {
			c.forget(a)
		}
	}
}

// table returns the buckets, a power of two of them, which are a part of the budget.
func (c *cache) table() []bucket {
	buckets := c.buckets.Load()
	if buckets == nil {
		made := make([]bucket, 1<<bits.Len64(uint64(c.memory/(2*bytesPerSlot*ways))))
		if c.buckets.CompareAndSwap(nil, &made) {
			c.taken.Add(int64(len(made)) * int64(unsafe.Sizeof(bucket{})))
		}
		buckets = c.buckets.Load()
	}
	return *buckets
}

// place chooses a slot for a.
func (b *bucket) place(a *accepted) int {
	least, at := int64(1<<63-1), 0
	for i := range b.slots {
		other := b.slots[i].Load()
		if other != nil && other.hash == a.hash && other.text == a.text {
			return i
		}
		used := int64(-1)
		if other != nil {
			used = other.used.Load()
		}
		if used < least {
			least, at = used, i
		}
	}
	return at
}

// reserve takes size bytes of the budget, for which it may have to evict others. It never takes more than there is.
func (c *cache) reserve(buckets []bucket, size int64) bool {
	for range evictTries {
		taken := c.taken.Load()
		if taken+size > c.memory {
			c.evict(buckets)
		} else if c.taken.CompareAndSwap(taken, taken+size) {
			return true
		}
	}
	return false
}

// evict forgets the token that was used least recently in the next few buckets.
func (c *cache) evict(buckets []bucket) {
	var least *accepted
	var from *atomic.Pointer[accepted]
	first := c.hand.Add(evictFrom)
	for n := range uint64(evictFrom) {
		b := bucketOf(buckets, first+n)
		for i := range b.slots {
			if a := b.slots[i].Load(); a != nil && (least == nil || a.used.Load() < least.used.Load()) {
				least, from = a, &b.slots[i]
			}
		}
	}
	if least != nil && from.CompareAndSwap(least, nil) {
		c.forget(least)
	}
}

// forget gives back what a, which was taken out, had of the budget.
func (c *cache) forget(a *accepted) {
	if a != nil {
		c.taken.Add(-a.size)
		c.tokens.Add(-1)
	}
}

// recall finds a token that was accepted before and would be again. An error is that of a token whose caller does
// not confirm what it is bound to. Neither: the token has to be judged.
func (v *Verifier) recall(token string, hash uint64, set *events.Set, now time.Time, r *Request) (*Token, error) {
	a := v.cache.find(token, hash)
	if a == nil {
		return nil, nil
	}
	if !a.isOf(set) {
		v.cache.drop(a)
		return nil, nil
	}
	if !a.holds(v, now, r) {
		return nil, nil
	}
	if a.bound {
		if err := r.confirm(a.confirmation); err != nil {
			return nil, err
		}
	}
	if at := now.Unix(); a.used.Load() != at { // else every core would write to it all the time
		a.used.Store(at)
	}
	return &a.token, nil
}

// isOf reports whether set has the very records by which a was accepted: then nothing that they say has to be looked at again. If it has
// not, a will not be recalled any more.
func (a *accepted) isOf(set *events.Set) bool {
	// With the same platform, the iss of the platform and of a client lead where they have led: to whoever has the name now.
	if set.Platform() != a.platform || set.Issuer(a.client.Name) != a.client || set.Key(a.key.Issuer, a.key.KeyID) != a.key {
		return false
	}
	return a.client.Record.Type != events.TypeExternal || set.IssuerOf(a.token.Issuer) == a.issuer
}

// holds reports whether what else a was accepted for is so now, but for its confirmation.
func (a *accepted) holds(v *Verifier, now time.Time, r *Request) bool {
	if at := now.Unix(); at < a.from || at >= a.until || !a.key.State(now).Usable() {
		return false
	}
	if revocations := v.feed.Revocations(); revocations.Len() > 0 && revocations.Revoked(a.id) {
		return false
	}
	if r.Audience == v.cfg.Audience {
		return a.forUs || v.isForAccount(a.token.Audience, a.platform)
	}
	return slices.Contains(a.token.Audience, r.Audience) || v.isForAccount(a.token.Audience, a.platform)
}
