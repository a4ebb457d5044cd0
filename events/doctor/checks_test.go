package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// What cannot be brought about on loopback, or only slowly, the checks are told.

var (
	nine    = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	current = bus.Member{Name: "b", Current: true}
)

func one(name string, change func(*node)) *facts {
	n := &node{Node: bus.Node{ID: "ID" + name, Name: name, Version: "2.15.2", Encrypted: true}, url: "nats://" + name + ":4222"}
	if change != nil {
		change(n)
	}
	return &facts{nodes: []*node{n}}
}

func several(all ...*facts) *facts {
	f := &facts{}
	for _, x := range all {
		f.nodes = append(f.nodes, x.nodes...)
	}
	return f
}

func keys(b bus.Inspection) *facts {
	return &facts{buckets: []*bucket{{Bucket: bus.Keys, Inspection: b, asked: nine, answered: nine.Add(time.Second)}}}
}

func at(ahead time.Duration) *facts {
	return keys(bus.Inspection{Leader: "a", Time: nine.Add(ahead)})
}

func delivered(missing uint64, counted bool) *facts {
	return &facts{records: records{set: events.NewSet(nil), feeds: bus.KeySetStatus{
		Keys: bus.FeedStatus{Missing: missing, Counted: counted}, Revocations: bus.FeedStatus{Counted: true},
	}}}
}

func demand(replicas int, f *facts) *facts {
	f.cfg.Replicas = replicas
	return f
}

func of(monitors ...*monitor) *facts { return &facts{monitors: monitors} }

func consumers(m *monitor, n int, change func(*follower)) *facts {
	f := keys(bus.Inspection{Created: nine})
	for i := range n {
		c := follower{bucket: bus.Keys, created: nine, name: fmt.Sprint("kh_", i), since: nine, push: true, ends: 10 * time.Second}
		change(&c)
		m.followers = append(m.followers, c)
	}
	m.jetStream, m.now = true, nine.Add(time.Hour)
	f.monitors = []*monitor{m}
	return f
}

func TestN_ChecksJudgeWhatWasRead(t *testing.T) {
	for name, test := range map[string]struct {
		check func(*facts) []Finding
		facts *facts
		want  []string // level and words of each line
	}{
		"a connection over a network without TLS": {checkEncryption, one("a", func(n *node) { n.Encrypted = false }), []string{"FAIL a is used over a network without TLS"}},
		"a connection with TLS":                   {checkEncryption, one("a", nil), []string{"ok a: the connection is encrypted"}},
		"two versions":                            {checkVersions, several(one("a", nil), one("b", func(n *node) { n.Version = "2.15.1" })), []string{"warn 2.15.1 on b, 2.15.2 on a"}},
		"a version that is unknown":               {checkVersions, several(one("a", nil), one("b", func(n *node) { n.Version = "" })), []string{"warn that of b is unknown"}},
		"an address that cannot be reached from here, of one that was named": {checkNodes, several(one("a", nil), one("", func(n *node) { n.ID, n.err = "", errors.New("no route") })),
			[]string{"ok connected to a"}},
		"a server that cannot be reached from here": {checkNodes, several(one("a", func(n *node) { n.monitor = &monitor{peers: 3} }), one("", func(n *node) { n.ID, n.err = "", errors.New("no route") })),
			[]string{"ok connected to a", "warn others tell of"}},

		"a member that is behind": {checkMembers, keys(bus.Inspection{Clustered: true, Leader: "a", Replicas: 3, Followers: []bus.Member{current, {Name: "c", Lag: 7}}}), []string{"FAIL c is behind by 7 operations"}},
		"a member that is down":   {checkMembers, keys(bus.Inspection{Clustered: true, Leader: "a", Replicas: 3, Followers: []bus.Member{current, {Name: "c", Offline: true}}}), []string{"FAIL c is down"}},
		"a member that is gone":   {checkMembers, keys(bus.Inspection{Clustered: true, Leader: "a", Replicas: 3, Followers: []bus.Member{current}}), []string{"FAIL 2 servers keep it; needed: 3"}},
		"no leader":               {checkMembers, keys(bus.Inspection{Clustered: true, Replicas: 3, Followers: []bus.Member{current}}), []string{"FAIL it has no leader"}},
		"all members":             {checkMembers, keys(bus.Inspection{Clustered: true, Leader: "a", Replicas: 2, Followers: []bus.Member{current}}), []string{"ok KEYS is current on a (leader), b"}},

		"one copy, as far as is known of one server":             {checkReplicas, keys(bus.Inspection{Replicas: 1}), []string{"ok KEYS has 1"}},
		"one copy in a cluster of which others may not be known": {checkReplicas, keys(bus.Inspection{Clustered: true, Replicas: 1}), []string{"warn KEYS has 1 in a cluster of unknown size"}},
		"one copy in a cluster, as it must be":                   {checkReplicas, demand(1, keys(bus.Inspection{Clustered: true, Replicas: 1})), []string{"ok KEYS has 1"}},
		"one copy in a cluster of two that was counted": {checkReplicas, &facts{
			buckets: keys(bus.Inspection{Clustered: true, Replicas: 1}).buckets,
			nodes:   one("a", func(n *node) { n.monitor = &monitor{peers: 2} }).nodes,
		}, []string{"ok KEYS has 1"}},
		"three copies of which one server is known": {checkReplicas, keys(bus.Inspection{Clustered: true, Replicas: 3}), []string{"ok KEYS has 3"}},

		"few consumers":  {checkConsumers, keys(bus.Inspection{Consumers: 49_999}), []string{"ok KEYS has 49999 of 100000"}},
		"many consumers": {checkConsumers, keys(bus.Inspection{Consumers: 50_000}), []string{"warn KEYS has 50000 of 100000"}},
		"too many":       {checkConsumers, keys(bus.Inspection{Consumers: 90_000}), []string{"FAIL KEYS has 90000 of 100000"}},

		"consumers of verifiers":            {checkOwners, consumers(&monitor{}, 500, func(c *follower) { c.bound = true }), []string{"ok no consumer"}},
		"consumers of a connection lost":    {checkOwners, consumers(&monitor{}, ending, func(*follower) {}), []string{"ok no consumer"}},
		"consumers that should be gone":     {checkOwners, consumers(&monitor{}, ending+1, func(*follower) {}), []string{"warn nobody listens to 101 consumers"}},
		"a consumer that is just made":      {checkOwners, consumers(&monitor{}, 1, func(c *follower) { c.ends, c.since = 0, nine.Add(time.Hour) }), []string{"ok no consumer"}},
		"a consumer without an end":         {checkOwners, consumers(&monitor{}, 1, func(c *follower) { c.ends = 0 }), []string{"warn 1 consumers belong to nobody: KEYS.kh_0"}},
		"a consumer of another account":     {checkOwners, consumers(&monitor{}, 1, func(c *follower) { c.ends, c.created = 0, nine.Add(1) }), []string{"ok no consumer"}},
		"consumers that cannot be listed":   {checkOwners, consumers(&monitor{listErr: errors.New("too much")}, 0, nil), []string{"warn cannot be listed: too much"}},
		"no monitor tells of any consumers": {checkOwners, keys(bus.Inspection{}), nil},

		"a slow answer is no other clock":                {checkClocks, at(500 * time.Millisecond), []string{"ok those of a and this machine agree"}},
		"less than what may be":                          {checkClocks, at(warnSkew + time.Second - 1), []string{"ok those of a and this machine agree"}},
		"a little ahead":                                 {checkClocks, at(warnSkew + time.Second), []string{"warn a and this machine differ by 2s or more: the first is ahead"}},
		"a little behind":                                {checkClocks, at(-warnSkew), []string{"warn a and this machine differ by 2s or more: the first is behind"}},
		"too far ahead":                                  {checkClocks, at(failSkew + time.Second), []string{"FAIL a and this machine differ by 10s or more: the first is ahead"}},
		"too far behind":                                 {checkClocks, at(-failSkew), []string{"FAIL a and this machine differ by 10s or more: the first is behind"}},
		"the set was confirmed, and never since":         {checkFreshness, &facts{records: records{set: events.NewSet(nil), confirmed: nine, closed: nine.Add(time.Minute)}}, []string{"FAIL known to be complete 1m0s ago"}},
		"a server that does not deliver what it has":     {checkDelivery, delivered(2, true), []string{"FAIL KEYS: there are 2 messages more than are delivered", "ok all that is in REVOCATIONS"}},
		"a bucket that was written to while it was read": {checkDelivery, delivered(0, false), []string{"warn whether all of KEYS is delivered", "ok all that is in REVOCATIONS"}},
		"a server that delivers all":                     {checkDelivery, delivered(0, true), []string{"ok all that is in KEYS", "ok all that is in REVOCATIONS"}},
		"records that could not be read":                 {checkRecords, &facts{records: records{err: bus.ErrNoBucket}}, []string{"FAIL cannot be followed"}},
		"a credential that was not tried in time": {checkRoles, one("a", func(n *node) {
			n.roles = []roleTried{{Credential: Credential{Role: bus.Verifier}, err: context.DeadlineExceeded}}
		}), []string{"warn verifier", "warn not tried"}},
		"a bucket that does not answer": {checkSettings, &facts{buckets: []*bucket{{Bucket: bus.Keys, err: context.DeadlineExceeded}}}, []string{"FAIL KEYS: no server answers for it in time"}},
		"a server that cannot write": {checkHealth, of(&monitor{name: "a", jetStream: true, ill: "JetStream stream 'A > KV_KEYS' write error: no space left on device"}),
			[]string{"FAIL a: JetStream stream 'A > KV_KEYS' write error: no space left on device; needed: a server that is well; to do: see the server's log; make room on its disk"}},
		"a server that has stopped JetStream":              {checkHealth, of(&monitor{name: "a", jetStream: true, ill: "JetStream not enabled (10076)"}), []string{"FAIL a: JetStream not enabled (10076); needed: a server that is well; to do: see the server's log; make room"}},
		"it is not called one without JetStream":           {checkMonitors, of(&monitor{url: "u", name: "a", ill: "JetStream not enabled (10076)"}), []string{"ok u is a"}},
		"a server that is not well otherwise":              {checkHealth, of(&monitor{name: "a", jetStream: true, ill: "starting"}), []string{"FAIL a: starting; needed: a server that is well; to do: see the server's log"}},
		"a server of which it is not known how it is":      {checkHealth, of(&monitor{name: "a", jetStream: true, illErr: errors.New("status 404")}), []string{"warn that of a is unknown: status 404"}},
		"a server that is well":                            {checkHealth, of(&monitor{name: "a", jetStream: true}), []string{"ok a is well"}},
		"a monitor that cannot be used tells of no health": {checkHealth, of(&monitor{err: errors.New("no")}, &monitor{}), nil},
		"files with room":                                  {checkStorage, one("a", func(n *node) { n.monitor = &monitor{jetStream: true, room: 100 << 20, taken: 75<<20 - 1} }), []string{"ok a has 75.0 of 100.0 MiB"}},
		"files that will be full":                          {checkStorage, one("a", func(n *node) { n.monitor = &monitor{jetStream: true, room: 100 << 20, taken: 75 << 20} }), []string{"warn a has 75.0 of 100.0 MiB"}},
		"files that are full":                              {checkStorage, one("a", func(n *node) { n.monitor = &monitor{jetStream: true, room: 100 << 20, taken: 90 << 20} }), []string{"FAIL a has 90.0 of 100.0 MiB"}},
		"files without a limit":                            {checkStorage, one("a", func(n *node) { n.monitor = &monitor{jetStream: true, room: -1, taken: 90 << 20} }), nil},
		"a server that was not looked at": {checkSync, one("a", func(n *node) { n.monitor = &monitor{jetStream: true, syncAlways: true, peers: 3} }),
			[]string{"ok a writes", "warn 2 of 3 servers were not looked at"}},
		"what is known of one server is not known of two": {checkSync, &facts{cfg: Config{SyncAlways: true}, nodes: several(one("a", nil), one("b", nil)).nodes}, []string{"warn a is unknown", "warn b is unknown"}},
		"who may do everything": {checkRoles, one("a", func(n *node) {
			n.roles = []roleTried{{Credential: Credential{Role: bus.Verifier}, too: bus.Calls(nil)}}
		}),
			append(slices.Repeat([]string{"FAIL verifier"}, mostCalls), fmt.Sprintf("FAIL may do %d other things", len(bus.Calls(nil))-mostCalls), "warn not tried")},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			found := test.check(test.facts)
			for _, f := range found {
				lines = append(lines, f.String())
			}
			if len(found) != len(test.want) {
				t.Fatalf("found %d lines, want %d:\n%s", len(found), len(test.want), strings.Join(lines, "\n"))
			}
			for i, want := range test.want {
				level, words, _ := strings.Cut(want, " ")
				if string(found[i].Level) != level || !strings.Contains(lines[i], words) {
					t.Errorf("%s\nis not %s with %q", lines[i], level, words)
				}
				if found[i].Level != OK && (found[i].Needed == "" || found[i].ToDo == "") {
					t.Errorf("%s\nsays not what is needed, or what to do", lines[i])
				}
			}
		})
	}
}

func TestN_OfManyIssuersTheNamesOfAFewAreTried(t *testing.T) {
	set, revision := events.NewSet(nil), uint64(0)
	put := func(name events.RecordName, value string) {
		revision++
		set.Apply(events.Entry{Name: name.String(), Value: []byte(value), Revision: revision, Time: nine})
	}
	for i := range mostIssuers + 4 {
		issuer := events.Name(fmt.Sprintf("i%02d", i))
		put(events.IssuerRecord(issuer), `{"type":"client","status":"active"}`)
		for k := range mostKeys + 1 {
			put(events.KeyRecord(issuer, events.KeyID(fmt.Sprint("k", k))), fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":%d}`, nine.Add(time.Hour).Unix()))
		}
	}
	names, tried, issuers := (&records{set: set}).realNames()
	if len(names) != mostIssuers*(1+mostKeys) || tried != mostIssuers || issuers != mostIssuers+4 {
		t.Errorf("%d of %d: %v", tried, issuers, names)
	}
	for _, r := range names {
		if r.Issuer >= events.Name(fmt.Sprintf("i%02d", mostIssuers)) || r.KeyID != "" && set.Key(r.Issuer, r.KeyID) == nil {
			t.Errorf("%s is tried", r)
		}
	}
	if names, tried, issuers := new(records).realNames(); len(names) != 0 || tried != 0 || issuers != 0 {
		t.Errorf("%d of %d: %v", tried, issuers, names)
	}
}

func TestN_AWarningIsNoFailureAndWhatIsUnknownIsNotWell(t *testing.T) {
	for _, test := range []struct {
		finding         Finding
		failed, unknown bool
	}{
		{ok("sync", ""), false, false},
		{Finding{Level: Warn}, false, false},
		{unknown("sync", "", ""), false, true},
		{Finding{Level: Fail}, true, false},
	} {
		r := Report{Findings: []Finding{ok("sync", ""), test.finding}}
		if r.Failed() != test.failed || r.Unknown() != test.unknown || test.unknown && test.finding.Level == OK {
			t.Errorf("%s: failed %t, unknown %t", test.finding, r.Failed(), r.Unknown())
		}
	}
}
