package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

// checkConsumers looks at how many followers a bucket has, of those that it may have.
func checkConsumers(f *facts) (found []Finding) {
	for _, b := range f.read() {
		most := bus.StreamConfig(b.Bucket, 1).MaxConsumers
		finding := ok("consumers", "%s has %d of %d", b.Bucket, b.Consumers, most)
		switch percent := 100 * b.Consumers / most; {
		case percent >= 90:
			finding.Level = Fail
		case percent >= 50:
			finding.Level = Warn
		}
		if finding.Level != OK {
			finding.Needed = "room for all verifiers to connect again"
			finding.ToDo = "look for consumers that nobody listens to, with nats consumer report " + b.Stream()
		}
		found = append(found, finding)
	}
	return found
}

const (
	// young is a consumer that somebody may be about to listen to.
	young = time.Minute
	// ending is how many consumers may be about to be removed, as those of a connection that was lost, before that is a sign of
	// a server which does not remove them.
	ending = 100
)

// checkOwners looks for consumers that nobody listens to. They count against the limit, and the servers go on working for them.
func checkOwners(f *facts) (found []Finding) {
	looked, leaving := 0, 0
	buckets := f.read()
	seen := map[string]bool{} // each consumer once, though several servers tell of it
	var idle []string
	for _, m := range f.monitors {
		switch {
		case m.err != nil || !m.jetStream:
			continue
		case m.listErr != nil:
			found = append(found, unknown("owners", m.url+": its consumers cannot be listed: "+m.listErr.Error(), "try again"))
			continue
		}
		looked++
		for _, c := range m.followers {
			name := string(c.bucket) + "." + c.name
			ours := slices.ContainsFunc(buckets, func(b *bucket) bool { return b.Bucket == c.bucket && b.Created.Equal(c.created) })
			switch {
			case !ours || seen[name] || m.now.Sub(c.since) < young: // of another account, or counted, or young
				continue
			case !c.durable && (c.bound || !c.push):
				continue
			case c.ends > 0 && c.ends <= young && !c.durable:
				leaving++
			default:
				idle = append(idle, name)
			}
			seen[name] = true
		}
	}
	if len(idle) > 0 {
		found = append(found, warn("owners",
			fmt.Sprintf("%d consumers belong to nobody: %s", len(idle), strings.Join(idle[:min(3, len(idle))], ", ")),
			"none: keyherald's end by themselves", "find out who made them; nats consumer rm removes one"))
	}
	if leaving > ending {
		found = append(found, warn("owners", fmt.Sprintf("nobody listens to %d consumers, which the server removes by itself", leaving),
			"few, and only for seconds", "look again in a minute; if they stay, start the servers again, one after the other"))
	}
	if looked > 0 && len(found) == 0 {
		found = append(found, ok("owners", "no consumer belongs to nobody"))
	}
	return found
}
