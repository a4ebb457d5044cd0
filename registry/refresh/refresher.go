package refresh

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// Store keeps the lease and the states. Its writes are compare-and-set; see package bus.
type Store interface {
	Get(ctx context.Context, bucket bus.Bucket, name string) (events.Entry, error)
	Put(ctx context.Context, p bus.Put) (uint64, error)
	Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error)
}

// Registry publishes what was fetched.
type Registry interface {
	// SyncKeys makes the keys of an external issuer those that it publishes. It may be called at any time, by several nodes.
	SyncKeys(ctx context.Context, caller registry.Caller, name events.Name, set registry.Published) (registry.KeySync, error)
}

// KeySet is a live copy of KEYS.
type KeySet interface {
	Keys() *events.Set
	// Subscribe returns a subscription to the changes from now on.
	Subscribe(backlog int) *bus.Subscription
}

var (
	_ Store    = (*bus.Conn)(nil)
	_ Registry = (*registry.Registry)(nil)
	_ KeySet   = (*bus.KeySet)(nil)
)

// Config says what a Refresher works with.
type Config struct {
	// Store, Registry, Keys, Fetcher and Caller are required. Keys must have caught up. Caller is who stands in the records that
	// are written.
	Store    Store
	Registry Registry
	Keys     KeySet
	Fetcher  *Fetcher
	Caller   registry.Caller
	// Reports calls heard for each report of an unknown kid until stop is called; see [bus.Conn.OnUnknownKey]. Nil: keys are
	// fetched on schedule only.
	Reports func(heard func(issuer events.Name, kid events.KeyID)) (stop func(), err error)
	// Lease is how long the node that refreshes may be silent until another takes over, and how old a document may be that is
	// published. Zero: 30 s; at least a second.
	Lease time.Duration
	// Logger gets what was changed, and what went wrong. The zero Logger is silent.
	Logger zerolog.Logger
}

// Refresher keeps the keys of external issuers fresh, if no other node does.
type Refresher struct {
	cfg      Config
	fetch    func(ctx context.Context, from, etag string) (document, error)
	started  atomic.Bool
	counters counters

	mu      sync.Mutex // for Status, which nobody waits for
	holding bool
	issuers map[events.Name]IssuerStatus
}

// New makes a Refresher.
func New(cfg Config) (*Refresher, error) {
	if cfg.Store == nil || cfg.Registry == nil || cfg.Keys == nil || cfg.Fetcher == nil || cfg.Caller.Name == "" {
		return nil, errors.New("refresh: Store, Registry, Keys, Fetcher and Caller are required")
	}
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	if cfg.Lease < time.Second {
		return nil, errors.New("refresh: a Lease of less than a second is lost too easily")
	}
	return &Refresher{cfg: cfg, fetch: cfg.Fetcher.get, issuers: map[events.Name]IssuerStatus{}}, nil
}

// Run refreshes keys whenever this node has the lease, until ctx is done. Then it gives the lease back and returns nil. It may be
// called once.
func (r *Refresher) Run(ctx context.Context) error {
	if r.started.Swap(true) {
		return errors.New("refresh: Run was called twice")
	}
	l := newLease(&r.cfg)
	for {
		if l.acquire(ctx) {
			r.hold(ctx, l)
		}
		if sleep(ctx, l.length/renewals) != nil {
			return nil
		}
	}
}

// hold refreshes while the lease is kept.
func (r *Refresher) hold(ctx context.Context, l *lease) {
	r.cfg.Logger.Info().Str("holder", l.holder).Msg("this node refreshes the keys of external issuers")
	r.setHolding(true)
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { newWorker(r, l).run(working) })
	l.keep(ctx)
	stop()
	work.Wait()
	r.setHolding(false)
	if ctx.Err() != nil {
		l.release(context.WithoutCancel(ctx))
	}
}

// counters are of this node, since it started.
type counters struct {
	fetches, unchanged, failures, outOfTurn, added, changed, removed, alarms, reports, dropped atomic.Uint64
}

// Status is how the refresh is going on this node.
type Status struct {
	Holding bool           // this node refreshes, and no other
	Issuers []IssuerStatus // by name; empty when another node does it

	// Since the node started.
	Fetches   uint64 // documents asked for
	Unchanged uint64 // of these, how many were as before (304)
	Failures  uint64 // fetches that failed, or whose keys could not be published
	OutOfTurn uint64 // fetches that somebody asked for, by reporting an unknown kid or by hand
	Added     uint64 // keys registered
	Changed   uint64 // keys replaced under their kid
	Removed   uint64 // keys that were withdrawn
	Alarms    uint64 // private keys that a provider has published
	Reports   uint64 // reports of unknown kids that were heard
	Dropped   uint64 // of these, how many were not looked at because too many came
}

// IssuerStatus is how it goes with one issuer. The times are zero if it never happened.
type IssuerStatus struct {
	Issuer      events.Name
	JWKSURI     string
	LastSuccess time.Time
	LastFailure time.Time
	LastError   string    // of LastFailure; empty if it has succeeded since
	Next        time.Time // when it is fetched next, unless somebody asks for it before
	Keys        int       // that were published last
	Faults      []Fault   // keys that it publishes and that cannot be used
}

// Status tells how the refresh is going.
func (r *Refresher) Status() Status {
	c := &r.counters
	s := Status{
		Fetches: c.fetches.Load(), Unchanged: c.unchanged.Load(), Failures: c.failures.Load(), OutOfTurn: c.outOfTurn.Load(),
		Added: c.added.Load(), Changed: c.changed.Load(), Removed: c.removed.Load(), Alarms: c.alarms.Load(),
		Reports: c.reports.Load(), Dropped: c.dropped.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Holding = r.holding
	for _, name := range slices.Sorted(maps.Keys(r.issuers)) {
		s.Issuers = append(s.Issuers, r.issuers[name])
	}
	return s
}

func (r *Refresher) setHolding(holding bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = holding
	clear(r.issuers)
}

func (r *Refresher) setStatus(s IssuerStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.issuers[s.Issuer] = s
}

func (r *Refresher) dropStatus(name events.Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.issuers, name)
}
