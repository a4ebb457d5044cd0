package main

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/events/natsconfig"
)

// foreign is a NATS server that is not ours: a plain nats-server, with the users of nats-config nkeys if it has any.
type foreign struct {
	*server.Server
	t      *testing.T
	url    string
	dir    string
	keys   map[bus.Role]string // files with seeds
	config string
	change []func(*server.Options)
	port   int
}

// key is the file with a role's seed.
func (f *foreign) key(r bus.Role) string { return f.keys[r] }

// startForeign starts a server with JetStream that asks for no credential, until the test ends.
func startForeign(t *testing.T, config string, change ...func(*server.Options)) *foreign {
	t.Helper()
	address, err := net.ResolveTCPAddr("tcp", eventstest.FreeAddress(t)) // the same for all later starts
	if err != nil {
		t.Fatal(err)
	}
	f := &foreign{t: t, dir: t.TempDir(), keys: map[bus.Role]string{}, config: config, change: change, port: address.Port}
	f.start()
	f.url = f.ClientURL()
	t.Cleanup(f.stop)
	return f
}

// start starts the server again after stop, on the same port and store.
func (f *foreign) start() {
	f.t.Helper()
	opts := &server.Options{}
	if f.config != "" {
		if err := opts.ProcessConfigString(f.config); err != nil {
			f.t.Fatalf("%v\n%s", err, f.config)
		}
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", f.port, true, true
	opts.JetStream, opts.StoreDir, opts.SyncAlways = true, f.dir, true
	for _, c := range f.change {
		c(opts)
	}
	var err error
	if f.Server, err = server.NewServer(opts); err != nil {
		f.t.Fatal(err)
	}
	f.Server.Start()
	if !f.ReadyForConnections(patience) {
		f.t.Fatal("the NATS server does not start")
	}
}

func (f *foreign) stop() {
	f.Shutdown()
	f.WaitForShutdown()
}

// startWithRoles starts a server with a user for each role, configured by what nats-config nkeys prints, or what edit makes of it.
func startWithRoles(t *testing.T, edit ...func(config string) string) *foreign {
	t.Helper()
	users, keys := []natsconfig.User{}, map[bus.Role]string{}
	dir := t.TempDir()
	for _, role := range bus.Roles() {
		keys[role] = filepath.Join(dir, string(role)+".nk")
		public, _, err := keepNkey(keys[role], nkeys.PrefixByteUser)
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, natsconfig.User{Name: string(role), Role: role, Nkey: public})
	}
	text, err := natsconfig.Nkeys(users)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edit {
		text = e(text)
	}
	f := startForeign(t, text)
	f.keys = keys
	return f
}

// withBuckets starts a server with the roles and the buckets.
func withBuckets(t *testing.T) *foreign {
	t.Helper()
	f := startWithRoles(t)
	if _, errs, err := runCLI("", "init", "--nats", f.url, "--nkey", f.key(bus.Admin)); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	return f
}
