package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events/bus"
)

// checkSettings compares the settings of the buckets' streams with what they must be. Such are: what lets a writer of one name erase others
// (rollup, purge, delete), a limit that would refuse a revocation, how many followers there may be, for how long messages stay.
func checkSettings(f *facts) (found []Finding) {
	for _, b := range f.buckets {
		switch {
		case errors.Is(b.err, bus.ErrPermission):
			found = append(found, unknown("bucket", string(b.Bucket)+": this credential may not look at it",
				"give an operator's credential with --nkey or --creds"))
		case errors.Is(b.err, bus.ErrNoJetStream):
			return []Finding{fail("bucket", b.err.Error(),
				"JetStream", "switch it on in the server's configuration, and for the account: jetstream { sync_interval: always }")}
		case errors.Is(b.err, bus.ErrNoBucket):
			found = append(found, fail("bucket", string(b.Bucket)+" does not exist",
				"all five", "find out who removed it, or make them with keyherald init"))
		case errors.Is(b.err, context.DeadlineExceeded):
			found = append(found, fail("bucket", string(b.Bucket)+": no server answers for it in time",
				"a leader", "start the servers that keep it: more than half of them are needed"))
		case b.err != nil:
			found = append(found, fail("bucket", fmt.Sprintf("%s: %v", b.Bucket, b.err),
				"an answer", "look whether enough servers are up, and at their logs"))
		case len(b.Drifts) == 0:
			found = append(found, ok("bucket", "%s is set up as it must be", b.Bucket))
		}
		for _, d := range b.Drifts {
			found = append(found, fail("bucket", fmt.Sprintf("%s: %s is %s", b.Bucket, d.Setting, d.Have),
				d.Want, "find out who changed it, then set it right with nats stream edit, or use another NATS account"))
		}
	}
	return found
}

// read are the buckets that could be looked at.
func (f *facts) read() []*bucket {
	return slices.DeleteFunc(slices.Clone(f.buckets), func(b *bucket) bool { return b.err != nil })
}

// checkReplicas looks at how many servers keep each bucket. How many servers a cluster has is known of those that the connection was told of, that
// keep a bucket, or that a monitoring URL counts: there may be more.
func checkReplicas(f *facts) (found []Finding) {
	need := f.cfg.Replicas
	if need == 0 && f.servers() >= 3 {
		need = 3
	}
	for _, b := range f.read() {
		switch {
		case b.Replicas < need:
			found = append(found, fail("replicas",
				fmt.Sprintf("%s is kept on %d of %d servers: with them it is lost", b.Bucket, b.Replicas, f.servers()),
				fmt.Sprint(need), fmt.Sprintf("nats stream edit %s --replicas %d, with an admin's credential", b.Stream(), need)))
		case need == 0 && b.Clustered && b.Replicas < 3 && !f.counted():
			found = append(found, unknown("replicas", fmt.Sprintf("%s has %d in a cluster of unknown size, in which %d servers are known", b.Bucket, b.Replicas, f.servers()),
				"name all servers in --nats, or a monitoring URL in --monitor, or say with --replicas how many it must have"))
		case f.cfg.Replicas > 0 && b.Replicas > need:
			found = append(found, fail("replicas", fmt.Sprintf("%s has %d", b.Bucket, b.Replicas),
				fmt.Sprint(need), "correct --replicas, or the stream"))
		default:
			found = append(found, ok("replicas", "%s has %d", b.Bucket, b.Replicas))
		}
	}
	return found
}

// counted reports whether a server has said how many there are.
func (f *facts) counted() bool {
	return slices.ContainsFunc(f.nodes, func(n *node) bool { return n.monitor != nil && n.monitor.peers > 0 })
}

// checkMembers looks whether each bucket has a leader, and all others that keep it have everything.
func checkMembers(f *facts) (found []Finding) {
	bad := func(b *bucket, what, need, toDo string) {
		found = append(found, fail("members", fmt.Sprintf("%s: %s", b.Bucket, what), need, toDo))
	}
	for _, b := range f.read() {
		if !b.Clustered {
			continue
		}
		before := len(found)
		if b.Leader == "" {
			bad(b, "it has no leader: nothing can be written", "a leader", "start the servers that keep it")
		}
		if n := len(b.Followers) + 1; b.Leader != "" && n < b.Replicas {
			bad(b, fmt.Sprintf("%d servers keep it", n), fmt.Sprint(b.Replicas), "look whether there are enough servers with JetStream and room")
		}
		names := []string{b.Leader + " (leader)"}
		for _, m := range b.Followers {
			switch {
			case m.Offline:
				bad(b, short(m.Name)+" is down", "all members up", "start it")
			case !m.Current:
				bad(b, fmt.Sprintf("%s is behind by %d operations, or was not heard of for a while", short(m.Name), m.Lag), "all members current",
					"wait and look again; if it stays, look at that server's log and disk")
			}
			names = append(names, short(m.Name))
		}
		if len(found) == before {
			found = append(found, ok("members", "%s is current on %s", b.Bucket, strings.Join(names, ", ")))
		}
	}
	return found
}

// checkStorage looks whether the servers' files may grow: a server that has taken all that it may refuses a revocation like any other write.
func checkStorage(f *facts) (found []Finding) {
	for _, n := range f.nodes {
		if n.monitor == nil || !n.monitor.jetStream || n.monitor.room <= 0 {
			continue
		}
		const mebi = 1 << 20
		has := fmt.Sprintf("%s has %.1f of %.1f MiB for its files", n.label(), float64(n.monitor.taken)/mebi, float64(n.monitor.room)/mebi)
		judge := fail
		switch share := float64(n.monitor.taken) / float64(n.monitor.room); {
		case share < 0.75:
			found = append(found, ok("storage", "%s", has))
			continue
		case share < 0.9:
			judge = warn
		}
		found = append(found, judge("storage", has+": when they are full, nobody can revoke anything",
			"a quarter of them to be free", "see what else takes them, or raise max_file_store in jetstream {} of its configuration (or make the disk larger, where it is not set)"))
	}
	return found
}

// checkSync looks whether each server has a write on its disk before it acknowledges it: else a power failure loses revocations that were
// acknowledged.
func checkSync(f *facts) (found []Finding) {
	looked := 0
	for _, n := range f.nodes {
		switch {
		case n.ID == "" && n.Name == "":
			continue // checkNodes has told of it
		case n.monitor != nil && n.monitor.syncAlways, n.monitor == nil && f.cfg.SyncAlways && len(f.nodes) == 1:
			found = append(found, ok("sync", "%s writes to the disk before it acknowledges", n.label()))
		case n.monitor != nil && n.monitor.jetStream:
			found = append(found, fail("sync",
				fmt.Sprintf("%s: sync_interval is %s: a power failure loses what was acknowledged", n.label(), n.monitor.sync),
				"always", "set jetstream { sync_interval: always } in its configuration, and start it again"))
		case n.monitor == nil:
			found = append(found, unknown("sync", "the sync_interval of "+n.label()+" is unknown", "give its monitoring URL with --monitor"))
		}
		looked++
	}
	if n := f.servers(); looked < n {
		found = append(found, unknown("sync", fmt.Sprintf("%d of %d servers were not looked at", n-looked, n),
			"give their monitoring URLs with --monitor"))
	}
	return found
}
