package embedded_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// mustFail starts a server that must not start, and checks that the error says each of the parts.
func mustFail(t *testing.T, cfg embedded.Config, parts ...string) error {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err == nil {
		_ = s.Close()
		t.Fatal("the server started")
	}
	mustContain(t, err.Error(), append(parts, "start embedded nats server: ")...)
	return err
}

func TestBadConfigIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  embedded.Config
		says []string
	}{
		"no directory":           {embedded.Config{Listen: "127.0.0.1:0"}, []string{"no data directory"}},
		"negative sync interval": {embedded.Config{Dir: "d", SyncInterval: -time.Second}, []string{"sync interval", "negative"}},
		"address without a port": {embedded.Config{Dir: "d", Listen: "127.0.0.1"}, []string{`"127.0.0.1" is not host:port`}},
		"port that is no number": {embedded.Config{Dir: "d", Listen: "127.0.0.1:nats"}, []string{`port "nats"`}},
		"port that is too large": {embedded.Config{Dir: "d", Listen: "127.0.0.1:65536"}, []string{`port "65536"`}},
		"every interface":        {embedded.Config{Dir: "d", Listen: ":4222"}, []string{"listen on :4222 without TLS", "all interfaces"}},
		"every IPv4 interface":   {embedded.Config{Dir: "d", Listen: "0.0.0.0:4222"}, []string{"without TLS", "0.0.0.0 is not loopback", "configure TLS"}},
		"every IPv6 interface":   {embedded.Config{Dir: "d", Listen: "[::]:4222"}, []string{"without TLS", ":: is not loopback"}},
		"an address of a network": {embedded.Config{Dir: "d", Listen: "192.0.2.1:4222"},
			[]string{"listen on 192.0.2.1:4222 without TLS", "192.0.2.1 is not loopback", "listen on 127.0.0.1, or configure TLS"}},
		"a mapped address": {embedded.Config{Dir: "d", Listen: "[::ffff:192.0.2.1]:4222"}, []string{"is not loopback"}},
		"an unknown name":  {embedded.Config{Dir: "d", Listen: "keyherald.invalid:4222"}, []string{`look up "keyherald.invalid"`}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.cfg.Dir != "" {
				c.cfg.Dir = filepath.Join(t.TempDir(), c.cfg.Dir)
			}
			mustFail(t, c.cfg, c.says...)
			if _, err := os.Stat(c.cfg.Dir); c.cfg.Dir != "" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data directory was made (%v)", err)
			}
		})
	}
}

func TestPortInUseIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "data")
	err = mustFail(t, embedded.Config{Dir: dir, Listen: l.Addr().String()}, "cannot listen on "+l.Addr().String(), "listen on another address")
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error is not EADDRINUSE: %v", err)
	}
	start(t, embedded.Config{Dir: dir}) // the failure left the directory free
}

func TestSecondServerOnADirectoryIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, embedded.Config{Dir: dir})
	revision := connect(t, first, bus.Operator).put(t, bus.Keys, "issuer.orders", "{}")
	mustFail(t, embedded.Config{Dir: dir}, "data directory "+filepath.Join(dir, "nats")+" is in use by another keyherald", "(process ")
	if next := connect(t, first, bus.Operator).put(t, bus.Keys, "issuer.orders", "{}"); next != revision+1 {
		t.Errorf("the first server's next revision is %d", next)
	}
}

func TestDirectoryOfAnotherUserIsRefused(t *testing.T) {
	dir, owner := "/", 0
	if os.Geteuid() == 0 {
		dir, owner = t.TempDir(), 1
		if err := os.Chown(dir, owner, -1); err != nil {
			t.Fatal(err)
		}
	}
	mustFail(t, embedded.Config{Dir: dir},
		fmt.Sprintf("%s belongs to user %d and this process runs as user %d", dir, owner, os.Geteuid()), "use another data directory")
	if _, err := os.Stat(filepath.Join(dir, "nats")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was made in it (%v)", err)
	}
}

func TestDirectoryOpenToOthersIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		mode os.FileMode
		path string
		says string
	}{
		"data directory that others may write":     {0o777, ".", "run chmod 0775 "},
		"nats directory that others may read":      {0o755, "nats", "run chmod 0700 "},
		"key file that the group may read":         {0o640, "nats/operator.nk", "run chmod 0600 "},
		"key file that everybody may read or more": {0o666, "nats/verifier.nk", "run chmod 0600 "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := usedDirectory(t)
			path := filepath.Join(dir, c.path)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			mustFail(t, embedded.Config{Dir: dir}, path, "open to other users", c.says+path)
		})
	}
}

func TestDataDirectoryThatOthersMayReadIsFine(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, embedded.Config{Dir: dir})
}

func TestVersionFile(t *testing.T) {
	for name, c := range map[string]struct{ content, says string }{
		"newer":    {"2\n", "has version 2, made by a newer keyherald; this one knows up to 1: use the newer one"},
		"no text":  {"", "VERSION holds no version number"},
		"garbage":  {"one\n", "VERSION holds no version number"},
		"negative": {"-1\n", "VERSION holds no version number"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := usedDirectory(t)
			path := filepath.Join(dir, "nats", "VERSION")
			if got := readFile(t, path); got != "1\n" {
				t.Fatalf("VERSION is %q", got)
			}
			writeFile(t, path, c.content)
			mustFail(t, embedded.Config{Dir: dir}, filepath.Join(dir, "nats"), c.says)
			if got := readFile(t, path); got != c.content {
				t.Errorf("VERSION was changed to %q", got)
			}
		})
	}
}

func TestDirectoryOfSomethingElseIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "nats", "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustFail(t, embedded.Config{Dir: dir}, "was not made by keyherald", "contains jetstream", "use another data directory")
}

func TestDamagedKeyFileIsRefusedAndItsContentNotShown(t *testing.T) {
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	accountSeed, err := account.Seed()
	if err != nil {
		t.Fatal(err)
	}
	dir := usedDirectory(t)
	good := strings.TrimSpace(readFile(t, filepath.Join(dir, "nats", "issuer.nk")))
	wrong := "A"
	if good[20:21] == wrong {
		wrong = "B"
	}
	for name, c := range map[string]struct{ content, says string }{
		"empty":              {"", "does not hold an nkey seed"},
		"text":               {"SUPERSECRET\n", "does not hold an nkey seed"},
		"a character wrong":  {good[:20] + wrong + good[21:], "does not hold an nkey seed"},
		"cut":                {good[:30], "does not hold an nkey seed"},
		"an account's seed":  {string(accountSeed), "not a user's"},
		"another role's key": {good, "hold the same key"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDirectory(t, dir)
			path := filepath.Join(dir, "nats", "operator.nk")
			writeFile(t, path, c.content)
			err := mustFail(t, embedded.Config{Dir: dir}, path, c.says)
			if c.content != "" && strings.Contains(err.Error(), strings.TrimSpace(c.content)) {
				t.Errorf("the error shows the file's content: %v", err)
			}
		})
	}
}

func TestUnreadableKeyFileIsRefused(t *testing.T) {
	dir := usedDirectory(t)
	path := filepath.Join(dir, "nats", "operator.nk")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // unreadable for root, too
		t.Fatal(err)
	}
	mustFail(t, embedded.Config{Dir: dir}, "read key file", path)
}

func TestARemovedKeyFileIsMadeAnewAndTheOldKeyIsDead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	leaked := readFile(t, s.KeyFile(bus.Operator))
	connect(t, s, bus.Operator).put(t, bus.Keys, "issuer.orders", "{}")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.KeyFile(bus.Operator)); err != nil {
		t.Fatal(err)
	}
	s = start(t, embedded.Config{Dir: dir})
	connect(t, s, bus.Operator).put(t, bus.Keys, "issuer.orders", "{}")

	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(leaked)))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	mustBeTurnedAway(t, s, public, pair)
}

func TestDriftedBucketsAreDecidedAbout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	changed := bus.StreamConfig(bus.Keys, 1)
	changed.MaxMsgsPerSubject = 2
	if _, err := connect(t, s, bus.Admin).js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	want := bus.Drift{Stream: "KV_KEYS", Setting: "max_msgs_per_subject", Have: "2", Want: "16"}
	var drift *bus.DriftError
	err := mustFail(t, embedded.Config{Dir: dir}, want.String())
	if !errors.As(err, &drift) || len(drift.Drifts) != 1 || drift.Drifts[0] != want {
		t.Errorf("error is %#v", err)
	}

	no := errors.New("not like this")
	if err := mustFail(t, embedded.Config{Dir: dir, Drift: func([]bus.Drift) error { return no }}); !errors.Is(err, no) {
		t.Errorf("error is %v, want what Drift returned", err)
	}

	var seen []bus.Drift
	s = start(t, embedded.Config{Dir: dir, Drift: func(d []bus.Drift) error { seen = d; return nil }})
	if len(seen) != 1 || seen[0] != want {
		t.Errorf("Drift got %v", seen)
	}
	// Nothing was rewritten, and an admin can set it right.
	admin := connect(t, s, bus.Admin)
	stream, err := admin.js.Stream(t.Context(), "KV_KEYS")
	if err != nil {
		t.Fatal(err)
	}
	if have := stream.CachedInfo().Config.MaxMsgsPerSubject; have != 2 {
		t.Errorf("history is %d", have)
	}
	if _, err := admin.js.UpdateStream(t.Context(), bus.StreamConfig(bus.Keys, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, embedded.Config{Dir: dir})
}

func TestStoreThatCannotBeReadIsAnError(t *testing.T) {
	dir := usedDirectory(t)
	store := filepath.Join(dir, "nats", "store")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	writeFile(t, store, "not a directory")
	mustFail(t, embedded.Config{Dir: dir}, "not a directory")
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	s := start(t, embedded.Config{Dir: dir}) // the failure left the directory free
	if _, err := connect(t, s, bus.Verifier).js.Stream(t.Context(), "KV_KEYS"); errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Error("the buckets are not there")
	}
}
