package verifier

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier/jws"
	"github.com/keyherald/keyherald/verifier/keytables"
	"github.com/keyherald/keyherald/verifier/snapshot"
)

// Feed is the live key set that a verifier judges by. [*bus.KeySet] is one.
//
// Its methods may be called at any time by any number of goroutines; they take no lock and do not wait. What Confirmed
// says holds for the sets that Keys and Revocations return after it: a set is made visible first, and called complete then.
type Feed interface {
	// Keys returns the key set of now.
	Keys() *events.Set
	// Revocations returns the set of revoked tokens.
	Revocations() *events.Revocations
	// Confirmed is when both were last known to be complete; zero: never. It carries a monotonic reading.
	Confirmed() time.Time
}

// A Feed may also be one of these, so that the one who refreshes the keys of an external issuer hears of a new key at once. The call
// is made for tokens that anybody may send: like the others it takes no lock and does not wait, and what it costs must not grow with
// how often it is made. The kid is what a token said, and nothing else of the token.
type unknownKeyReporter interface {
	ReportUnknownKey(issuer events.Name, kid events.KeyID)
}

// A Feed may also be one of these, if it can find out that a server does not deliver all that it has.
type missingReporter interface {
	Missing() uint64
}

var (
	_ Feed               = (*bus.KeySet)(nil)
	_ Feed               = (*snapshot.Set)(nil)
	_ missingReporter    = (*bus.KeySet)(nil)
	_ missingReporter    = (*snapshot.Set)(nil)
	_ unknownKeyReporter = (*bus.KeySet)(nil)
	_ unknownKeyReporter = (*snapshot.Set)(nil)
)

// Verifier judges tokens. It may be used by any number of goroutines.
type Verifier struct {
	cfg       Config
	feed      Feed
	reporter  unknownKeyReporter // nil: there is nobody to tell
	externals map[events.Name]bool
	close     func()

	judgements    spares
	headers       *jws.Headers
	cache         *cache
	tables        *keytables.Tables
	verifyEd25519 func(key ed25519.PublicKey, message, signature []byte) bool
	counts        counters
}

// New makes a verifier over a feed that the caller owns. [Verifier.Close] it before the feed.
func New(cfg Config, feed Feed) (*Verifier, error) {
	v, err := newVerifier(cfg, feed)
	if err == nil && feed == nil {
		err = errors.New("no feed: a verifier judges by a key set (Connect makes one)")
	}
	if err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	return v, nil
}

// newVerifier checks a configuration and resolves its defaults.
func newVerifier(cfg Config, feed Feed) (*Verifier, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	v := &Verifier{
		cfg: cfg, externals: map[events.Name]bool{}, close: func() {},
		judgements: newSpares(),
		headers:    jws.NewHeaders(), cache: newCache(cfg.TokenCacheMemory), tables: keytables.New(cfg.KeyTableMemory),
	}
	v.verifyEd25519 = v.tables.Verify
	v.follow(feed)
	for _, name := range cfg.Externals {
		v.externals[name] = true
	}
	return v, nil
}

// follow sets what the verifier judges by.
func (v *Verifier) follow(feed Feed) {
	v.feed = feed
	v.reporter, _ = feed.(unknownKeyReporter)
}

// Connect connects to NATS and returns when the key set is complete. Until ctx ends it keeps trying, also while no
// server can be reached, unless there is a snapshot to start from. A credential that the server refuses ends it, also with a snapshot. The
// verifier then keeps its set up to date until it is closed, whatever becomes of ctx.
func Connect(ctx context.Context, cfg Config) (*Verifier, error) {
	v, err := newVerifier(cfg, nil)
	if err == nil && cfg.NATS == "" {
		err = errors.New("no NATS URL: where to follow the key set")
	}
	if err == nil { // before anything is waited for
		err = v.connect(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("verifier: %w", err)
	}
	return v, nil
}

func (v *Verifier) connect(ctx context.Context) error {
	cfg := v.cfg
	to := bus.Config{
		URL: cfg.NATS, SeedFile: cfg.SeedFile, CredsFile: cfg.CredsFile, CAFile: cfg.CAFile, ServerName: cfg.ServerName, Name: "keyherald verifier",
		Wait: true, Logger: cfg.Logger,
	}
	if cfg.Snapshot != "" {
		set, err := snapshot.Follow(ctx, snapshot.Config{
			Path: cfg.Snapshot, Issuers: cfg.followed(), Bus: to, Now: cfg.Now, Leeway: cfg.Leeway, MinAge: snapshotAge, Logger: cfg.Logger,
		})
		if err != nil {
			return err
		}
		v.follow(set)
		v.close = set.Close
		return nil
	}
	conn, err := bus.Connect(ctx, to)
	if err != nil {
		return err
	}
	set := conn.FollowKeySet(bus.KeySetConfig{Issuers: cfg.followed(), Logger: cfg.Logger})
	v.follow(set)
	v.close = func() {
		set.Close()
		conn.Close()
	}
	if err := set.Wait(ctx); err != nil {
		v.close()
		return err
	}
	return nil
}

// Close ends what Connect started, and that tables of keys are made. The verifier goes on judging by the set that it has, which with
// Connect only gets older. When it returns, nothing of the verifier runs any more.
func (v *Verifier) Close() {
	v.close()
	v.tables.Close()
}

// Status is what a verifier knows about its set.
type Status struct {
	Revision  uint64        // complete up to here
	Confirmed bool          // whether the set was ever known to be complete
	Staleness time.Duration // time since it was last known to be; without meaning if it never was
	Stale     bool          // older than MaxStaleness: every token is undecided
	// Missing is how many messages the NATS server says are in the buckets, and does not deliver: its files are damaged. Revocations
	// may be among them. The rest is in force.
	Missing uint64
}

// Status tells how current the set is.
func (v *Verifier) Status() Status {
	confirmed := v.feed.Confirmed()
	age := events.Staleness(v.cfg.Now(), confirmed)
	status := Status{Revision: v.feed.Keys().Revision(), Confirmed: !confirmed.IsZero(), Staleness: age, Stale: v.tooOld(age)}
	if r, ok := v.feed.(missingReporter); ok {
		status.Missing = r.Missing()
	}
	return status
}

func (v *Verifier) tooOld(age time.Duration) bool {
	return v.cfg.MaxStaleness >= 0 && age > v.cfg.MaxStaleness
}
