package verifier

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier/jws"
	"github.com/keyherald/keyherald/verifier/keytables"
	"github.com/keyherald/keyherald/verifier/snapshot"
)

// Config of a verifier. Audience is required, the rest has defaults.
type Config struct {
	// Audience is what this service is called in the aud of tokens, compared byte by byte.
	Audience string
	// AccountAudience also accepts tokens for the audience of the whole account, as the SDKs of Authress mint them
	// ({account}.accounts.authress.io): such a token is good at every service of the account that accepts them.
	AccountAudience bool
	// Externals names the external issuers whose access tokens are accepted. Empty: none.
	Externals []events.Name
	// MaxStaleness is how long ago the set may have been confirmed for a token to be decided. Zero: one
	// hour. Negative: there is no limit.
	MaxStaleness time.Duration
	// Leeway is the tolerance for clocks that differ, for exp, nbf and iat: whole seconds, at most 60. Zero: 30 s.
	Leeway time.Duration
	// TokenCacheMemory is how many bytes the cache of verified tokens takes at most. The repeat of a token that is in it costs a
	// hundredth of a signature's check, and is decided by the live set like any other. Zero: 32 MiB, which is some 20,000
	// tokens. Negative: there is none.
	TokenCacheMemory int64
	// KeyTableMemory is how many bytes the tables take at most that make Ed25519 signatures of keys in use twice as fast to
	// check. Zero: 32 MiB, which is some 2,000 keys. Negative: there are none, and the standard library checks all.
	KeyTableMemory int64
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger gets what happens to the feed; at debug level, also that a token brings a key along. The zero Logger is
	// silent.
	Logger zerolog.Logger

	// NATS is the URL of the server, or several separated by commas. For Connect only, as are the following; required there.
	NATS string
	// SeedFile is a file with the nkey seed of a credential of the role verifier. Empty: see CredsFile.
	SeedFile string
	// CredsFile is a file with a user JWT and its seed. Empty: the server asks for no credential.
	CredsFile string
	// Snapshot is a file that keeps the last complete key set, so that Connect can start from it when NATS is not there within two
	// seconds. What it has is as old as it is, by the clock on the wall: MaxStaleness counts, and what is not in it may exist. It belongs
	// into a directory where only this service can write: see package snapshot for what it is trusted for. Empty: there is none.
	Snapshot string
	// Issuers follows the records of some issuers only, for a small service beside a large registry: at most 64 clients and external issuers,
	// known already or not. Those of the platform and of Externals are followed as well. The tokens of all others are refused, and those that
	// the platform mints for other clients: what is not followed is unknown, however good it is. The credential must have the
	// role verifier. Empty: all.
	Issuers []events.Name
}

const (
	defaultMaxStaleness = time.Hour
	defaultLeeway       = 30 * time.Second
	// upToDate is how long after a confirmation what is not in the set counts as not existing. The feed confirms every
	// 3 s or so.
	upToDate = 10 * time.Second
	// snapshotAge is how old at least what a file has counts as: only the clock on the wall says when it was confirmed, and that
	// may have been moved. So it is never proof that something does not exist.
	snapshotAge = upToDate + time.Second
	// maxIssuers is how many issuers may be named. The server compares every message with three filters for each; who needs more is better off
	// with all.
	maxIssuers = 64
	// accountSuffix makes the account-wide audience of an account.
	accountSuffix = ".accounts.authress.io"

	defaultTokenCacheMemory = 32 << 20
	defaultKeyTableMemory   = 32 << 20
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

var (
	_ Feed               = (*bus.KeySet)(nil)
	_ Feed               = (*snapshot.Set)(nil)
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

	judgements    sync.Pool // of *judgement
	headers       *jws.Headers
	cache         *cache
	tables        *keytables.Tables
	verifyEd25519 func(key ed25519.PublicKey, message, signature []byte) bool
	counts        counters
}

// New makes a verifier over a feed that the caller owns.
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
	if cfg.Audience == "" {
		return nil, errors.New("no audience: without one, tokens for any service would be accepted")
	}
	if cfg.Leeway < 0 || cfg.Leeway > events.MaxLeeway || cfg.Leeway%time.Second != 0 {
		return nil, fmt.Errorf("leeway %s is not whole seconds from 0 (for %s) to %s", cfg.Leeway, defaultLeeway, events.MaxLeeway)
	}
	if cfg.Leeway == 0 {
		cfg.Leeway = defaultLeeway
	}
	if cfg.MaxStaleness == 0 {
		cfg.MaxStaleness = defaultMaxStaleness
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TokenCacheMemory == 0 {
		cfg.TokenCacheMemory = defaultTokenCacheMemory
	}
	if cfg.KeyTableMemory == 0 {
		cfg.KeyTableMemory = defaultKeyTableMemory
	}
	v := &Verifier{
		cfg: cfg, externals: map[events.Name]bool{}, close: func() {},
		judgements: sync.Pool{New: func() any { return new(judgement) }},
		headers:    jws.NewHeaders(), cache: newCache(cfg.TokenCacheMemory), tables: keytables.New(cfg.KeyTableMemory),
	}
	v.verifyEd25519 = v.tables.Verify
	v.follow(feed)
	for _, name := range cfg.Externals {
		if _, err := events.ParseName(string(name)); err != nil {
			return nil, fmt.Errorf("external issuer: %w", err)
		}
		v.externals[name] = true
	}
	if len(cfg.Issuers) > maxIssuers {
		return nil, fmt.Errorf("%d issuers to follow, more than %d: leave them out to follow all", len(cfg.Issuers), maxIssuers)
	}
	for _, name := range cfg.Issuers {
		if _, err := events.ParseName(string(name)); err != nil {
			return nil, fmt.Errorf("issuer to follow: %w", err)
		}
	}
	return v, nil
}

// followed are the issuers whose records are followed, in order and none twice. None: all.
func (v *Verifier) followed() []events.Name {
	if len(v.cfg.Issuers) == 0 {
		return nil
	}
	names := slices.Concat([]events.Name{events.Platform}, v.cfg.Issuers, v.cfg.Externals)
	slices.Sort(names)
	return slices.Compact(names)
}

// follow sets what the verifier judges by.
func (v *Verifier) follow(feed Feed) {
	v.feed = feed
	v.reporter, _ = feed.(unknownKeyReporter)
}

// Connect connects to NATS and returns when the key set is complete. Until ctx ends it keeps trying, also while no
// server can be reached, unless there is a snapshot to start from. The verifier then keeps its set up to date until it is closed,
// whatever becomes of ctx.
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
	to := bus.Config{URL: cfg.NATS, SeedFile: cfg.SeedFile, CredsFile: cfg.CredsFile, Name: "keyherald verifier", Wait: true, Logger: cfg.Logger}
	if cfg.Snapshot != "" {
		set, err := snapshot.Follow(ctx, snapshot.Config{
			Path: cfg.Snapshot, Issuers: v.followed(), Bus: to, Now: cfg.Now, Leeway: cfg.Leeway, MinAge: snapshotAge, Logger: cfg.Logger,
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
	set := conn.FollowKeySet(bus.KeySetConfig{Issuers: v.followed(), Logger: cfg.Logger})
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

// Close ends what Connect started. The verifier goes on judging by the set that it has, which only gets older.
func (v *Verifier) Close() {
	v.close()
	v.tables.Close()
}

// leeway in seconds.
func (v *Verifier) leeway() int64 { return int64(v.cfg.Leeway / time.Second) }

// Status is what a verifier knows about its set.
type Status struct {
	Revision  uint64        // complete up to here
	Confirmed bool          // whether the set was ever known to be complete
	Staleness time.Duration // time since it was last known to be; without meaning if it never was
	Stale     bool          // older than MaxStaleness: every token is undecided
}

// Status tells how current the set is.
func (v *Verifier) Status() Status {
	confirmed := v.feed.Confirmed()
	age := staleness(v.cfg.Now(), confirmed)
	return Status{Revision: v.feed.Keys().Revision(), Confirmed: !confirmed.IsZero(), Staleness: age, Stale: v.tooOld(age)}
}

func (v *Verifier) tooOld(age time.Duration) bool {
	return v.cfg.MaxStaleness >= 0 && age > v.cfg.MaxStaleness
}

// staleness is the time since the confirmation: by the monotonic clock, which does not jump, or by the wall clock, which
// runs on while the machine sleeps, whichever is more. Without a confirmation it is the longest Duration, which is how Sub
// gives the years since the zero Time.
func staleness(now, confirmed time.Time) time.Duration {
	return max(now.Sub(confirmed), now.Round(0).Sub(confirmed.Round(0)), 0)
}
