package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer/peer"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/gate"
	"github.com/keyherald/keyherald/verifier/metrics"
)

type gateCmd struct {
	Audience        string        `help:"What the services behind the proxy are called in the aud of tokens." required:"" placeholder:"AUDIENCE"`
	Scope           []string      `help:"Scope that a token must have at /verify; may be repeated, in the variable with spaces. Default: none." placeholder:"SCOPE" sep:"none"`
	Policy          []string      `help:"What a token must have at /verify/NAME and /ext_authz/NAME/, as NAME=scope:SCOPE,audience:AUDIENCE, or NAME=any; may be repeated, in the variable with semicolons." placeholder:"POLICY" sep:"none"`
	AccountAudience bool          `help:"Also accept tokens for the account's audience, as SDKs of Authress mint them."`
	External        []events.Name `help:"External issuer whose access tokens are accepted; may be repeated." placeholder:"NAME" sep:"none"`
	MaxStaleness    time.Duration `help:"How old the live key set may be; negative: of any age." default:"1h" placeholder:"DURATION"`
	Snapshot        string        `help:"File that keeps the last complete key set, to start from while NATS is not there." placeholder:"FILE"`

	Listen       string `help:"Where the proxy asks: host:port, or unix:PATH of a socket." default:"127.0.0.1:9180" placeholder:"ADDR"`
	SocketMode   string `help:"Permissions of the socket." default:"0660" placeholder:"MODE"`
	HeaderPrefix string `help:"What the names of the headers that say who calls begin with." default:"X-Auth-" placeholder:"PREFIX"`
	TokenCookie  string `help:"Cookie from which tokens are also taken; then the services must do something against forged requests (CSRF)." placeholder:"NAME"`
	TokenQuery   bool   `help:"Also take tokens from the query of the client's request, as access_token; they get into logs there."`

	TrustedProxy     []string `help:"Address or network of a proxy whose X-Forwarded-For is believed; may be repeated. What comes by a unix socket comes from 127.0.0.1." placeholder:"CIDR"`
	ClientCertHeader string   `help:"Header in which such a proxy hands on the certificate that a client showed it, and which it removes from what clients send: as RFC 9440 has it, or as PEM in URL encoding." placeholder:"NAME"`

	place
}

func (c *gateCmd) Run(ctx context.Context, a *app) error {
	err := c.run(ctx, a)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) { // told to stop
		return nil
	}
	return err
}

func (c *gateCmd) run(ctx context.Context, a *app) error {
	if err := checkStaleness(c.MaxStaleness); err != nil {
		return err
	}
	if c.Audience == "" {
		return usage("--audience is empty: say what the services behind the proxy are called in the aud of tokens")
	}
	late := &lateVerifier{}
	registry, ours := newMetrics()
	ours.MustRegister(metrics.NewCollector(late))
	cfg := gate.Config{
		Verifier: late, HeaderPrefix: c.HeaderPrefix, Query: c.TokenQuery, Cookie: c.TokenCookie, Certificate: clientCertificate,
		Registerer: ours, Logger: a.log,
	}
	var err error
	if cfg.Policies, err = c.policies(); err != nil {
		return err
	}
	g, err := gate.New(cfg)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	handler, err := c.behind(besideMetrics(g.Handler(), metricsHandler(registry)))
	if err != nil {
		return err
	}
	listener, err := c.listen()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Policies)) {
		fmt.Fprintf(a.err, "keyherald: policy %s=%s\n", name, cfg.Policies[name])
	}
	fmt.Fprintf(a.err, "keyherald: answering at %s; stop with ctrl-c\n", listener.Addr())
	server := httpServer(a, handler)
	server.DisableGeneralOptionsHandler = true // which says 200 to OPTIONS *: that means pass
	return serveGate(ctx, a, server, listener, func(ctx context.Context) error { return c.follow(ctx, a, late) }, late.close)
}

// besideMetrics adds the metrics. It is no http.ServeMux, because that answers with a redirection to paths that are not clean, and they are
// those of a proxy's clients.
func besideMetrics(next, metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			metrics.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// policies reads --scope and --policy. They are taken apart here and not by the flags' separator, with which a value that is empty is
// the same as none: a variable that is not set must not open the gate.
func (c *gateCmd) policies() (map[string]gate.Policy, error) {
	var scopes []string
	for _, text := range c.Scope {
		if text == "" {
			return nil, usage("--scope is empty: is a variable not set? Leave it out if any token for the audience will do")
		}
		scopes = append(scopes, strings.Split(text, " ")...)
	}
	policies := map[string]gate.Policy{gate.DefaultPolicy: {Scopes: scopes}}
	for _, list := range c.Policy {
		for text := range strings.SplitSeq(list, ";") {
			name, p, err := gate.ParsePolicy(text)
			if err != nil {
				return nil, usage("--policy: %w", err)
			}
			if _, twice := policies[name]; twice {
				return nil, usage("--policy %s: there is one of this name already; %s is that of --scope", name, gate.DefaultPolicy)
			}
			policies[name] = p
		}
	}
	return policies, nil
}

// behind lets proxies say for whom they speak.
func (c *gateCmd) behind(next http.Handler) (http.Handler, error) {
	edge := edgeFlags{TrustedProxy: c.TrustedProxy, ClientCertHeader: c.ClientCertHeader}
	if err := edge.checkEdge(""); err != nil {
		return nil, err
	}
	if len(c.TrustedProxy) == 0 {
		return next, nil
	}
	proxies, err := edge.openProxies()
	if err != nil {
		return nil, err
	}
	next = proxies.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RemoteAddr == "" || r.RemoteAddr == "@" { // a unix socket: who may write to it is on this machine
			r.RemoteAddr = "127.0.0.1:0"
		}
		next.ServeHTTP(w, r)
	}), nil
}

// clientCertificate is what the client has shown to the proxy. A header that cannot be read proves nothing.
func clientCertificate(r *http.Request) *x509.Certificate {
	certs, err := peer.Certificates(r)
	if err != nil || len(certs) == 0 {
		return nil
	}
	return certs[0]
}

// verifier says how to make the verifier, with where the records are now.
func (c *gateCmd) verifier(a *app) (verifier.Config, error) {
	at, err := c.config(a, bus.Verifier)
	return verifier.Config{
		Audience: c.Audience, AccountAudience: c.AccountAudience, Externals: c.External, MaxStaleness: c.MaxStaleness, Logger: a.log,
		NATS: at.URL, SeedFile: at.SeedFile, CredsFile: at.CredsFile, CAFile: at.CAFile, ServerName: at.ServerName, Snapshot: c.Snapshot,
	}, err
}
