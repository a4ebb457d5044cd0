//go:build linux

package faults_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// onCluster tries something on three nodes, with each of the seeds: one for each of the first variants of it.
func onCluster(t *testing.T, seeds int, happen func(*trial)) {
	t.Helper()
	t.Parallel()
	forSeeds(t, eventstest.StartCluster(t), seeds, happen)
}

func TestF_ClusterNodesAreKilledMidWrite(t *testing.T) {
	onCluster(t, 3, (*trial).killed)
}

// killed kills a node, the leader, or all three, and starts them again.
func (tr *trial) killed() {
	victims := []*eventstest.Node{tr.Nodes[tr.random.IntN(len(tr.Nodes))]}
	switch tr.choose(3) {
	case 0:
		victims = []*eventstest.Node{tr.Nodes[tr.LeaderOf(bus.Keys)]}
	case 1:
		victims = tr.Nodes
	}
	for _, n := range victims {
		n.Kill()
	}
	tr.during(tr.between(time.Second, 8*time.Second))
	for _, n := range victims {
		n.Start()
	}
}

func TestF_ClusterLeaderOrTwoNodesArePaused(t *testing.T) {
	onCluster(t, 2, (*trial).paused)
}

// paused lets the leader do nothing for a while, or two nodes.
func (tr *trial) paused() {
	leader := tr.LeaderOf(bus.Keys)
	victims := []int{leader, (leader + 1 + tr.random.IntN(2)) % 3}[:1+tr.choose(2)]
	for _, v := range victims {
		tr.Nodes[v].Pause()
	}
	tr.during(tr.lasting(7*time.Second, 15*time.Second))
	for _, v := range victims {
		tr.Nodes[v].Resume()
	}
}

func TestF_ClusterIsPartitioned(t *testing.T) {
	onCluster(t, 3, (*trial).partitioned)
}

// partitioned puts the leader, or another node, on a side of its own, or cuts one link, or lets a node hear and not be heard.
func (tr *trial) partitioned() {
	leader := tr.LeaderOf(bus.Keys)
	a, b := (leader+1)%3, (leader+2)%3
	switch tr.choose(5) {
	case 1:
		tr.Partition([]int{a, b})
	case 2:
		tr.Lose(leader, a)
		tr.Lose(leader, b)
	case 3:
		tr.Partition([]int{leader, a})
	case 4:
		tr.Cut(leader, a)
	case 0:
		tr.Lose(a, leader)
		tr.Lose(b, leader)
	}
	tr.during(tr.lasting(9*time.Second, 20*time.Second))
	tr.Mend()
}

// TestF_ClusterNodesArePausedAndKilledInTurn is how nats-server lost acknowledged writes once (#7567), without syncing always.
func TestF_ClusterNodesArePausedAndKilledInTurn(t *testing.T) {
	onCluster(t, 1, (*trial).inTurn)
}

// inTurn pauses two nodes, kills the third, lets the two go on, pauses the others and so on.
func (tr *trial) inTurn() {
	a := tr.random.IntN(3)
	b, c := tr.Nodes[(a+1)%3], tr.Nodes[(a+2)%3]
	tr.Nodes[a].Pause()
	b.Pause()
	tr.during(tr.between(100*time.Millisecond, 2*time.Second))
	c.Kill()
	tr.Nodes[a].Resume()
	b.Resume()
	tr.during(tr.lasting(6*time.Second, 10*time.Second))
	c.Start()
	tr.during(tr.between(100*time.Millisecond, 3*time.Second))
	b.Pause()
	tr.Nodes[a].Pause()
	tr.during(tr.lasting(3*time.Second, 10*time.Second))
	tr.Nodes[a].Resume()
	b.Resume()
}

func TestF_ClusterNodeLosesItsStore(t *testing.T) {
	onCluster(t, 1, (*trial).storeDeleted)
}

func (tr *trial) storeDeleted() {
	n := tr.Nodes[tr.random.IntN(len(tr.Nodes))]
	n.Kill()
	tr.during(tr.between(0, 3*time.Second))
	n.DeleteStore(tr.t)
	n.Start()
	tr.during(tr.between(0, 3*time.Second))
}

func TestF_ClusterNodeHasADamagedStore(t *testing.T) {
	onCluster(t, 3, (*trial).damaged)
}

// damaged kills a node, flips a bit of a file of its store or cuts it off, and starts it again.
func (tr *trial) damaged() {
	n := tr.Nodes[tr.random.IntN(len(tr.Nodes))]
	if tr.random.IntN(2) == 0 {
		n = tr.Nodes[tr.LeaderOf(bus.Keys)]
	}
	n.Kill()
	how := n.FlipBit
	if tr.choose(2) == 0 {
		how = n.Truncate
	}
	kinds := []string{"*.blk", "*.db", "snap.*"}
	what := how(tr.t, kinds[tr.choose(len(kinds))], tr.random)
	before := len(n.Log.String())
	n.Start()
	tr.during(tr.between(time.Second, 3*time.Second))
	tr.t.Logf("damaged: %s", what)
	const enough = 20 // looks in a row: right after the start, the others think that it still has everything, of a quiet bucket for longer
	said := regexp.MustCompile(`\[(WRN|ERR)\].*(corrupt|checksum)`)
	for end, ready := time.Now().Add(eventstest.Patience), 0; ready < enough; tr.during(100 * time.Millisecond) {
		log := n.Log.String()[before:]
		if said.MatchString(log) {
			n.Kill()
			n.DeleteStore(tr.t) // what an operator does then: it gets everything from the others
			n.Start()
			return
		}
		if ready++; tr.Ready() {
			continue
		}
		ready = 0
		if time.Now().After(end) {
			tr.t.Fatalf("the node has not everything, and does not say that %s is damaged:\n%s", what, log)
		}
	}
}

func TestF_ClusterVerifiersAreCutOff(t *testing.T) {
	onCluster(t, 1, (*trial).cutOff)
}

// cutOff cuts each verifier off from its node, in one way or another, for about as long as its policy allows.
func (tr *trial) cutOff() {
	for i := range tr.Nodes {
		tr.clients[i].Cut()
	}
	tr.during(tr.lasting(time.Second, 3*time.Second))
	for i := range tr.Nodes {
		tr.clients[i].Mend()
		switch (int(tr.seed) + i) % 4 {
		case 0:
			tr.clients[i].Cut()
		case 1:
			tr.clients[i].Freeze()
		case 2:
			tr.clients[i].Mute()
		case 3:
			tr.clients[i].Deafen()
		}
	}
	tr.during(tr.lasting(maxStaleness+time.Second, 3*maxStaleness))
	for i := range tr.Nodes {
		tr.clients[i].Mend()
	}
}
