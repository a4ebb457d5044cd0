package eventstest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// NATS is an embedded server on a free port of loopback, with a data directory of its own. It is stopped when the test ends.
type NATS struct {
	t      testing.TB
	cfg    embedded.Config
	server *embedded.Server
	keys   map[bus.Role]string // files; they outlive the server
	plain  *bus.Conn           // of an operator, on the first use
}

// Server starts a server. Its settings are those of production, but for what change makes of them.
func Server(t testing.TB, change ...func(*embedded.Config)) *NATS {
	t.Helper()
	cfg := embedded.Config{Dir: filepath.Join(t.TempDir(), "data"), Listen: FreeAddress(t)} // the same for all later starts
	n := &NATS{t: t, cfg: cfg, keys: map[bus.Role]string{}}
	for _, c := range change {
		c(&n.cfg)
	}
	n.Start()
	for _, r := range bus.Roles() {
		n.keys[r] = n.server.KeyFile(r)
	}
	t.Cleanup(n.Stop)
	return n
}

// Start starts the server again after Stop, on the same directory and port.
func (n *NATS) Start() {
	n.t.Helper()
	server, err := embedded.Start(n.t.Context(), n.cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	n.server = server
}

// Stop stops the server. It may be stopped already.
func (n *NATS) Stop() {
	n.t.Helper()
	if err := n.server.Close(); err != nil {
		n.t.Error(err)
	}
}

// URL is where clients connect to.
func (n *NATS) URL() string { return n.server.URL() }

// Dir is the data directory.
func (n *NATS) Dir() string { return n.cfg.Dir }

// KeyFile is the path of a role's nkey seed.
func (n *NATS) KeyFile(r bus.Role) string { return n.keys[r] }

// Connect connects in a role, until the test ends.
func (n *NATS) Connect(r bus.Role) *bus.Conn {
	n.t.Helper()
	return n.ConnectAt(n.URL(), r)
}

// ConnectAt connects in a role by another address, such as that of a [Proxy].
func (n *NATS) ConnectAt(url string, r bus.Role) *bus.Conn {
	n.t.Helper()
	conn, err := bus.Connect(n.t.Context(), bus.Config{URL: url, SeedFile: n.KeyFile(r)})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(conn.Close)
	return conn
}

// Write appends a message as the nats command does: unseen, and with no word of who. It returns the revision.
func (n *NATS) Write(b bus.Bucket, name, value string) uint64 {
	n.t.Helper()
	return n.Publish(b, name, value, nil)
}

// Delete appends a delete marker as the nats command does.
func (n *NATS) Delete(b bus.Bucket, name string) uint64 {
	n.t.Helper()
	return n.Publish(b, name, "", nats.Header{"KV-Operation": {"DEL"}})
}

// Publish appends any message, as an operator may.
func (n *NATS) Publish(b bus.Bucket, name, value string, header nats.Header) uint64 {
	n.t.Helper()
	if n.plain == nil {
		n.plain = n.Connect(bus.Operator)
	}
	msg := nats.NewMsg(b.Subject(name))
	msg.Data, msg.Header = []byte(value), header
	js := n.plain.JetStream()
	Eventually(n.t, "there is a connection to write on", func() bool { // the server may just have been started again
		return js.Conn().FlushTimeout(time.Second) == nil
	})
	ctx, cancel := context.WithTimeout(n.t.Context(), Patience)
	defer cancel()
	ack, err := js.PublishMsg(ctx, msg)
	if err != nil {
		n.t.Fatalf("write %s: %v", name, err)
	}
	return ack.Sequence
}

// Admin is JetStream's API, as an admin may use it who has the patience of a test.
func (n *NATS) Admin() jetstream.JetStream {
	n.t.Helper()
	js, err := jetstream.New(n.Connect(bus.Admin).JetStream().Conn(), jetstream.WithDefaultTimeout(Patience))
	if err != nil {
		n.t.Fatal(err)
	}
	return js
}

// CopyStore stops the server for as long as it takes to copy its store, and returns a function that puts the copy in the store's
// place, stopping the server for as long as that takes.
func (n *NATS) CopyStore() (putBack func()) {
	n.t.Helper()
	store, saved := filepath.Join(n.Dir(), "nats", "store"), filepath.Join(n.t.TempDir(), "store")
	n.Stop()
	n.copy(saved, store)
	n.Start()
	return func() {
		n.t.Helper()
		n.Stop()
		if err := os.RemoveAll(store); err != nil {
			n.t.Fatal(err)
		}
		n.copy(store, saved)
		n.Start()
	}
}

func (n *NATS) copy(to, from string) {
	n.t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		n.t.Fatal(err)
	}
}

// Patience is how long a test waits for what must happen, on a machine that may be busy with other things.
const Patience = 60 * time.Second

// Eventually waits until condition holds, and ends the test if it does not.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	const every = 5 * time.Millisecond
	for deadline := time.Now().Add(Patience); ; {
		if condition() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about that %s", what)
		}
		time.Sleep(every)
	}
}
