package doctor

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// facts is all that the checks look at.
type facts struct {
	cfg      Config
	conn     *bus.Conn
	nodes    []*node
	buckets  []*bucket // of bus.Buckets, in their order
	monitors []*monitor
	records  records
}

// node is one server: as a connection to it sees it, as its monitoring URL does, or as others call it.
type node struct {
	bus.Node
	url       string // empty: no connection was made
	given     bool   // by the command line, not told by another server
	err       error  // why there is no connection
	monitor   *monitor
	anonymous error // what comes of connecting without a credential, and of asking for KEYS then
	roles     []roleTried
}

// label is what a node is called.
func (n *node) label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.url
}

// bucket is what the servers say of one.
type bucket struct {
	bus.Bucket
	bus.Inspection
	err             error
	asked, answered time.Time // by our clock
}

// records is what is in the buckets.
type records struct {
	err       error
	set       *events.Set
	confirmed time.Time
	closed    time.Time // when reading ended; both by the clock that the feed uses
	rejected  []events.Rejected
	feeds     bus.KeySetStatus
}

// connect makes the connection that everything is asked on.
func connect(ctx context.Context, cfg Config) (*facts, func(), error) {
	conn, err := bus.Connect(ctx, cfg.NATS)
	if err != nil {
		return nil, nil, err
	}
	return &facts{cfg: cfg, conn: conn}, conn.Close, nil
}

func (f *facts) gather(ctx context.Context) {
	var reading sync.WaitGroup
	f.monitors = make([]*monitor, len(f.cfg.Monitors))
	for i, address := range f.cfg.Monitors {
		reading.Go(func() { f.monitors[i] = readMonitor(ctx, address, f.cfg.Now) })
	}
	f.buckets = make([]*bucket, len(bus.Buckets()))
	for i, b := range bus.Buckets() {
		reading.Go(func() { f.buckets[i] = f.readBucket(ctx, b) })
	}
	f.readNodes(ctx)
	reading.Wait()
	f.addMonitors()
	f.addMembers()
	f.readRecords(ctx)
	var trying sync.WaitGroup
	for _, n := range f.connected() {
		trying.Go(func() { n.anonymous = f.tryAnonymous(ctx, n) })
		trying.Go(func() { n.roles = f.tryRoles(ctx, n) })
	}
	trying.Wait()
}

// connected are the nodes that there is a connection to, and whose version says that what is tried on them does no harm.
func (f *facts) connected() []*node {
	return slices.DeleteFunc(slices.Clone(f.nodes), func(n *node) bool { return n.url == "" || n.err != nil || bus.CheckVersion(n.Version) != nil })
}

// at is the configuration for a connection to one server. One that was told of by others, by its IP address, gets the user and password of
// those given, and must have a certificate for the name of those given.
func (f *facts) at(server string) bus.Config {
	cfg := f.cfg.NATS
	cfg.URL, cfg.OnlyURL = server, true
	first, _, _ := strings.Cut(f.cfg.NATS.URL, ",")
	known, err := url.Parse(first)
	u, parseErr := url.Parse(server)
	if err != nil || parseErr != nil {
		return cfg
	}
	if known.User != nil {
		u.User = known.User
		cfg.URL = u.String()
	}
	named := cfg.ServerName != "" || cfg.TLS != nil && cfg.TLS.ServerName != ""
	if !named && f.conn.Node().Encrypted && isAddress(u.Hostname()) && !isAddress(known.Hostname()) {
		cfg.ServerName = known.Hostname()
	}
	return cfg
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// readNodes connects to each server that is known, to all at once: an address that nobody answers at takes its time.
func (f *facts) readNodes(ctx context.Context) {
	given, discovered := f.conn.Servers()
	nodes := make([]*node, len(given)+len(discovered))
	var reading sync.WaitGroup
	for i, server := range append(given, discovered...) {
		reading.Go(func() {
			n := &node{url: server, given: i < len(given)}
			conn, err := bus.Connect(ctx, f.at(server))
			if n.err = err; err == nil {
				n.Node = conn.Node()
				n.Name, n.Version = short(n.Name), short(n.Version)
				conn.Close()
			}
			nodes[i] = n
		})
	}
	reading.Wait()
	for _, n := range nodes {
		if n.ID == "" || !slices.ContainsFunc(f.nodes, func(m *node) bool { return m.ID == n.ID }) { // else the same one by another address
			f.nodes = append(f.nodes, n)
		}
	}
}

func (f *facts) readBucket(ctx context.Context, name bus.Bucket) *bucket {
	b := &bucket{Bucket: name, asked: f.cfg.Now()}
	b.Inspection, b.err = f.conn.Inspect(ctx, name)
	b.answered = f.cfg.Now()
	return b
}

// addMonitors tells the nodes what their monitoring URLs say.
func (f *facts) addMonitors() {
	for _, m := range f.monitors {
		if m.err != nil {
			continue
		}
		i := slices.IndexFunc(f.nodes, func(n *node) bool { return n.ID == m.id })
		if i < 0 {
			i = len(f.nodes)
			f.nodes = append(f.nodes, &node{Node: bus.Node{ID: m.id, Name: m.name, Version: m.version}})
		}
		f.nodes[i].monitor = m
	}
}

// addMembers adds the servers that are known by nothing but their name: as those which keep a bucket.
func (f *facts) addMembers() {
	for _, b := range f.buckets {
		names := []string{b.Leader}
		for _, m := range b.Followers {
			names = append(names, m.Name)
		}
		for _, name := range names {
			if b.Clustered && name != "" && !slices.ContainsFunc(f.nodes, func(n *node) bool { return n.Name == name }) {
				f.nodes = append(f.nodes, &node{Node: bus.Node{Name: short(name)}})
			}
		}
	}
}

// servers is how many servers there are, as far as anybody tells.
func (f *facts) servers() int {
	size, identified, connected, down := 0, 0, 0, 0
	for _, n := range f.nodes {
		switch {
		case n.ID != "":
			connected++
			identified++
		case n.Name != "":
			identified++
		case n.given:
			down++
		}
		if n.monitor != nil {
			size = max(size, n.monitor.peers)
		}
	}
	return max(size, identified, connected+down)
}

// readRecords follows the buckets until they have been read.
func (f *facts) readRecords(ctx context.Context) {
	for _, b := range f.buckets {
		if (b.Bucket == bus.Keys || b.Bucket == bus.Revocations) && b.err != nil {
			f.records.err = b.err
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, recordsTimeout)
	defer cancel()
	for range mostReads {
		f.records = f.readOnce(ctx)
		if feeds := f.records.feeds; f.records.err != nil || feeds.Keys.Counted && feeds.Revocations.Counted {
			return
		}
	}
}

// readOnce reads the buckets once.
func (f *facts) readOnce(ctx context.Context) (r records) {
	keys := f.conn.FollowKeys(f.cfg.Logger)
	defer keys.Close()
	if r.err = keys.Wait(ctx); r.err != nil {
		return r
	}
	r.set, r.confirmed, r.closed = keys.Keys(), keys.Confirmed(), time.Now()
	r.rejected = r.set.Rejected()
	_ = keys.WaitCounted(ctx) // the status says what is not known
	r.feeds = keys.Status()
	return r
}

// mostReads is how often the buckets are read because something was written meanwhile.
const mostReads = 3

// recordsTimeout is how long reading KEYS and REVOCATIONS may take.
const recordsTimeout = 10 * time.Second

const (
	mostIssuers = 8 // whose names are tried: each is some twenty calls more
	mostKeys    = 2 // of each of them
)

// realNames are records that there are: those of the first issuers by name, and of how many there are.
func (r *records) realNames() (names []events.RecordName, tried, issuers int) {
	if r.set == nil {
		return nil, 0, 0
	}
	var all []events.Name
	for e := range r.set.Issuers() {
		all = append(all, e.Name)
	}
	slices.Sort(all)
	tried = min(len(all), mostIssuers)
	for _, issuer := range all[:tried] {
		names = append(names, events.IssuerRecord(issuer))
		for i, key := range r.set.Keys(issuer) {
			if i < mostKeys {
				names = append(names, events.KeyRecord(issuer, key.KeyID))
			}
		}
	}
	return names, tried, len(all)
}
