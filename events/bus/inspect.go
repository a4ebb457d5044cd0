package bus

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"
)

// Inspection is what the servers say of a bucket.
type Inspection struct {
	Drifts    []Drift   // but for the number of replicas
	Created   time.Time // of the stream: another one of the same name has another
	Replicas  int       // as configured
	Leader    string    // name of the server that answers for the bucket; empty: there is none, or no cluster
	Followers []Member  // the other servers that keep it
	Clustered bool
	Consumers int
	Time      time.Time // when the leader, or the only server, answered, by its clock
}

// Member is one of the servers that keep a bucket.
type Member struct {
	Name    string
	Current bool   // has all, or is about to
	Offline bool   // has not been seen for a while
	Lag     uint64 // how many operations it is behind
}

// Inspect reads a bucket's settings and state. Errors are as of [Conn.SetUp]; [ErrNoBucket] says that it does not exist.
func (c *Conn) Inspect(ctx context.Context, b Bucket) (Inspection, error) {
	stream, err := c.lookUp(ctx, b)
	if err != nil {
		return Inspection{}, fmt.Errorf("look for bucket %s: %w", b, translate(err))
	}
	info := stream.CachedInfo()
	drifts, err := compare(b, 0, info.Config)
	if err != nil {
		return Inspection{}, fmt.Errorf("read the settings of bucket %s: %w", b, err)
	}
	i := Inspection{Drifts: drifts, Created: info.Created, Replicas: info.Config.Replicas, Consumers: info.State.Consumers, Time: info.TimeStamp}
	if info.Cluster != nil {
		i.Clustered, i.Leader = info.Cluster.Name != "", info.Cluster.Leader
		for _, p := range info.Cluster.Replicas {
			i.Followers = append(i.Followers, Member{p.Name, p.Current, p.Offline, p.Lag})
		}
	}
	return i, nil
}

// Node is a server, as a connection to it sees it.
type Node struct {
	ID, Name, Cluster, Version string
	Encrypted                  bool // the connection, by TLS
	Loopback                   bool // the connection does not leave this machine
}

// Node is the server that the connection is to now.
func (c *Conn) Node() Node {
	n := Node{ID: c.nc.ConnectedServerId(), Name: c.nc.ConnectedServerName(), Cluster: c.nc.ConnectedClusterName(), Version: c.ServerVersion()}
	_, err := c.nc.TLSConnectionState()
	n.Encrypted = !errors.Is(err, nats.ErrConnectionNotTLS)
	addr, err := netip.ParseAddrPort(c.nc.ConnectedAddr())
	n.Loopback = err == nil && addr.Addr().Unmap().IsLoopback()
	return n
}

// Servers are the URLs of all servers that the connection knows of: those that it was given, and those that they told of. There are no
// credentials in them.
func (c *Conn) Servers() (given, discovered []string) {
	discovered = c.nc.DiscoveredServers()
	told := map[string]bool{}
	for _, url := range discovered {
		told[url] = true
	}
	for _, url := range c.nc.Servers() {
		if !told[url] {
			given = append(given, url)
		}
	}
	return given, discovered
}
