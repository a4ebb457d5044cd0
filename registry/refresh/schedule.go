package refresh

import (
	"math/rand/v2"
	"time"

	"github.com/keyherald/keyherald/events"
)

// limiter lets something happen burst times, and then once in every. The zero of free: nothing has happened for long.
type limiter struct {
	every time.Duration
	burst int
	free  time.Time // when all of the burst is there again
}

// earliest is when it may happen next.
func (l *limiter) earliest() time.Time { return l.free.Add(-l.every * time.Duration(l.burst-1)) }

// room is how often it may happen now.
func (l *limiter) room(now time.Time) int {
	used := max(l.free.Sub(now), 0)
	return max(l.burst-int((used+l.every-1)/l.every), 0)
}

// take notes that it happens n times.
func (l *limiter) take(now time.Time, n int) {
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(l.every * time.Duration(n))
}

// miss is a kid that somebody has reported, and that was not there.
type miss struct {
	until time.Time // when it is looked for again
	wait  time.Duration
}

// schedule is when one provider is asked, and why.
type schedule struct {
	next    time.Time // in any case
	forced  bool      // somebody asks for it
	wanted  map[events.KeyID]bool
	missing map[events.KeyID]miss
	limit   limiter // of what is not in turn
	failed  int     // times in a row
}

func newSchedule(now time.Time) schedule {
	return schedule{
		next: now, wanted: map[events.KeyID]bool{}, missing: map[events.KeyID]miss{}, limit: limiter{every: forcedEvery, burst: forcedBurst},
	}
}

// want notes that a kid was reported, and tells whether it will be looked for.
func (s *schedule) want(kid events.KeyID, now time.Time) bool {
	if m, ok := s.missing[kid]; ok && now.Before(m.until) {
		return false
	}
	if len(s.wanted) < maxWanted {
		s.wanted[kid] = true
	}
	return true
}

// due is when the provider is to be asked.
func (s *schedule) due() time.Time {
	if (s.forced || len(s.wanted) > 0) && s.limit.earliest().Before(s.next) {
		return s.limit.earliest()
	}
	return s.next
}

// begin notes that it is asked now, and returns the kids that are looked for. What is reported from now on may be newer than the answer.
func (s *schedule) begin(now time.Time) (asked map[events.KeyID]bool, outOfTurn bool) {
	if outOfTurn = now.Before(s.next); outOfTurn {
		s.limit.take(now, 1)
	}
	asked, s.wanted, s.forced = s.wanted, map[events.KeyID]bool{}, false
	return asked, outOfTurn
}

// succeeded notes which of the kids that were looked for are there, and when the answer gets old.
func (s *schedule) succeeded(now time.Time, asked map[events.KeyID]bool, found func(events.KeyID) bool, life time.Duration) {
	s.failed = 0
	s.next = now.Add(life - rand.N(life/10)) // so that nodes and providers do not fall into step
	for kid := range asked {
		if found(kid) {
			delete(s.missing, kid)
			continue
		}
		s.makeRoom(now)
		m := s.missing[kid]
		m.wait = min(max(2*m.wait, firstMiss), lastMiss)
		m.until = now.Add(m.wait)
		s.missing[kid] = m
	}
	for kid := range s.wanted { // reported meanwhile
		if found(kid) {
			delete(s.wanted, kid)
		}
	}
}

// makeRoom forgets kids that may be looked for again and, if there are none, all.
func (s *schedule) makeRoom(now time.Time) {
	if len(s.missing) < maxMisses {
		return
	}
	for kid, m := range s.missing {
		if !now.Before(m.until) {
			delete(s.missing, kid)
		}
	}
	if len(s.missing) >= maxMisses {
		clear(s.missing)
	}
}

// failure notes that it did not work, and when to try again. Kids that were looked for are forgotten: who still gets them reports them again.
func (s *schedule) failure(now time.Time) {
	wait := min(firstRetry<<min(s.failed, 10), lastRetry)
	s.next = now.Add(wait/2 + rand.N(wait/2+1))
	s.failed++
}
