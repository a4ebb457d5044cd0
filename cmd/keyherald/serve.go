package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/registry"
)

type serveCmd struct {
	Data       string `help:"Data directory: NATS store, NATS credentials. Made at the first start." default:"data" placeholder:"DIR" type:"path"`
	HTTP       string `name:"http" help:"Address of the token service." default:"127.0.0.1:8080" placeholder:"ADDR"`
	NATSListen string `name:"nats-listen" help:"Address of the embedded NATS server, for verifiers and the nats CLI." default:"127.0.0.1:4222" placeholder:"ADDR"`
	Issuer     string `help:"URL of the token service, the iss of its tokens. Default: http:// and the address of --http." placeholder:"URL"`

	NATS          string `name:"nats" help:"NATS server to use instead of the embedded one." placeholder:"URL"`
	Nkey          string `help:"File with the nkey seed of the role issuer for --nats." placeholder:"FILE" type:"path"`
	Creds         string `help:"File with the credentials of the role issuer for --nats." placeholder:"FILE" type:"path"`
	RegistryNkey  string `help:"File with the nkey seed of the role operator for --nats: makes the platform's record if it is missing." placeholder:"FILE" type:"path"`
	RegistryCreds string `help:"File with the credentials of the role operator for --nats." placeholder:"FILE" type:"path"`

	MaxStaleness time.Duration `help:"How old the live key set may be for the token service to answer." default:"1h"`
}

// startTimeout bounds the start; reading a large store takes a while.
const startTimeout = 2 * time.Minute

// stopTimeout is what requests that are being answered get when the process stops.
const stopTimeout = 10 * time.Second

func (c *serveCmd) Run(a *app) error {
	if c.Issuer == "" {
		c.Issuer = "http://" + c.HTTP
	}
	if err := events.CheckIssuerURL("--issuer", c.Issuer); err != nil {
		return &exitError{exitUsage, err}
	}
	listener, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return fmt.Errorf("listening for HTTP: %w (is another keyherald serve running? choose another address with --http)", err)
	}
	defer listener.Close()
	start, cancel := context.WithTimeout(a.ctx, startTimeout)
	defer cancel()
	at, stopBus, err := c.openBus(start, a)
	if err != nil {
		return err
	}
	defer stopBus()
	first, err := c.prepare(start, a, at)
	if err != nil {
		return err
	}
	conn, err := bus.Connect(start, at.issuer)
	if err != nil {
		return err
	}
	defer conn.Close()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	clients := conn.FollowClients(a.log)
	defer clients.Close()
	if err := errors.Join(keys.Wait(start), clients.Wait(start)); err != nil {
		return err
	}
	node, err := issuer.New(issuer.Config{
		Issuer: c.Issuer, Keys: keys, Clients: clients, Leases: publishLeases(conn), Assertions: assertions{conn},
		MaxStaleness: c.MaxStaleness, Logger: a.log,
	})
	if err != nil {
		return err
	}
	c.greet(a, at, first)
	return c.serve(a, node, listener)
}

// addresses is how to connect to the bus in each role.
type addresses struct {
	issuer   bus.Config
	operator *bus.Config // nil: this process may not register anybody
	local    bool        // the embedded server
	// verifierInbox is the inbox prefix of the embedded server's verifiers.
	verifierInbox string
}

// openBus starts the embedded server, or uses the one that the flags name.
func (c *serveCmd) openBus(ctx context.Context, a *app) (addresses, func(), error) {
	if c.NATS != "" {
		at := addresses{issuer: bus.Config{URL: c.NATS, SeedFile: c.Nkey, CredsFile: c.Creds, Name: "keyherald issuer", Logger: a.log}}
		if c.RegistryNkey != "" || c.RegistryCreds != "" {
			at.operator = &bus.Config{URL: c.NATS, SeedFile: c.RegistryNkey, CredsFile: c.RegistryCreds, Name: "keyherald registry", Logger: a.log}
		}
		return at, func() {}, nil
	}
	if c.Nkey != "" || c.Creds != "" || c.RegistryNkey != "" || c.RegistryCreds != "" {
		return addresses{}, nil, &exitError{exitUsage, errors.New("credentials are for --nats; the embedded server makes its own")}
	}
	server, err := embedded.Start(ctx, embedded.Config{Dir: c.Data, Listen: c.NATSListen, Logger: quiet(a.log)})
	if err != nil {
		return addresses{}, nil, err
	}
	at := addresses{
		issuer:   bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Issuer), Name: "keyherald issuer", Logger: a.log},
		operator: &bus.Config{URL: server.URL(), SeedFile: server.KeyFile(bus.Operator), Name: "keyherald registry", Logger: a.log},
		local:    true, verifierInbox: server.InboxPrefix(bus.Verifier),
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

// prepare makes the platform's record and the first admin, if they are not there, and tells whether they were made.
func (c *serveCmd) prepare(ctx context.Context, a *app, at addresses) (first bool, err error) {
	if at.operator == nil {
		return false, nil
	}
	conn, err := bus.Connect(ctx, *at.operator)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	if err := keys.Wait(ctx); err != nil {
		return false, err
	}
	reg, err := registry.New(registry.Config{Store: conn, Keys: keys, Logger: a.log})
	if err != nil {
		return false, err
	}
	caller := registry.Caller{Name: "serve"}
	platform, err := reg.EnsurePlatform(ctx, caller, c.Issuer)
	if err != nil {
		return false, err
	}
	if !at.local {
		return false, nil
	}
	if err := writeAddress(c.Data, address{NATS: at.operator.URL, Issuer: c.Issuer, HTTP: c.HTTP}); err != nil {
		return false, err
	}
	return makeAdmin(ctx, reg, caller, keys.Keys(), c.adminFile(), platform.Account)
}

func (c *serveCmd) adminFile() string { return filepath.Join(c.Data, "admin.key") }

// greet says what runs where, and what to do next.
func (c *serveCmd) greet(a *app, at addresses, first bool) {
	fmt.Fprintf(a.err, "keyherald: token service at %s (issuer %s)\n", "http://"+c.HTTP, c.Issuer)
	if !at.local {
		fmt.Fprintf(a.err, "keyherald: on NATS at %s\n", at.issuer.URL)
		return
	}
	fmt.Fprintf(a.err, "keyherald: NATS with the live keys at %s, data in %s\n", at.issuer.URL, c.Data)
	if first {
		fmt.Fprintf(a.err, "keyherald: first start: the admin's access key is in %s\n", c.adminFile())
	}
	fmt.Fprintf(a.err, `keyherald: next, in another terminal:
  export KEYHERALD_DATA=%[1]s KEYHERALD_ISSUER=%[2]s
  keyherald client create orders --scope "billing:read" --audience https://billing --offline
  keyherald key add orders > orders.key
  keyherald token mint --key-file orders.key --audience https://billing | keyherald token verify --audience https://billing
and with the nats CLI, as operator and as verifier:
  nats --server %[3]s --nkey %[1]s/nats/operator.nk kv ls KEYS
  nats --server %[3]s --nkey %[1]s/nats/verifier.nk --inbox-prefix %[4]s kv get KEYS issuer.orders
`, c.Data, c.Issuer, at.issuer.URL, at.verifierInbox)
}

// serve answers until the process is told to stop or something fails.
func (c *serveCmd) serve(a *app, node *issuer.Node, listener net.Listener) error {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	server := &http.Server{
		Handler:           node.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	failed := make(chan error, 2)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := node.Run(ctx); err != nil && ctx.Err() == nil {
			failed <- fmt.Errorf("token service: %w", err)
		}
	}()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("http: %w", err)
		}
	}()
	var err error
	select {
	case <-a.ctx.Done():
		fmt.Fprintln(a.err, "keyherald: stopping")
	case err = <-failed:
	}
	// Requests first, then the lease: its end is that of the last token.
	stop, stopCancel := context.WithTimeout(context.WithoutCancel(a.ctx), stopTimeout)
	defer stopCancel()
	if err := server.Shutdown(stop); err != nil {
		a.log.Warn().Err(err).Msg("stopping http")
	}
	cancel()
	<-stopped
	return err
}
