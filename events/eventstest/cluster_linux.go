package eventstest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
)

// Cluster is three unmodified nats-servers that keep the buckets together, as keyherald init makes them: each of them a process with a store
// of its own, syncing always. They talk to each other through networks that can be cut, one by one. There is a user for each role.
type Cluster struct {
	Nodes []*Node

	t     testing.TB
	keys  map[bus.Role]string // files with seeds
	links [3][3]*Proxy        // links[i][j] carries what i dials to j
	admin *bus.Conn           // on the first use
}

// Node is one server of a [Cluster].
type Node struct {
	*Process
	Name string

	dir, address, route string
}

// URL is where clients connect to. A client with one URL stays with its node: it is not told of others.
func (n *Node) URL() string { return "nats://" + n.address }

// Store is the directory in which it keeps everything.
func (n *Node) Store() string { return filepath.Join(n.dir, "store") }

// DeleteStore lets it forget everything. It must not run.
func (n *Node) DeleteStore(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(n.Store()); err != nil {
		t.Fatal(err)
	}
}

// StartCluster starts three nodes and makes the buckets.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, keys: map[bus.Role]string{}}
	users := c.users()
	server := goOutput(t, "tool", "-n", "nats-server")
	for i := range c.links {
		n := &Node{Name: fmt.Sprint("n", i), dir: t.TempDir(), address: freeAddress(t), route: freeAddress(t)}
		n.Process = NewProcess(t, server, "-c", filepath.Join(n.dir, "nats.conf"))
		c.Nodes = append(c.Nodes, n)
	}
	for i, n := range c.Nodes {
		var routes []string
		for j, to := range c.Nodes {
			if i != j {
				c.links[i][j] = NewProxy(t, to.route)
				routes = append(routes, c.links[i][j].URL())
			}
		}
		config := fmt.Sprintf(nodeConfig, n.Name, n.address, n.route, strings.Join(routes, ", "), n.Store(), users)
		if err := os.WriteFile(filepath.Join(n.dir, "nats.conf"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		n.Start()
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.printLogs()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	admin := c.Admin()
	Eventually(t, "the cluster has its buckets", func() bool {
		_, err := admin.SetUp(ctx, len(c.Nodes))
		return err == nil
	})
	c.WaitReady()
	return c
}

// nodeConfig is a node's configuration. The address that a node tells the others is nobody's, so that they know it only by the routes that
// they are given, which can be cut. A connection that is silent is found out sooner than by default: a network that throws
// everything away does not close it.
const nodeConfig = `server_name: %s
listen: %q
cluster { name: keyherald, listen: %q, routes: [%s], advertise: "127.0.0.1:1", no_advertise: true }
jetstream { store_dir: %q, sync_interval: always }
ping_interval: 2s
ping_max: 2
system_account: SYS
accounts {
  SYS {}
  KEYHERALD { jetstream: enabled, users: [
%s
  ] }
}
`

// users makes a credential for each role and returns their part of the configuration.
func (c *Cluster) users() string {
	c.t.Helper()
	var b strings.Builder
	for _, role := range bus.Roles() {
		pair, err := nkeys.CreateUser()
		if err != nil {
			c.t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			c.t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			c.t.Fatal(err)
		}
		c.keys[role] = filepath.Join(c.t.TempDir(), string(role)+".nk")
		if err := os.WriteFile(c.keys[role], seed, 0o600); err != nil {
			c.t.Fatal(err)
		}
		may := role.Permissions(bus.InboxPrefix(public))
		fmt.Fprintf(&b, "{ nkey: %s, permissions: { publish: { allow: [%s] }, subscribe: { allow: [%s] } } }\n",
			public, quoted(may.Publish), quoted(may.Subscribe))
	}
	return b.String()
}

func quoted(subjects []string) string {
	quoted := make([]string, len(subjects))
	for i, s := range subjects {
		quoted[i] = strconv.Quote(s)
	}
	return strings.Join(quoted, ", ")
}

// freeAddress is an address of loopback on which nobody listens now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// URL is that of all nodes, separated by commas.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		urls[i] = n.URL()
	}
	return strings.Join(urls, ",")
}

// KeyFile is the path of a role's nkey seed.
func (c *Cluster) KeyFile(r bus.Role) string { return c.keys[r] }

// Connect connects in a role to whichever node is there, until the test ends.
func (c *Cluster) Connect(r bus.Role) *bus.Conn { return c.ConnectAt(c.t, c.URL(), r) }

// ConnectAt connects in a role to some nodes, by their URLs or those of a [Proxy], until t ends.
func (c *Cluster) ConnectAt(t testing.TB, url string, r bus.Role) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Config{URL: url, SeedFile: c.KeyFile(r), Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// Admin is a connection in that role.
func (c *Cluster) Admin() *bus.Conn {
	c.t.Helper()
	if c.admin == nil {
		c.admin = c.Connect(bus.Admin)
	}
	return c.admin
}

// WaitReady starts what does not run, and waits until every bucket has a leader and three replicas that have everything.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	for _, n := range c.Nodes {
		n.Start()
	}
	for _, b := range bus.Buckets() {
		Eventually(c.t, "all replicas of "+string(b)+" have everything", func() bool { return c.complete(b) })
	}
}

func (c *Cluster) complete(b bus.Bucket) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	stream, err := c.Admin().JetStream().Stream(ctx, b.Stream())
	if err != nil {
		return false
	}
	cluster := stream.CachedInfo().Cluster
	current := 0
	for _, r := range cluster.Replicas {
		if r.Current && !r.Offline && r.Active > 0 {
			current++
		}
	}
	return cluster.Leader != "" && current == len(c.Nodes)-1
}

// LeaderOf is the index of the node that decides about a bucket. It waits until there is one.
func (c *Cluster) LeaderOf(b bus.Bucket) (leader int) {
	c.t.Helper()
	Eventually(c.t, string(b)+" has a leader", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
		defer cancel()
		stream, err := c.Admin().JetStream().Stream(ctx, b.Stream())
		if err != nil {
			return false
		}
		for i, n := range c.Nodes {
			if n.Name == stream.CachedInfo().Cluster.Leader {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

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
	for i, links := range c.links {
		for j, l := range links {
			if i != j {
				l.Mend()
			}
		}
	}
}

// printLogs shows the end of what the nodes had to say.
func (c *Cluster) printLogs() {
	const end = 4 << 10
	for _, n := range c.Nodes {
		text := n.Log.String()
		c.t.Logf("%s, the end of its log:\n%s", n.Name, text[max(0, len(text)-end):])
	}
}
