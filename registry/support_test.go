package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
)

const platformURL = "https://auth.example.com"

var alice = registry.Caller{Name: "cli:alice@laptop"}

// world is a server with one registry on it.
type world struct {
	t      *testing.T
	server *eventstest.NATS
	conn   *bus.Conn
	keys   *bus.KeySet
	audit  *auditLog
	clock  *clock
	*registry.Registry
}

// newWorld starts a server with a platform, and a registry that talks to it.
func newWorld(t *testing.T) *world {
	w := emptyWorld(t)
	if _, err := w.EnsurePlatform(t.Context(), alice, platformURL); err != nil {
		t.Fatal(err)
	}
	return w
}

func emptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: eventstest.Server(t), clock: newClock(time.Now())}
	return w.join(nil)
}

// join returns another registry on the same server and with the same clock, with its own connection and key set.
func (w *world) join(wrap func(registry.Store) registry.Store) *world {
	w.t.Helper()
	conn := w.server.Connect(bus.Operator)
	other := &world{t: w.t, server: w.server, conn: conn, keys: conn.FollowKeys(zerolog.Nop()), audit: new(auditLog), clock: w.clock}
	w.t.Cleanup(other.keys.Close)
	store := registry.Store(conn)
	if wrap != nil {
		store = wrap(store)
	}
	var err error
	other.Registry, err = registry.New(registry.Config{Store: store, Keys: other.keys, Logger: zerolog.New(other.audit), Now: w.clock.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	return other
}

// client makes a client, orders if it is the first, that may mint its own tokens.
func (w *world) client(name events.Name) {
	w.t.Helper()
	scope, err := events.ParseScope("billing:read billing:write")
	if err != nil {
		w.t.Fatal(err)
	}
	spec := registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scope, Offline: true}
	if _, err := w.CreateClient(w.t.Context(), alice, name, spec); err != nil {
		w.t.Fatal(err)
	}
}

// add adds a key that is made here.
func (w *world) add(name events.Name, kid events.KeyID) registry.NewKey {
	w.t.Helper()
	key, err := w.AddKey(w.t.Context(), alice, name, registry.KeySpec{KeyID: kid})
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

// set returns the live key set, complete.
func (w *world) set() *events.Set {
	w.t.Helper()
	if err := w.keys.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return w.keys.Keys()
}

// states returns the states of a client's keys now, by kid.
func (w *world) states(name events.Name) map[events.KeyID]events.KeyState {
	w.t.Helper()
	states := map[events.KeyID]events.KeyState{}
	for _, key := range w.set().Keys(name) {
		states[key.KeyID] = key.State(w.clock.Now())
	}
	return states
}

// stored reads the last message on a name.
func (w *world) stored(bucket bus.Bucket, name string) events.Entry {
	w.t.Helper()
	e, err := w.conn.Get(w.t.Context(), bucket, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// absent checks that nothing was ever written on a name.
func (w *world) absent(bucket bus.Bucket, name string) {
	w.t.Helper()
	if e, err := w.conn.Get(w.t.Context(), bucket, name); !errors.Is(err, bus.ErrNotFound) {
		w.t.Errorf("%s has %s on %s (%v), want nothing", bucket, e.Value, name, err)
	}
}

// members decodes a stored record.
func members(t *testing.T, e events.Entry) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(e.Value, &m); err != nil {
		t.Fatalf("%s: %v", e.Name, err)
	}
	return m
}

// wantError checks that err is of a kind and says what it should.
func wantError(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one of kind %q", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error says %q, want it to contain %q", err, part)
		}
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// clock is the time of all registries of a test.
type clock struct {
	mu    sync.Mutex
	start time.Time
	now   time.Time
}

func newClock(now time.Time) *clock { return &clock{start: now, now: now} }

func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Sub(c.start)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// auditLog collects the audit lines.
type auditLog struct{ eventstest.Log }

// last returns the last line.
func (a *auditLog) last(t *testing.T) map[string]any {
	t.Helper()
	lines := a.Lines(t)
	if len(lines) == 0 {
		t.Fatal("there is no audit line")
	}
	return lines[len(lines)-1]
}

// faultyStore lets a test decide what becomes of a write.
type faultyStore struct {
	registry.Store
	// fault says whether the write takes place, and what the writer hears of it. A nil error is what really happened.
	fault func(bucket bus.Bucket, name string) (apply bool, err error)
	// decided is called when a write has been decided about and not yet been made.
	decided func(bucket bus.Bucket, name string)
}

func (s *faultyStore) Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error) {
	apply, fault := true, error(nil)
	if s.fault != nil {
		apply, fault = s.fault(bucket, name)
	}
	if !apply {
		return 0, fault
	}
	revision, err := s.Store.Update(ctx, bucket, name, caller, func(e events.Entry) (bus.Decision, error) {
		d, err := decide(e)
		if s.decided != nil {
			s.decided(bucket, name)
		}
		return d, err
	})
	if fault != nil {
		return 0, fault
	}
	return revision, err
}
