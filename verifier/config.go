package verifier

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
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
	// TokenCacheMemory is how many bytes the cache of verified tokens takes at most, not counting records that were replaced and by which a token in
	// it was accepted. The repeat of a token that is in it costs a hundredth of a signature's check, and is decided by the live set like any
	// other. Zero: 32 MiB, which is some 20,000 tokens. Negative: there is none.
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
	// CAFile is a file with the authorities (PEM) of which one must have signed the server's certificate; it may be replaced. A server without
	// TLS is refused then. Empty: those of the system, for tls:// URLs.
	CAFile string
	// ServerName is the name that must be in the server's certificate. Empty: that of the URL.
	ServerName string
	// Snapshot is a file that keeps the last complete key set, so that Connect can start from it when NATS is not there within two
	// seconds. What it has is as old as it is, by the clock on the wall: MaxStaleness counts, and what is not in it may exist. It belongs
	// into a directory where only this service can write: see package snapshot for what it is trusted for. Empty: there is none.
	Snapshot string
	// Issuers keeps the records of some issuers only, for a small service beside a large registry: clients and external issuers, known already or
	// not. Those of the platform and of Externals are kept as well. The tokens of all others are refused, and those that the platform mints
	// for other clients: what is not kept is unknown, however good it is. All records are read all the same: see package bus. Empty: all.
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
	// accountSuffix makes the account-wide audience of an account.
	accountSuffix = ".accounts.authress.io"

	defaultTokenCacheMemory = 32 << 20
	defaultKeyTableMemory   = 32 << 20
)

func (cfg *Config) check() error {
	if cfg.Audience == "" {
		return errors.New("no audience: without one, tokens for any service would be accepted")
	}
	if cfg.Leeway < 0 || cfg.Leeway > events.MaxLeeway || cfg.Leeway%time.Second != 0 {
		return fmt.Errorf("leeway %s is not whole seconds from 0 (for %s) to %s", cfg.Leeway, defaultLeeway, events.MaxLeeway)
	}
	for _, name := range cfg.Externals {
		if _, err := events.ParseName(string(name)); err != nil {
			return fmt.Errorf("external issuer: %w", err)
		}
	}
	for _, name := range cfg.Issuers {
		if _, err := events.ParseName(string(name)); err != nil {
			return fmt.Errorf("issuer to follow: %w", err)
		}
	}
	return nil
}

func (cfg Config) withDefaults() Config {
	cfg.Leeway = cmp.Or(cfg.Leeway, defaultLeeway)
	cfg.MaxStaleness = cmp.Or(cfg.MaxStaleness, defaultMaxStaleness)
	cfg.TokenCacheMemory = cmp.Or(cfg.TokenCacheMemory, defaultTokenCacheMemory)
	cfg.KeyTableMemory = cmp.Or(cfg.KeyTableMemory, defaultKeyTableMemory)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return cfg
}

// leeway in seconds.
func (cfg *Config) leeway() int64 { return int64(cfg.Leeway / time.Second) }

// followed are the issuers whose records are followed, in order and none twice. None: all.
func (cfg *Config) followed() []events.Name {
	if len(cfg.Issuers) == 0 {
		return nil
	}
	names := slices.Concat([]events.Name{events.Platform}, cfg.Issuers, cfg.Externals)
	slices.Sort(names)
	return slices.Compact(names)
}
