package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// checkPlatform looks whether there is a token service, and one that runs.
func checkPlatform(f *facts) []Finding {
	if f.records.set == nil {
		return nil // checkRecords tells why
	}
	platform := f.records.set.Platform()
	if platform == nil {
		return []Finding{warn("platform", "there is no record of it: no token service was ever started here",
			"one, for online tokens", "start keyherald serve with --registry-nkey or --registry-creds")}
	}
	now, live, ended := f.cfg.Now(), 0, time.Time{}
	for _, key := range f.records.set.Keys(events.Platform) {
		switch {
		case key.State(now).Usable():
			live++
		case key.Record != nil && time.Unix(key.Record.Expires, 0).After(ended):
			ended = time.Unix(key.Record.Expires, 0)
		}
	}
	if live > 0 {
		return []Finding{ok("platform", "%s, live signing keys: %d", platform.Record.Iss, live)}
	}
	since := "no signing key is left"
	if !ended.IsZero() {
		since = "the last signing key ended at " + ended.UTC().Format(time.RFC3339)
	}
	return []Finding{fail("platform", fmt.Sprintf("%s: %s: no token service runs, or none may write", platform.Record.Iss, since),
		"a live signing key", "start keyherald serve, or look at its log and /readyz")}
}

// checkRecords looks for records that nobody understands.
func checkRecords(f *facts) []Finding {
	if f.records.err != nil {
		return []Finding{fail("records", "KEYS and REVOCATIONS cannot be followed: "+f.records.err.Error(),
			"what every verifier does", "see what is said of the buckets")}
	}
	set := f.records.set
	issuers, keys := set.Len()
	found := []Finding{ok("records", "%d issuers and %d keys, complete up to revision %d", issuers, keys, set.Revision())}
	if n := len(f.records.rejected); n > 0 {
		first := f.records.rejected[0]
		found = append(found, warn("records",
			fmt.Sprintf("%d malformed, such as %s (revision %d, by %s): %s", n, short(first.Name), first.Revision, short(first.Caller), first.Reason),
			"none", "keyherald status lists them; write them again, as they were meant"))
	}
	for iss, names := range set.Ambiguous() {
		var claims []string
		for _, n := range names {
			claims = append(claims, n.String())
		}
		found = append(found, warn("records",
			fmt.Sprintf("%s is claimed by %s: none of them is trusted", short(iss), strings.Join(claims, ", ")),
			"one", "keyherald issuer disable all but one"))
	}
	return found
}

// stale is how old the last confirmation of a set that was just read may be. A feed confirms it every few seconds.
const stale = 10 * time.Second

// checkFreshness looks whether the set that was read is known to be complete.
func checkFreshness(f *facts) []Finding {
	if f.records.set == nil {
		return nil
	}
	if age := f.records.closed.Sub(f.records.confirmed); f.records.confirmed.IsZero() || age > stale {
		return []Finding{fail("freshness", fmt.Sprintf("what was read was last known to be complete %s ago", age.Round(time.Second)),
			"seconds", "look at the server's log, and at the network")}
	}
	return []Finding{ok("freshness", "what was read is known to be complete")}
}

// checkDelivery looks whether the servers deliver all that they say they have. One passes over what it cannot read, and does not say so: a
// revocation that is lost so is in force nowhere.
func checkDelivery(f *facts) (found []Finding) {
	if f.records.set == nil {
		return nil
	}
	feeds := f.records.feeds
	for _, b := range []struct {
		bus.Bucket
		bus.FeedStatus
	}{{bus.Keys, feeds.Keys}, {bus.Revocations, feeds.Revocations}} {
		switch {
		case b.Missing > 0:
			found = append(found, fail("delivery",
				fmt.Sprintf("%s: there are %d messages more than are delivered: the files of a server are damaged, and records are missing", b.Bucket, b.Missing),
				"all of them", "look which server's disk is at fault; in a cluster let the others give it its store anew (stop it, move its store away, start it); "+
					"without one, keyherald backup what is left, and keyherald restore a backup of before that"))
		case !b.Counted:
			found = append(found, unknown("delivery", fmt.Sprintf("whether all of %s is delivered: something was written while it was read", b.Bucket), "run doctor again"))
		default:
			found = append(found, ok("delivery", "all that is in %s is delivered", b.Bucket))
		}
	}
	return found
}
