package main

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/refresh"
)

// fetching says which identity providers may be asked for what they publish.
type fetching struct {
	JWKSAllow []netip.Prefix `name:"jwks-allow" help:"Addresses, beside public ones, that an external issuer's keys may be fetched from, such as those of a Kubernetes API server; may be repeated." placeholder:"CIDR"`
	JWKSCA    string         `name:"jwks-ca" help:"File with certificates (PEM) of authorities, beside the system's, that external issuers may have." placeholder:"FILE" type:"path"`
}

func (f fetching) fetcher() (*refresh.Fetcher, error) {
	cfg := refresh.FetcherConfig{AllowTarget: func(addr netip.Addr) bool {
		return slices.ContainsFunc(f.JWKSAllow, func(p netip.Prefix) bool { return p.Contains(addr) })
	}}
	if f.JWKSCA != "" {
		text, err := os.ReadFile(f.JWKSCA)
		if err != nil {
			return nil, fmt.Errorf("--jwks-ca: %w", err)
		}
		if cfg.Roots, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
		if !cfg.Roots.AppendCertsFromPEM(text) {
			return nil, usage("--jwks-ca %s has no certificate in PEM", f.JWKSCA)
		}
	}
	return refresh.NewFetcher(cfg), nil
}

// refreshTask keeps the keys of external issuers fresh, if this process may write records.
func (c *serveCmd) refreshTask(a *app, o *office, metrics prometheus.Registerer) ([]task, error) {
	fetcher, err := c.fetcher()
	if err != nil || o == nil {
		return nil, err
	}
	r, err := refresh.New(refresh.Config{
		Store: o.conn, Registry: o.Registry, Keys: o.keys, Fetcher: fetcher, Caller: registry.Caller{Name: "refresh"},
		Reports: o.conn.OnUnknownKey, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	return []task{{"key refresh", r.Run}}, metrics.Register(newRefreshMetrics(r.Status))
}
