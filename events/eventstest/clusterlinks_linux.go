package eventstest

// Partition cuts every connection between nodes that are not on the same side. Nodes that are on no side are alone.
func (c *Cluster) Partition(sides ...[]int) {
	side := map[int]int{}
	for s, nodes := range sides {
		for _, n := range nodes {
			side[n] = s + 1
		}
	}
	for i := range c.Nodes {
		for j := range i {
			if side[i] == 0 || side[i] != side[j] {
				c.Cut(i, j)
			}
		}
	}
}

// Cut cuts the link between two nodes.
func (c *Cluster) Cut(i, j int) {
	c.links[i][j].Cut()
	c.links[j][i].Cut()
}

// Lose throws away what one node says to another; what the other says arrives.
func (c *Cluster) Lose(from, to int) {
	c.links[from][to].Deafen()
	c.links[to][from].Mute()
}

// Mend lets everything pass again between all nodes.
func (c *Cluster) Mend() {
	for _, links := range c.links {
		for _, l := range links {
			if l != nil {
				l.Mend()
			}
		}
	}
}
