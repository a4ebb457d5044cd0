package verifier

import (
	"sync/atomic"
	"unsafe"
)

// Stats is what a verifier has done since it was made, and what it holds now.
type Stats struct {
	Accepted  uint64            // tokens accepted, of which
	CacheHits uint64            // so many by the cache: no signature was checked
	Refused   map[Reason]uint64 // tokens refused or undecided, by each of [Reasons]

	CachedTokens int   // tokens in the cache, of which some may have expired
	CacheMemory  int64 // bytes that they take

	KeyTables      int    // keys that have a precomputed table
	KeyTableMemory int64  // bytes that the tables take
	TableBuilds    uint64 // tables made so far

	Issuers     int // issuers in the set
	Keys        int // keys in the set, those that are only known to be revoked included
	Revocations int // tokens revoked and not yet forgotten

	Status
}

// Stats tells what the verifier has done and holds. The figures are read one after the other, while others verify.
func (v *Verifier) Stats() Stats {
	s := Stats{Refused: map[Reason]uint64{}, Status: v.Status()}
	for i := range v.counts.shards {
		shard := &v.counts.shards[i]
		hits := shard.recalled.Load()
		s.CacheHits += hits
		s.Accepted += hits + shard.judged.Load()
	}
	for i, reason := range reasons {
		s.Refused[reason] = v.counts.byReason[i].Load()
	}
	if v.cache != nil {
		s.CachedTokens, s.CacheMemory = int(v.cache.tokens.Load()), v.cache.taken.Load()
	}
	s.KeyTables, s.KeyTableMemory, s.TableBuilds = v.tables.Stats()
	s.Issuers, s.Keys = v.feed.Keys().Len()
	s.Revocations = v.feed.Revocations().Len()
	return s
}

// counters of what was decided. Those of accepted tokens are spread over cache lines, so that cores which count at the same time seldom
// write to the same one.
type counters struct {
	shards   [64]shard
	byReason [len(reasons)]atomic.Uint64
}

type shard struct {
	judged   atomic.Uint64
	recalled atomic.Uint64
	_        [112]byte // the rest of two cache lines, which some processors fetch together
}

// shard is one for the goroutine that asks, told from others by where its stack is: whichever it is, the count is right.
func (c *counters) shard() *shard {
	var here byte
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio
	return &c.shards[uint64(uintptr(unsafe.Pointer(&here)))>>10*odd>>58]
}

func (c *counters) accepted() { c.shard().judged.Add(1) }
func (c *counters) recalled() { c.shard().recalled.Add(1) }

// refused counts err, which is an [*Error], and returns it.
func (c *counters) refused(err error) error {
	reason := err.(*Error).Reason
	for i := range reasons {
		if reasons[i] == reason {
			c.byReason[i].Add(1)
			break
		}
	}
	return err
}
