package eventstest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	links [3][3]*Proxy        // links[i][j] carries what i dials to j; nil where there is none
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
func (n *Node) Store() string {
	if n.route == "" {
		return filepath.Join(n.dir, "nats", "store")
	}
	return filepath.Join(n.dir, "store")
}

// Dir is where its store is, and everything else that it keeps.
func (n *Node) Dir() string { return n.dir }

// Save copies all that it keeps, and returns a function that puts the copy in its place. It must not run, either time.
func (n *Node) Save(t testing.TB) (putBack func()) {
	t.Helper()
	saved := filepath.Join(t.TempDir(), "saved")
	replace := func(to, from string) {
		t.Helper()
		err := os.RemoveAll(to)
		if err == nil {
			err = exec.CommandContext(t.Context(), "cp", "-a", from, to).Run() // with all modes
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(saved, n.dir)
	return func() {
		t.Helper()
		replace(n.dir, saved)
	}
}

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
		n := &Node{Name: fmt.Sprint("n", i), dir: t.TempDir(), address: FreeAddress(t), route: FreeAddress(t)}
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
	t.Cleanup(c.printLogs)
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

// StartServe starts keyherald serve, which is a server and a token service in one process, on a data directory and with an issuer, as a
// cluster of one node.
func StartServe(t testing.TB, dir, issuer string) *Cluster {
	t.Helper()
	n := &Node{Name: "serve", dir: dir, address: FreeAddress(t)}
	n.Process = NewProcess(t, buildKeyherald(t), "serve", "--data", n.dir, "--http", "127.0.0.1:0", "--nats-listen", n.address, "--issuer", issuer)
	c := &Cluster{t: t, Nodes: []*Node{n}, keys: map[bus.Role]string{}}
	for _, role := range bus.Roles() {
		c.keys[role] = filepath.Join(n.dir, "nats", string(role)+".nk")
	}
	t.Cleanup(c.printLogs)
	c.WaitReady()
	return c
}

func buildKeyherald(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "keyherald")
	goOutput(t, "build", "-o", binary, "github.com/keyherald/keyherald/cmd/keyherald")
	return binary
}

// StartIssuer starts a node of the token service that knows the given servers of the cluster, and stops answering when its records are older than
// maxStaleness. It returns the URL at which it says whether it is ready.
func (c *Cluster) StartIssuer(url string, maxStaleness time.Duration, issuer string) (ready string) {
	c.t.Helper()
	address := FreeAddress(c.t)
	p := NewProcess(c.t, buildKeyherald(c.t), "serve", "--data", filepath.Join(c.t.TempDir(), "data"), "--http", address, "--issuer", issuer,
		"--nats", url, "--nkey", c.KeyFile(bus.Issuer), "--registry-nkey", c.KeyFile(bus.Operator), "--max-staleness", maxStaleness.String())
	p.Start()
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("the issuer at %s: %s", url, p.Log.String())
		}
	})
	return "http://" + address + "/readyz"
}

// nodeConfig is a node's configuration. The address that a node tells the others is nobody's, so that they know it only by the routes that
// they are given, which can be cut. A route that is silent is found out sooner than by default: a network that throws
// everything away does not close it.
const nodeConfig = `server_name: %s
listen: %q
cluster { name: keyherald, listen: %q, routes: [%s], advertise: "127.0.0.1:1", no_advertise: true, ping_interval: 2s, ping_max: 2 }
jetstream { store_dir: %q, sync_interval: always }
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
		if role == bus.Admin {
			may.Publish = append(may.Publish, stepDown+">")
		}
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

// For is the same cluster, for a part of the test.
func (c *Cluster) For(t testing.TB) *Cluster {
	t.Helper()
	c.Admin() // for all parts
	part := *c
	part.t = t
	return &part
}

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
		Eventually(c.t, "there is the admin's key", func() bool {
			_, err := os.Stat(c.KeyFile(bus.Admin))
			return err == nil
		})
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
	Eventually(c.t, "all replicas of all buckets have everything", c.Ready)
}

// Ready reports whether every bucket has a leader and three replicas that have everything.
func (c *Cluster) Ready() bool {
	return !slices.ContainsFunc(bus.Buckets(), func(b bus.Bucket) bool { return !c.complete(b) })
}

func (c *Cluster) complete(b bus.Bucket) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
	defer cancel()
	stream, err := c.Admin().JetStream().Stream(ctx, b.Stream())
	if err != nil {
		return false
	}
	cluster := stream.CachedInfo().Cluster
	if cluster == nil {
		return len(c.Nodes) == 1
	}
	current := 0
	for _, r := range cluster.Replicas {
		if r.Current && !r.Offline && r.Active > 0 {
			current++
		}
	}
	return cluster.Leader != "" && current == len(c.Nodes)-1
}

// Backup saves a bucket through JetStream's API, and returns a function that deletes the bucket and restores it from there.
func (c *Cluster) Backup(b bus.Bucket) (restore func()) {
	c.t.Helper()
	return backup(c.t, c.Admin().JetStream(), b)
}

// Recreate deletes the stream of a bucket and makes it again, empty.
func (c *Cluster) Recreate(b bus.Bucket) {
	c.t.Helper()
	recreate(c.t, c.Admin().JetStream(), b, len(c.Nodes))
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
		if stream.CachedInfo().Cluster == nil {
			return len(c.Nodes) == 1
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

// printLogs shows the end of what the nodes had to say, if the test has failed.
func (c *Cluster) printLogs() {
	const lines = 25
	for _, n := range c.Nodes {
		if text := strings.SplitAfter(n.Log.String(), "\n"); c.t.Failed() {
			text = slices.DeleteFunc(text, func(line string) bool { return strings.Contains(line, "Rout") }) // every cut makes dozens
			c.t.Logf("%s, the end of its log:\n%s", n.Name, strings.Join(text[max(0, len(text)-lines):], ""))
		}
	}
}

// End ends all nodes, before the test does.
func (c *Cluster) End() {
	for _, n := range c.Nodes {
		n.Kill()
	}
}
