package verifier

import "sync/atomic"

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

// counters of what was decided. Those of accepted tokens are spread by the hash of the token, so that cores which count at the same time
// seldom write to one cache line. (Without a cache there is no hash, and what there is to do takes so long that it does not matter.)
type counters struct {
	shards [16]struct {
		judged   atomic.Uint64
		recalled atomic.Uint64
		_        [48]byte // the rest of a cache line
	}
	byReason [len(reasons)]atomic.Uint64
}

func (c *counters) accepted(hash uint64) { c.shards[hash%uint64(len(c.shards))].judged.Add(1) }
func (c *counters) recalled(hash uint64) { c.shards[hash%uint64(len(c.shards))].recalled.Add(1) }

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
