package issuer

import (
	"math/rand/v2"
	"time"

	"github.com/keyherald/keyherald/events"
)

// lease is what a node knows of the record of one of its keys. The goroutine of [Node.Run] owns it.
type lease struct {
	key  *signingKey
	made time.Time

	revision  uint64    // of the last record that is known to be ours; zero: none
	acked     time.Time // when it became known
	attempted int64     // exp of the last write, whose outcome may be unknown
	written   int64     // exp of the last write that is known to have taken place
	longest   int64     // latest exp ever written: for so long the bucket may have a record that says so
	applied   int64     // exp of the record in the node's own set
	appeared  time.Time // since when the record is seen there without a lapse; zero: not yet

	failures int       // writes that failed, in a row
	next     time.Time // when the record may be written again, at the earliest
	retiring bool      // the key signs no more; the lease is to be shortened
}

// observe looks for the record in the node's own set. It returns why the key cannot be used any more, or "".
func (l *lease) observe(set *events.Set, confirmed, now time.Time) (lost string) {
	entry := set.Key(events.Platform, l.key.kid)
	switch {
	case entry != nil && entry.State(now) == events.KeyRevoked:
		return "it was revoked"
	case entry == nil || entry.Record == nil:
		return l.missing(set, confirmed)
	case !l.key.isOf(entry.Record):
		return "its record was replaced by another key's"
	}
	if entry.Revision > l.revision {
		if entry.Record.Expires != l.attempted {
			return "its record was overwritten"
		}
		l.adopt(entry.Revision, now) // our own write, whose answer got lost
	}
	l.apply(entry.Record, now)
	return ""
}

// apply notes the record that the node's own set has.
func (l *lease) apply(record *events.Key, now time.Time) {
	if l.appeared.IsZero() || l.lapsed(now) {
		l.appeared = now
	}
	l.applied, l.longest = record.Expires, max(l.longest, record.Expires)
}

// lapsed reports whether the lease, as it was last seen, has come to its end. A renewal that comes then is as good as a new key:
// verifiers have to see it before the first token.
func (l *lease) lapsed(now time.Time) bool {
	return l.applied != 0 && now.Unix() >= l.applied-lapseMargin
}

// missing tells a record that is gone from one that is on its way.
func (l *lease) missing(set *events.Set, confirmed time.Time) (lost string) {
	switch {
	case !l.appeared.IsZero(), l.revision != 0 && set.Revision() >= l.revision:
		return "its record was removed"
	case l.revision != 0 && confirmed.After(l.acked.Add(lostAfter)):
		return "its record did not arrive: the bucket was changed or restored"
	}
	return ""
}

// adopt notes that the last write has taken place.
func (l *lease) adopt(revision uint64, now time.Time) {
	l.revision, l.acked, l.written, l.failures = revision, now, l.attempted, 0
	l.next = now.Add(unseenRetry)
}

// failed notes that a write failed, and when to try again.
func (l *lease) failed(now time.Time) {
	l.next = now.Add(backoff(l.failures))
	l.failures++
}

// settled reports whether the key has been known for long enough to be used.
func (l *lease) settled(now time.Time) bool {
	return !l.retiring && !l.appeared.IsZero() && now.Sub(l.appeared) >= settleTime
}

// due reports whether the lease has to be written, and with which exp.
func (l *lease) due(now time.Time) (exp int64, due bool) {
	if now.Before(l.next) {
		return 0, false
	}
	if l.retiring {
		return l.end(now), true
	}
	exp = now.Add(leaseLife).Unix()
	return exp, time.Duration(exp-l.applied)*time.Second >= renewEvery
}

// end is when the lease of a retired key may end: with its last token, or at once.
func (l *lease) end(now time.Time) int64 {
	end := now.Unix()
	if last := l.key.retire(); last != 0 {
		end = max(end, last+leaseMargin)
	}
	return end
}

// over reports whether there is nothing left to do for a retired key: its lease ends no later than it has to. A lease is
// never made longer for this.
func (l *lease) over(now time.Time) bool {
	return l.retiring && l.written <= l.end(now)
}

// record returns the record with the given exp, and how long the bucket must keep it. That is not until exp, but as
// long as any record before it is kept: or else the one before would be the last one again, and say that the key is good.
func (l *lease) record(exp int64, now time.Time) (value []byte, ttl time.Duration, err error) {
	key := events.Key{Algorithm: events.EdDSA, Public: l.key.public, IssuedAt: l.made.Unix(), Expires: exp}
	if value, err = key.Encode(l.key.kid); err != nil {
		return nil, 0, err
	}
	l.attempted, l.longest = exp, max(l.longest, exp)
	return value, time.Unix(l.longest, 0).Add(events.LeaseKeep).Sub(now), nil
}

// backoff is how long to wait after a number of failures: it doubles, with jitter, so that nodes which failed together
// do not come back together.
func backoff(failures int) time.Duration {
	wait := min(retryFirst<<min(failures, 10), retryMost)
	return wait/2 + rand.N(wait/2+1)
}
