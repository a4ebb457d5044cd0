package doctor_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
	"github.com/keyherald/keyherald/events/eventstest"
)

const patience = eventstest.Patience

// world is a NATS server or cluster of somebody else, with a user for each role, JetStream, and monitoring.
type world struct {
	t       *testing.T
	servers []*server.Server
	keys    map[bus.Role]string // files with seeds
	js      jetstream.JetStream // of one who may do everything
	cfg     doctor.Config       // of an operator, who gives all roles and monitors
}

// setup is what a test changes before the servers start.
type setup struct {
	nodes   int
	options func(i int, o *server.Options)
	permit  func(bus.Role, *server.Permissions)
	// nobodyAsks: there are no users, and everybody is in the account of the buckets.
	nobodyAsks bool
}

const accounts = `accounts: { KEYHERALD: { jetstream: enabled }, OTHERS: {}, SYS: {} }, system_account: SYS`

// start starts the servers and makes the buckets. They stop when the test ends.
func start(t *testing.T, s setup) *world {
	t.Helper()
	w := &world{t: t, keys: map[bus.Role]string{}}
	s.nodes = max(s.nodes, 1)
	everything, users := makeUsers(t, w.keys, s.permit)
	var routes []*url.URL
	for range s.nodes {
		routes = append(routes, &url.URL{Scheme: "nats", Host: eventstest.FreeAddress(t)})
	}
	for i := range s.nodes {
		o := &server.Options{}
		if err := o.ProcessConfigString(accounts); err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			user := *u // the server puts its account in
			for _, acc := range o.Accounts {
				if acc.Name == "KEYHERALD" {
					user.Account = acc
				}
			}
			o.Nkeys = append(o.Nkeys, &user)
		}
		o.ServerName, o.Host, o.Port, o.NoSigs, o.NoLog = fmt.Sprint("n", i), "127.0.0.1", server.RANDOM_PORT, true, true
		o.JetStream, o.StoreDir, o.SyncAlways = true, t.TempDir(), true
		o.HTTPHost, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT
		if s.nodes > 1 {
			port := 0
			fmt.Sscan(routes[i].Port(), &port)
			o.Routes, o.Cluster = routes, server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}
		}
		if s.nobodyAsks {
			o.Nkeys, o.Accounts, o.SystemAccount, everything = nil, nil, "", nats.Name("test")
		}
		if s.options != nil {
			s.options(i, o)
		}
		w.run(o)
	}
	if s.nodes > 1 {
		eventstest.Eventually(t, "the cluster has a leader and all members", func() bool {
			return slices.ContainsFunc(w.servers, func(n *server.Server) bool { return n.JetStreamIsLeader() && len(n.JetStreamClusterPeers()) == s.nodes })
		})
	}
	w.connect(everything, s)
	return w
}

func (w *world) run(o *server.Options) {
	w.t.Helper()
	n, err := server.NewServer(o)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Start()
	if !n.ReadyForConnections(patience) {
		w.t.Fatal("the server does not start")
	}
	w.t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	w.servers = append(w.servers, n)
}

func (w *world) connect(everything nats.Option, s setup) {
	w.t.Helper()
	var urls []string
	for _, n := range w.servers {
		urls = append(urls, n.ClientURL())
		w.cfg.Monitors = append(w.cfg.Monitors, "http://"+n.MonitorAddr().String())
	}
	w.cfg.NATS = bus.Config{URL: strings.Join(urls, ","), SeedFile: w.keys[bus.Operator]}
	for _, r := range bus.Roles() {
		w.cfg.Roles = append(w.cfg.Roles, doctor.Credential{Role: r, SeedFile: w.keys[r]})
	}
	conn, err := nats.Connect(w.cfg.NATS.URL, everything, nats.Timeout(patience))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	if w.js, err = jetstream.New(conn, jetstream.WithDefaultTimeout(patience)); err != nil {
		w.t.Fatal(err)
	}
	replicas := 1
	if s.nodes > 1 {
		replicas = s.nodes
	}
	if w.servers[0].JetStreamEnabled() {
		if err := bus.EnsureBuckets(w.t.Context(), w.js, replicas); err != nil {
			w.t.Fatal(err)
		}
	}
}

// makeUsers makes a user for each role, and one without limits.
func makeUsers(t *testing.T, files map[bus.Role]string, permit func(bus.Role, *server.Permissions)) (everything nats.Option, users []*server.NkeyUser) {
	t.Helper()
	dir := t.TempDir()
	for _, role := range append(bus.Roles(), "everything") {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		user := &server.NkeyUser{Nkey: public}
		users = append(users, user)
		if role == "everything" {
			everything = nats.Nkey(public, pair.Sign)
			continue
		}
		seed, err := pair.Seed()
		if err != nil {
			t.Fatal(err)
		}
		files[role] = filepath.Join(dir, string(role)+".nk")
		if err := os.WriteFile(files[role], seed, 0o600); err != nil {
			t.Fatal(err)
		}
		may := role.Permissions(bus.InboxPrefix(public))
		user.Permissions = &server.Permissions{Publish: &server.SubjectPermission{Allow: may.Publish}, Subscribe: &server.SubjectPermission{Allow: may.Subscribe}}
		if permit != nil {
			permit(role, user.Permissions)
		}
	}
	return everything, users
}

// stranger is the file with the seed of a credential that no server knows.
func stranger(t *testing.T) string {
	t.Helper()
	files := map[bus.Role]string{}
	makeUsers(t, files, nil)
	return files[bus.Verifier]
}

// edit changes the settings of a bucket's stream.
func (w *world) edit(b bus.Bucket, replicas int, change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	cfg := bus.StreamConfig(b, replicas)
	change(&cfg)
	if _, err := w.js.UpdateStream(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
}

// remake makes a bucket anew, with other settings: such as cannot be changed.
func (w *world) remake(b bus.Bucket, change func(*jetstream.StreamConfig)) {
	w.t.Helper()
	w.remove(b)
	cfg := bus.StreamConfig(b, 1)
	change(&cfg)
	if _, err := w.js.CreateStream(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(b bus.Bucket) {
	w.t.Helper()
	if err := w.js.DeleteStream(w.t.Context(), b.Stream()); err != nil {
		w.t.Fatal(err)
	}
}

// put writes a record.
func (w *world) put(b bus.Bucket, name, value string) {
	w.t.Helper()
	if _, err := w.js.Publish(w.t.Context(), b.Subject(name), []byte(value)); err != nil {
		w.t.Fatal(err)
	}
}

// examine runs the doctor.
func (w *world) examine(change ...func(*doctor.Config)) doctor.Report {
	w.t.Helper()
	cfg := w.cfg
	for _, c := range change {
		c(&cfg)
	}
	return doctor.Examine(w.t.Context(), cfg)
}

// bad are the lines of a report that do not say ok.
func bad(r doctor.Report) []string {
	var lines []string
	for _, f := range r.Findings {
		if f.Level != doctor.OK {
			lines = append(lines, f.String())
		}
	}
	return lines
}

// mustSay checks that a line of the report has all the words, separated by spaces, in it.
func mustSay(t *testing.T, r doctor.Report, level doctor.Level, check string, words ...string) {
	t.Helper()
	for _, f := range r.Findings {
		has := f.Level == level && f.Check == check
		for _, w := range words {
			has = has && strings.Contains(f.String(), w)
		}
		if has {
			if level == doctor.Fail && (f.Needed == "" || f.ToDo == "") {
				t.Errorf("%s: it does not say what is needed and what to do", f)
			}
			return
		}
	}
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.String())
	}
	t.Errorf("no line says %s, %s and %q:\n%s", level, check, words, strings.Join(all, "\n"))
}

// ago is a clock that is wrong.
func ago(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(-d) } }

// follow follows the buckets as a verifier does.
func (w *world) follow() *bus.KeySet {
	w.t.Helper()
	conn, err := bus.Connect(w.t.Context(), bus.Config{URL: w.cfg.NATS.URL, SeedFile: w.keys[bus.Verifier]})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	set := conn.FollowKeys(zerolog.Nop())
	if err := set.Wait(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return set
}
