package verifiertest

import (
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

const (
	// DefaultAudience is what the service is called if the configuration of [New] does not say.
	DefaultAudience = "https://service.test"
	// PlatformURL is the iss of online tokens, and where those of clients begin.
	PlatformURL = "https://auth.test"
	// Account is the platform's account, for [verifier.Config.AccountAudience].
	Account = "acc-verifiertest"
)

// TB is the part of [testing.TB] that the kit needs: give it your t.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Kit is an installation in memory: a platform, who is registered there, and the verifiers that follow it.
type Kit struct {
	t        TB
	cfg      verifier.Config
	clock    func() time.Time
	ahead    atomic.Int64 // how far Advance has put the clock forward, a Duration
	feed     *feed
	platform party
	verifier *verifier.Verifier
}

// New returns a kit for a service with this configuration, the one of production: what it says about NATS does not matter. The
// zero Config is good, too: the service is called [DefaultAudience] then. The clock is cfg.Now, by default that of the
// machine (or of the bubble, under testing/synctest), plus what [Kit.Advance] adds.
func New(t TB, cfg verifier.Config) *Kit {
	t.Helper()
	if cfg.Audience == "" {
		cfg.Audience = DefaultAudience
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	k := &Kit{t: t, cfg: cfg, clock: cfg.Now}
	k.cfg.Now = k.Now
	k.feed = newFeed(k.Now)
	k.verifier = k.VerifierFor(cfg.Audience)
	k.platform = k.register(events.Platform, &events.Issuer{Type: events.TypePlatform, Iss: PlatformURL, Account: Account})
	return k
}

// Verifier returns the verifier of the service that the kit was made for: always the same one.
func (k *Kit) Verifier() *verifier.Verifier { return k.verifier }

// VerifierFor returns the verifier of another service, which differs only in its audience. Both follow the one installation, for a
// test in which a request goes through several services.
func (k *Kit) VerifierFor(audience string) *verifier.Verifier {
	k.t.Helper()
	cfg := k.cfg
	cfg.Audience = audience
	v, err := verifier.New(cfg, k.feed)
	k.check("make a verifier", err)
	return v
}

// Now is the time by which tokens are made and judged.
func (k *Kit) Now() time.Time { return k.clock().Add(time.Duration(k.ahead.Load())) }

// Advance puts the clock forward.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	if d < 0 {
		k.t.Fatalf("verifiertest: the clock cannot be put back (%s); start earlier, by Config.Now", d)
	}
	k.ahead.Add(int64(d))
}

// GoStale makes it a day longer than MaxStaleness ago that the set was known to be complete, as if NATS could not be reached since:
// nothing can be decided any more. If MaxStaleness is negative, that is so only for issuers and keys that are not in the set. What
// the kit changes meanwhile is known to the verifier all the same.
func (k *Kit) GoStale() {
	at := k.Now().Add(-max(k.cfg.MaxStaleness, time.Hour) - 24*time.Hour)
	k.feed.lost.Store(&at)
}

// GoFresh ends what GoStale began: the set is complete, now and as long as nothing else is said.
func (k *Kit) GoFresh() { k.feed.lost.Store(nil) }
