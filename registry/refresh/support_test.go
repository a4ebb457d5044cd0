package refresh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
)

var quiet = log.New(io.Discard, "", 0)

// memory is a bucket in memory, for the clock of testing/synctest.
type memory struct{ *eventstest.Stream }

func (m memory) Get(ctx context.Context, _ bus.Bucket, name string) (events.Entry, error) {
	return m.Stream.Get(ctx, name)
}

func (m memory) Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error) {
	e, err := m.Get(ctx, bucket, name)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return 0, err
	}
	d, err := decide(e)
	if err != nil || d.Value == nil && !d.Delete {
		return e.Revision, err
	}
	return m.Put(ctx, bus.Put{Bucket: bucket, Name: name, Value: d.Value, Delete: d.Delete, Replaces: e.Revision, Caller: caller})
}

// world is one or more refreshers over a bucket in memory, with providers that are functions.
type world struct {
	t       *testing.T
	keys    *eventstest.Stream
	set     *bus.KeySet
	store   memory
	log     eventstest.Log
	mu      sync.Mutex
	answers map[string]func() (document, error) // by jwks_uri
	fetched []fetched
	synced  []registry.ProviderKey
	syncErr error
	syncing func() // called before what was fetched is written
	heard   func(events.Name, events.KeyID)
}

type fetched struct {
	at   time.Time
	by   string
	from string
	etag string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, keys: eventstest.NewStream(), store: memory{eventstest.NewStream()}, answers: map[string]func() (document, error){}}
	w.set = bus.NewKeySet(w.keys, eventstest.NewStream(), zerolog.Nop())
	t.Cleanup(w.set.Close)
	if err := w.set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// issuer registers an external issuer whose provider answers with what answer returns.
func (w *world) issuer(name string, answer func() (document, error)) {
	uri := "https://" + name + ".example/jwks"
	w.mu.Lock()
	w.answers[uri] = answer
	w.mu.Unlock()
	w.keys.Write("issuer."+name, fmt.Sprintf(`{"type":"external","status":"active","iss":"https://%s.example","use":["assertion"],"jwks_uri":%q}`, name, uri))
}

// SyncKeys is the registry: it remembers what it got.
func (w *world) SyncKeys(ctx context.Context, _ registry.Caller, _ events.Name, set registry.Published) (registry.KeySync, error) {
	if w.syncing != nil {
		w.syncing()
	}
	if err := set.Current(context.WithoutCancel(ctx)); err != nil {
		return registry.KeySync{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.syncErr != nil {
		return registry.KeySync{}, w.syncErr
	}
	did := registry.KeySync{}
	for _, key := range set.Keys {
		if !slices.ContainsFunc(w.synced, func(k registry.ProviderKey) bool { return k.KeyID == key.KeyID }) {
			did.Added = append(did.Added, key.KeyID)
		}
	}
	w.synced = set.Keys
	return did, nil
}

// refresher makes one, called by.
func (w *world) refresher(by string) *Refresher {
	w.t.Helper()
	r, err := New(Config{
		Store: w.store, Registry: w, Keys: w.set, Fetcher: NewFetcher(FetcherConfig{}), Caller: registry.Caller{Name: by}, Logger: zerolog.New(&w.log),
		Reports: func(heard func(events.Name, events.KeyID)) (func(), error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.heard = heard
			return func() {}, nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r.fetch = func(_ context.Context, from, etag string) (document, error) {
		w.mu.Lock()
		answer := w.answers[from]
		w.fetched = append(w.fetched, fetched{time.Now(), by, from, etag})
		w.mu.Unlock()
		return answer()
	}
	return r
}

// registered is refresher with the real registry in place of w, so that what it writes is in w.keys.
func (w *world) registered(by string) *Refresher {
	w.t.Helper()
	r := w.refresher(by)
	real, err := registry.New(registry.Config{Store: memory{w.keys}, Keys: w.set})
	if err != nil {
		w.t.Fatal(err)
	}
	r.cfg.Registry = real
	return r
}

// report reports an unknown kid to whoever has listened last.
func (w *world) report(issuer events.Name, kid events.KeyID) {
	w.mu.Lock()
	heard := w.heard
	w.mu.Unlock()
	heard(issuer, kid)
}

// fetches returns what was fetched since the last call.
func (w *world) fetches() []fetched {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.fetched
	w.fetched = nil
	return f
}

// answer is a set with the given kids, fresh for d.
func answer(d time.Duration, kids ...string) func() (document, error) {
	var keys []string
	for _, kid := range kids {
		keys = append(keys, fmt.Sprintf(`{%s,"kid":%q}`, testKeys().ed, kid))
	}
	return func() (document, error) {
		return document{body: jwks(keys...), life: d, etag: fmt.Sprintf("%q", kids)}, nil
	}
}

// start runs a refresher until the test, or stop, ends it.
func start(t *testing.T, r *Refresher) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run returned %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}
