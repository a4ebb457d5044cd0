package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// patience is how long a test waits for what must happen, on a machine that may be busy with other things.
const patience = 30 * time.Second

// start runs a server until the test ends.
func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "data")
	}
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is a connection in one role. What the server refuses of it arrives in refused.
type client struct {
	*nats.Conn
	js      jetstream.JetStream
	refused chan string
}

func connect(t *testing.T, s *embedded.Server, role bus.Role, more ...nats.Option) *client {
	t.Helper()
	credential, err := nats.NkeyOptionFromSeed(s.KeyFile(role))
	if err != nil {
		t.Fatal(err)
	}
	c := &client{refused: make(chan string, 1000)}
	options := append([]nats.Option{
		credential,
		nats.CustomInboxPrefix(s.InboxPrefix(role)),
		nats.Timeout(patience),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.refused <- err.Error() }),
	}, more...)
	if c.Conn, err = nats.Connect(s.URL(), options...); err != nil {
		t.Fatalf("connect as %s: %v", role, err)
	}
	t.Cleanup(c.Close)
	if c.js, err = jetstream.New(c.Conn, jetstream.WithDefaultTimeout(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// refusal waits for what the server refuses next.
func (c *client) refusal(t *testing.T) string {
	t.Helper()
	select {
	case msg := <-c.refused:
		return msg
	case <-time.After(patience):
		t.Fatal("the server refused nothing")
		return ""
	}
}

// put writes a record and returns its revision.
func (c *client) put(t *testing.T, b bus.Bucket, name, value string) uint64 {
	t.Helper()
	ack, err := c.js.Publish(t.Context(), b.Subject(name), []byte(value))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return ack.Sequence
}

// get reads a record's last value.
func (c *client) get(t *testing.T, b bus.Bucket, name string) string {
	t.Helper()
	stream, err := c.js.Stream(t.Context(), b.Stream())
	if err != nil {
		t.Fatalf("bind %s: %v", b, err)
	}
	msg, err := stream.GetLastMsgForSubject(t.Context(), b.Subject(name))
	if err != nil {
		t.Fatalf("get %s: %v", name, err)
	}
	return string(msg.Data)
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}

// usedDirectory is a data directory that a server has been run on.
func usedDirectory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := start(t, embedded.Config{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyDirectory(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	return to
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // a server that looks at it meanwhile sees no half
		t.Fatal(err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// mustBeTurnedAway checks that the server refuses a key pair.
func mustBeTurnedAway(t *testing.T, s *embedded.Server, public string, pair nkeys.KeyPair) {
	t.Helper()
	conn, err := nats.Connect(s.URL(), nats.Nkey(public, pair.Sign), nats.Timeout(patience))
	if err == nil {
		conn.Close()
		t.Fatal("got in")
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Error(err)
	}
}
