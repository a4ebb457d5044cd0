package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

type serveCmd struct {
	Data       string `help:"Data directory: NATS store, NATS credentials, the first admin's access key. Made at the first start." default:"data" placeholder:"DIR" type:"path"`
	HTTP       string `name:"http" help:"Address of the token service." default:"127.0.0.1:8080" placeholder:"ADDR"`
	NATSListen string `name:"nats-listen" help:"Address of the embedded NATS server, for verifiers and the nats CLI. Other than loopback it needs --nats-tls-cert." default:"127.0.0.1:4222" placeholder:"ADDR"`
	Issuer     string `help:"URL of the token service, the iss of its tokens. Default: the address of --http after http:// or, with --tls-cert, https://." placeholder:"URL"`
	edgeFlags

	NATS          string `name:"nats" help:"NATS server to use instead of the embedded one." placeholder:"URL"`
	Nkey          string `help:"File with the nkey seed of the role issuer for --nats." placeholder:"FILE" type:"path" xor:"issuer"`
	Creds         string `help:"File with the credentials (user JWT and seed) of the role issuer for --nats." placeholder:"FILE" type:"path" xor:"issuer"`
	RegistryNkey  string `help:"File with the nkey seed of the role operator for --nats: makes the platform's record if it is missing, and the first admin, whose access key goes to DIR/admin.key; serves the admin API; keeps external issuers' keys fresh." placeholder:"FILE" type:"path" xor:"operator"`
	RegistryCreds string `help:"File with the credentials of the role operator for --nats." placeholder:"FILE" type:"path" xor:"operator"`
	natsTLSFlags

	nodeFlags
	fetching

	MaxStaleness time.Duration `help:"How old the live key set may be for the token service to answer; negative: of any age." default:"1h" placeholder:"DURATION"`
}

// startTimeout bounds the start; reading a large store takes a while.
const startTimeout = 2 * time.Minute

// stopTimeout is what requests that are being answered get when the process stops.
const stopTimeout = 10 * time.Second

func (c *serveCmd) Run(ctx context.Context, a *app) error {
	err := c.run(ctx, a)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) { // told to stop while it was starting
		return nil
	}
	return err
}

func (c *serveCmd) run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	start, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &service{app: a, cmd: c}
	defer s.close()
	if err := s.open(start); err != nil {
		return err
	}
	c.greet(a, s.at, s.listener.Addr(), s.first)
	return s.run(ctx)
}

// check checks the flags that depend on each other, and resolves the issuer's URL.
func (c *serveCmd) check() error {
	if c.NATS == "" && (c.Nkey != "" || c.Creds != "" || c.RegistryNkey != "" || c.RegistryCreds != "") {
		return usage("--nkey, --creds, --registry-nkey and --registry-creds go with --nats: the embedded server makes its own credentials")
	}
	if err := c.natsTLSFlags.check(c.NATS); err != nil {
		return err
	}
	if err := checkStaleness(c.MaxStaleness); err != nil {
		return err
	}
	if c.Issuer != "" {
		if err := events.CheckIssuerURL("--issuer", c.Issuer); err != nil {
			return &exitError{exitUsage, err}
		}
		return c.checkEdge(c.Issuer)
	}
	_, port, err := net.SplitHostPort(c.HTTP)
	if err != nil {
		return usage("--http %q is not host:port: %w", c.HTTP, err)
	}
	c.Issuer = c.scheme() + "://" + c.HTTP
	if err := events.CheckIssuerURL("URL", c.Issuer); err != nil || port == "0" {
		return usage("--http %q cannot be the URL of the token service, which is in every token and stays for good: give that URL with --issuer", c.HTTP)
	}
	return c.checkEdge(c.Issuer)
}

// checkPlatform returns why this node cannot work with the records that it found.
func checkPlatform(set *events.Set, issuer string) error {
	platform := set.Platform()
	switch {
	case platform == nil:
		return &hinted{errors.New("there is no record of the platform on this NATS yet"),
			"start once with an operator's credential (--registry-nkey or --registry-creds), which makes it"}
	case platform.Record.Iss != issuer:
		return &hinted{fmt.Errorf("this registry was made for the issuer %s, not for %s", platform.Record.Iss, issuer),
			"start with --issuer " + platform.Record.Iss + ", or on another NATS account"}
	}
	return nil
}

// journalBacklog is how many changes may wait to be logged.
const journalBacklog = 1 << 14

// journal logs every change of the records as it is applied, until the key set is closed. What other processes write, and the nats
// command, is so in this node's audit log, too. Rejected records the key set logs itself.
func journal(keys *bus.KeySet, log zerolog.Logger) {
	for {
		changes := keys.Subscribe(journalBacklog)
		for change := range changes.C() {
			if change.Event == events.RecordRejected {
				continue
			}
			line := log.Info().Str("event", string(change.Event)).Str("name", change.Name).Uint64("revision", change.Revision).Str("caller", change.Caller)
			if change.Reason != "" {
				line = line.Str("reason", change.Reason)
			}
			line.Msg("change")
		}
		if !changes.Slow() {
			return
		}
		log.Warn().Msg("more changes came than could be logged: see keyherald status for what is now")
	}
}
