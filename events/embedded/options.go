package embedded

import (
	"crypto/tls"
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	account       = "KEYHERALD" // has JetStream and all our users, and nothing else
	systemAccount = "SYS"       // the server's own; has no users, so nobody can log in to it

	// noLimit stands for as many bytes as there are: a limit that the server computes from what is free at its start
	// could refuse a revocation. The disk itself remains.
	noLimit = 1 << 60
	// maxPayload is the largest message, in bytes: a record's is 17 KiB, the pieces of a backup are up to 128 KiB.
	maxPayload = 256 << 10
	// authTimeout is how long a connection may take to present its credential, in seconds. It is more than the default
	// of 2 for the sake of small machines to which a thousand verifiers come back at once.
	authTimeout = 10
)

// accounts is configuration text because an account with JetStream cannot be had in another way before the server runs.
const accounts = `
accounts: { ` + account + `: { jetstream: enabled }, ` + systemAccount + `: {} }
system_account: ` + systemAccount + `
`

// options are the server's settings. No listener is among them but the one for clients, and that one is not opened
// by Start: the buckets come first.
func options(cfg Config, at listen, d *directory, who *door) (*server.Options, error) {
	opts := &server.Options{}
	if err := opts.ProcessConfigString(accounts); err != nil {
		return nil, fmt.Errorf("configure accounts: %w", err)
	}
	opts.ServerName = "keyherald"
	opts.Host, opts.Port = at.host, at.port
	if at.port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	opts.DontListen = true
	opts.NoSigs = true
	opts.MaxPayload = maxPayload
	opts.AuthTimeout = authTimeout
	opts.CustomClientAuthentication = who
	opts.AlwaysEnableNonce = true
	opts.DisableJetStreamBanner = true
	if cfg.TLS != nil {
		opts.TLS, opts.TLSConfig = true, cfg.TLS.Clone()
		opts.TLSConfig.MinVersion = max(opts.TLSConfig.MinVersion, tls.VersionTLS12)
	}

	opts.JetStream = true
	opts.StoreDir = d.file(storeDir)
	opts.SyncAlways = cfg.SyncInterval == 0
	opts.SyncInterval = cfg.SyncInterval
	opts.JetStreamMaxMemory, opts.JetStreamMaxStore = noLimit, noLimit
	opts.JetStreamLimits = server.JSLimitOpts{DefaultMaxConsumers: -1} // the streams have their own, see bus.StreamConfig

	return opts, nil
}
