package bus_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestMain lets many tests run at a time: those with a server wait more than they compute. It also lets the test binary be a server.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envFilledDir); dir != "" {
		if err := serveFilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	explicit := false
	flag.Visit(func(f *flag.Flag) { explicit = explicit || f.Name == "test.parallel" })
	if !explicit {
		if err := flag.Set("test.parallel", "12"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// node is one that has been connected all the time, on a server to which things happen.
type node struct {
	*eventstest.NATS
	t     *testing.T
	proxy *eventstest.Proxy // between the node and the server
	conn  *bus.Conn
	set   *bus.KeySet
}

// startNode starts a server with a few records, and a live node.
func startNode(t *testing.T, change ...func(*embedded.Config)) *node {
	t.Helper()
	t.Parallel()
	n := &node{NATS: eventstest.Server(t, change...), t: t}
	n.Write(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com","account":"acc-0123456789ab"}`)
	n.client("orders")
	n.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	n.connect()
	return n
}

func (n *node) connect() {
	n.t.Helper()
	n.proxy = eventstest.NewProxy(n.t, n.URL())
	n.conn = n.ConnectAt(n.proxy.URL(), bus.Verifier)
	n.set = n.conn.FollowKeys(zerolog.Nop())
	n.t.Cleanup(n.set.Close)
	if err := n.set.Wait(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) client(name string) uint64 {
	n.t.Helper()
	return n.Write(bus.Keys, "issuer."+name, `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read"}`)
}

// applied waits until the live node has applied a revision of KEYS.
func (n *node) applied(revision uint64) {
	n.t.Helper()
	eventstest.Eventually(n.t, fmt.Sprintf("revision %d is applied", revision), func() bool {
		return n.set.Status().Keys.Revision >= revision
	})
}

// agree waits until the live node is confirmed to be complete as of now, and compares it with a node that starts now. What
// the bucket has lost of revocations, only the live node has.
func (n *node) agree() {
	n.t.Helper()
	now := time.Now()
	fresh := n.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer fresh.Close()
	for who, set := range map[string]*bus.KeySet{"live": n.set, "fresh": fresh} {
		eventstest.Eventually(n.t, "the "+who+" node is confirmed", func() bool { return set.Confirmed().After(now) })
	}
	fresh.Keys().KeepRevocations(n.set.Keys())
	have, want := eventstest.Describe(n.t, n.set.Keys()), eventstest.Describe(n.t, fresh.Keys())
	if have != want {
		n.t.Fatalf("the live node has\n%s\na fresh one has\n%s", have, want)
	}
	if have, want := n.set.Status().Keys.Revision, fresh.Status().Keys.Revision; have != want {
		n.t.Fatalf("the live node is at revision %d, a fresh one at %d", have, want)
	}
}

// has checks which keys of a client the live node has, and in which state.
func (n *node) has(client events.Name, want map[events.KeyID]events.KeyState) {
	n.t.Helper()
	have := map[events.KeyID]events.KeyState{}
	for _, e := range n.set.Keys().Keys(client) {
		have[e.KeyID] = e.State(time.Now())
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		n.t.Errorf("keys of %s are %v, want %v", client, have, want)
	}
}
