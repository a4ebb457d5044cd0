package embedded

import (
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
)

func testOptions(t *testing.T, cfg Config, at listen) *server.Options {
	t.Helper()
	opts, err := options(cfg, at, &directory{path: filepath.Join("d", "nats")}, &door{})
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestN_EmbeddedSettings(t *testing.T) {
	opts := testOptions(t, Config{}, listen{"127.0.0.1", 4222})
	for what, ok := range map[string]bool{
		"every write is synced":                   opts.SyncAlways,
		"the store is in the data directory":      opts.StoreDir == filepath.Join("d", "nats", "store"),
		"signals are the program's business":      opts.NoSigs,
		"consumers are not capped by the server":  opts.JetStreamLimits.DefaultMaxConsumers == -1,
		"no byte limit is computed at the start":  opts.JetStreamMaxStore == noLimit && opts.JetStreamMaxMemory == noLimit,
		"it listens where it was told":            opts.Host == "127.0.0.1" && opts.Port == 4222,
		"nobody is let in without a credential":   opts.NoAuthUser == "" && opts.DefaultSentinel == "" && len(opts.Users) == 0,
		"nobody but the door lets anybody in":     opts.CustomClientAuthentication != nil && len(opts.Nkeys) == 0 && opts.AlwaysEnableNonce,
		"the system account is another one":       opts.SystemAccount == "SYS" && !opts.NoSystemAccount,
		"there is no MQTT":                        opts.MQTT.Port == 0,
		"there is no WebSocket":                   opts.Websocket.Port == 0,
		"there are no leaf nodes":                 opts.LeafNode.Port == 0 && len(opts.LeafNode.Remotes) == 0,
		"there is no cluster and no gateway":      opts.Cluster.Port == 0 && opts.Gateway.Port == 0 && len(opts.Routes) == 0,
		"there is no monitoring and no profiling": opts.HTTPPort == 0 && opts.HTTPSPort == 0 && opts.ProfPort == 0,
		"a record fits into a message":            opts.MaxPayload > bus.StreamConfig(bus.Keys, 1).MaxMsgSize,
		"there is no TLS unless configured":       opts.TLSConfig == nil,
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

func TestTLSSettingsAreACopyAndNotOlderThan12(t *testing.T) {
	given := &tls.Config{MinVersion: tls.VersionTLS10}
	opts := testOptions(t, Config{TLS: given}, listen{"127.0.0.1", 0})
	if opts.TLSConfig == given || given.MinVersion != tls.VersionTLS10 {
		t.Error("the caller's settings were changed")
	}
	if opts.TLSConfig.MinVersion != tls.VersionTLS12 || opts.AllowNonTLS {
		t.Errorf("TLS from version %x, without it: %t", opts.TLSConfig.MinVersion, opts.AllowNonTLS)
	}
	if opts.Port != server.RANDOM_PORT {
		t.Errorf("port 0 became %d", opts.Port)
	}
}

func TestSyncIntervalTurnsSyncAlwaysOff(t *testing.T) {
	opts := testOptions(t, Config{SyncInterval: time.Minute}, listen{"127.0.0.1", 0})
	if opts.SyncAlways || opts.SyncInterval != time.Minute {
		t.Errorf("sync always %t, interval %s", opts.SyncAlways, opts.SyncInterval)
	}
}
