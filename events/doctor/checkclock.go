package doctor

import (
	"fmt"
	"time"
)

// What clocks may differ by. A verifier allows 30 s, unless told otherwise, for the times in tokens; of that most is left for the issuers'
// and clients' clocks.
const (
	warnSkew = 2 * time.Second
	failSkew = 10 * time.Second
)

// reading is the time of a server, read at some moment between asked and answered.
type reading struct {
	who             string
	asked, answered time.Time // by our clock
	time            time.Time // by its own
}

// ahead is the least and the most that the server's clock can be ahead of ours.
func (r reading) ahead() (least, most time.Duration) {
	return r.time.Sub(r.answered), r.time.Sub(r.asked)
}

// apart is the least by which two ranges of what clocks are ahead differ.
func apart(least, most, otherLeast, otherMost time.Duration) time.Duration {
	return max(least-otherMost, otherLeast-most, 0)
}

// readings are the times of all servers that told one: each leader of a bucket, and each that is monitored.
func (f *facts) readings() []reading {
	var list []reading
	seen := map[string]bool{}
	add := func(who string, asked, answered, at time.Time) {
		if !seen[who] && !at.IsZero() {
			seen[who] = true
			list = append(list, reading{who, asked, answered, at})
		}
	}
	for _, m := range f.monitors {
		if m.err == nil {
			add(m.name, m.asked, m.answered, m.now)
		}
	}
	for _, b := range f.read() {
		who := short(b.Leader)
		if who == "" && len(f.nodes) > 0 {
			who = f.nodes[0].label()
		}
		add(who, b.asked, b.answered, b.Time)
	}
	return list
}

// checkClocks compares the clocks of the servers with that of this machine, and with each other.
func checkClocks(f *facts) (found []Finding) {
	list := f.readings()
	seen := map[string]bool{}
	for i, r := range list {
		seen[r.who] = true
		least, most := r.ahead()
		found = append(found, clock(apart(least, most, 0, 0), fmt.Sprintf("%s and this machine", r.who), most > 0))
		for _, other := range list[:i] {
			otherLeast, otherMost := other.ahead()
			if d := apart(least, most, otherLeast, otherMost); d >= warnSkew {
				found = append(found, clock(d, fmt.Sprintf("%s and %s", r.who, other.who), least > otherLeast))
			}
		}
	}
	for _, n := range f.nodes {
		if n.Name != "" && !seen[n.Name] && !seen[n.label()] {
			found = append(found, unknown("clock", "that of "+n.label()+" is unknown", "give its monitoring URL with --monitor"))
		}
	}
	return found
}

// clock judges by how much two clocks differ, at least.
func clock(d time.Duration, who string, firstAhead bool) Finding {
	if d < warnSkew {
		return ok("clock", "those of %s agree", who)
	}
	which := "the first is behind"
	if firstAhead {
		which = "the first is ahead"
	}
	finding := warn("clock", fmt.Sprintf("those of %s differ by %s or more: %s", who, d.Round(100*time.Millisecond), which),
		"less than "+warnSkew.String(), "run NTP on both: tokens and leases are judged by these clocks")
	if d >= failSkew {
		finding.Level = Fail
	}
	return finding
}
