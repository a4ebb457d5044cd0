package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestF_ALeaderIsAsOldAsWhatItHeardOfAMajority(t *testing.T) {
	cluster := func(heard ...time.Duration) *jetstream.ClusterInfo {
		c := &jetstream.ClusterInfo{Leader: "a"}
		for i, age := range heard {
			c.Replicas = append(c.Replicas, &jetstream.PeerInfo{Name: string(rune('b' + i)), Active: age})
		}
		return c
	}
	change := func(c *jetstream.ClusterInfo, change func(*jetstream.ClusterInfo)) *jetstream.ClusterInfo {
		change(c)
		return c
	}
	const never = 0
	for name, test := range map[string]struct {
		cluster *jetstream.ClusterInfo
		age     time.Duration
		leads   bool
	}{
		"no cluster":                             {nil, 0, true},
		"a cluster, and one copy":                {cluster(), 0, true},
		"one copy, and nobody leads":             {change(cluster(), func(c *jetstream.ClusterInfo) { c.Leader = "" }), 0, false},
		"of three both others, the later":        {cluster(3*time.Second, time.Second), time.Second, true},
		"of three one other":                     {cluster(never, 2*time.Second), 2 * time.Second, true},
		"of three nobody":                        {cluster(never, never), 0, false},
		"of five all, the second":                {cluster(4*time.Second, time.Second, 3*time.Second, 2*time.Second), 2 * time.Second, true},
		"of five two others, the earlier":        {cluster(never, time.Second, never, 5*time.Second), 5 * time.Second, true},
		"of five one other, which is too few":    {cluster(never, time.Second, never, never), 0, false},
		"of two the other":                       {cluster(time.Second), time.Second, true},
		"of two nobody":                          {cluster(never), 0, false},
		"heard of all long ago":                  {cluster(time.Hour, 2*time.Hour), time.Hour, true},
		"there is no leader":                     {change(cluster(1, 1), func(c *jetstream.ClusterInfo) { c.Leader = "" }), 0, false},
		"one that answers for another leads not": {change(cluster(1, 1), func(c *jetstream.ClusterInfo) { c.Leader = "c" }), 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if age, leads := leaderAge(test.cluster); age != test.age || leads != test.leads {
				t.Errorf("age %s, leads %t; want %s, %t", age, leads, test.age, test.leads)
			}
		})
	}
}
