package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/registry"
)

// addresses is how to connect to the bus in each role.
type addresses struct {
	issuer   bus.Config
	operator *bus.Config // nil: this process may not register anybody
	url      string      // for people, and for verifiers elsewhere
	local    *address    // of the embedded server; nil: another one
	// unwritable is why the embedded server takes no writes, or nil.
	unwritable func() error
	// verifierInbox is the inbox prefix of the embedded server's verifiers.
	verifierInbox string
	certificate   *natsCertificate
}

// openBus starts the embedded server, or uses the one that the flags name.
func (c *serveCmd) openBus(ctx context.Context, a *app) (addresses, func(), error) {
	if c.NATS != "" {
		to := bus.Config{URL: c.NATS, SeedFile: c.Nkey, CredsFile: c.Creds, CAFile: c.NATSTLSCA, Name: "keyherald issuer", Wait: true, Logger: a.log}
		at := addresses{issuer: to, url: bus.RedactURL(c.NATS)}
		if c.RegistryNkey != "" || c.RegistryCreds != "" {
			to.SeedFile, to.CredsFile, to.Name = c.RegistryNkey, c.RegistryCreds, "keyherald registry"
			at.operator = &to
		}
		return at, func() {}, nil
	}
	certificate, err := c.natsTLSFlags.open()
	if err != nil {
		return addresses{}, nil, err
	}
	server, err := embedded.Start(ctx, embedded.Config{Dir: c.Data, Listen: c.NATSListen, TLS: certificate.config(), Logger: quiet(a.log)})
	if err != nil {
		return addresses{}, nil, err
	}
	name := certificate.nameAt(server.URL())
	at := addresses{
		issuer:   bus.Config{Server: server, SeedFile: server.KeyFile(bus.Issuer), Name: "keyherald issuer", Logger: a.log},
		operator: &bus.Config{Server: server, SeedFile: server.KeyFile(bus.Operator), Name: "keyherald registry", Logger: a.log},
		url:      publicURL(server.URL(), name),
		local: &address{
			NATS: server.URL(), NATSCA: c.NATSTLSCA, NATSName: name, Issuer: c.Issuer, HTTP: c.HTTP, SyncAlways: server.SyncAlways(),
		},
		unwritable: server.Unwritable, verifierInbox: server.InboxPrefix(bus.Verifier), certificate: certificate,
	}
	stop := func() {
		if err := server.Close(); err != nil {
			a.log.Warn().Err(err).Msg("stopping nats")
		}
	}
	return at, stop, nil
}

// quiet leaves out what the embedded server says in the normal course of things.
func quiet(log zerolog.Logger) zerolog.Logger {
	return log.Level(max(log.GetLevel(), zerolog.WarnLevel))
}

const (
	answerTime = 5 * time.Second // in which a server that decides about a bucket answers
	waitEvery  = time.Second     // between two questions, while none does
)

// connectReader connects, and asks for a bucket that only some roles may read. If cfg says so, it waits for servers that answer, and for as
// many of a cluster as it takes to decide.
func connectReader(ctx context.Context, cfg bus.Config, bucket bus.Bucket) (*bus.Conn, error) {
	conn, err := bus.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	for {
		asked, stop := context.WithTimeout(ctx, answerTime)
		_, err = conn.Source(bucket).State(asked)
		stop()
		unanswered := errors.Is(err, bus.ErrNoLeader) || errors.Is(err, context.DeadlineExceeded)
		switch {
		case err == nil:
			return conn, nil
		case !cfg.Wait || !unanswered:
			conn.Close()
			return nil, err
		}
		cfg.Logger.Warn().Err(err).Msg("waiting for nats")
		select {
		case <-time.After(waitEvery):
		case <-ctx.Done():
			conn.Close()
			return nil, err
		}
	}
}

// connectIssuer connects as a node of the token service, and asks for what only that role may read. Otherwise the feeds would
// wait for the permission, as they do when a credential is refused for a while.
func connectIssuer(ctx context.Context, cfg bus.Config) (*bus.Conn, error) {
	conn, err := connectReader(ctx, cfg, bus.Clients)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, bus.ErrPermission) {
		err = &hinted{fmt.Errorf("the token service needs a NATS credential of the role issuer: %w", err),
			"give it with --nkey or --creds; the embedded server of another serve has it in DIR/nats/issuer.nk"}
	}
	return nil, err
}

// connectOperator connects as operator, and asks for what only that role may read.
func connectOperator(ctx context.Context, cfg bus.Config) (*bus.Conn, error) {
	conn, err := connectReader(ctx, cfg, bus.Assertions)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, bus.ErrPermission) {
		err = &hinted{fmt.Errorf("the registry needs a NATS credential of the role operator: %w", err),
			"give it with --registry-nkey or --registry-creds, or none for a node that registers nobody"}
	}
	return nil, err
}

// openRegistry connects as operator and returns a registry over the set that this process has anyway, or nil if it has no operator's
// credential: a node of the token service needs no right to register anybody.
func (c *serveCmd) openRegistry(ctx context.Context, a *app, at addresses, keys *bus.KeySet) (*office, func(), error) {
	if at.operator == nil {
		return nil, func() {}, nil
	}
	conn, err := connectOperator(ctx, *at.operator)
	if err != nil {
		return nil, nil, err
	}
	reg, err := registry.New(registry.Config{Store: conn, Keys: keys, Logger: a.log})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return &office{reg, keys, conn}, conn.Close, nil
}

// prepare makes the platform's record and the first admin, if they are not there, and tells whether they were made.
func (c *serveCmd) prepare(ctx context.Context, at addresses, reg *office) (first bool, err error) {
	if reg == nil {
		return false, nil
	}
	caller := registry.Caller{Name: "serve"}
	platform, err := reg.EnsurePlatform(ctx, caller, c.Issuer)
	if err != nil {
		return false, err
	}
	if err := reg.keys.Sync(ctx); err != nil { // with the record that may have been made
		return false, err
	}
	if at.local != nil {
		if err := writeAddress(c.Data, *at.local); err != nil {
			return false, err
		}
	}
	return makeAdmin(ctx, reg.Registry, caller, reg.keys.Keys(), c.adminFile(), platform)
}

func (c *serveCmd) adminFile() string { return filepath.Join(c.Data, "admin.key") }
