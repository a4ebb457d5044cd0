package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/refresh"
)

// refreshReport is how the refresh of an issuer's keys went last, in the output of --json.
type refreshReport struct {
	Success *time.Time `json:"success,omitempty"`
	Failure *time.Time `json:"failure,omitempty"`
	Error   string     `json:"error,omitempty"` // of the failure; none if it has succeeded since
	Next    *time.Time `json:"next,omitempty"`
	Keys    int        `json:"keys"` // that it published
}

// lastRefresh is nil if nobody has ever refreshed the issuer's keys.
func lastRefresh(ctx context.Context, o office, name events.Name) (*refreshReport, error) {
	s, _, err := refresh.ReadState(ctx, o.conn, name)
	if errors.Is(err, bus.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at := func(seconds int64) *time.Time {
		if seconds == 0 {
			return nil
		}
		t := time.Unix(seconds, 0).UTC()
		return &t
	}
	return &refreshReport{at(s.Success), at(s.Failure), s.Error, at(s.Next), s.Keys}, nil
}

// brief is the report in a word.
func (r *refreshReport) brief(now time.Time) string {
	switch {
	case r == nil:
		return "never"
	case r.Error != "" && r.Failure != nil:
		return "FAILED " + ago(now, *r.Failure)
	case r.Success != nil:
		return ago(now, *r.Success)
	}
	return "never"
}

func ago(now, t time.Time) string {
	return max(now.Sub(t), 0).Truncate(time.Second).String() + " ago"
}

type issuerRefreshCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the issuer's record."`
}

// refreshLook is how often it is looked whether the node that refreshes has done it.
const refreshLook = 100 * time.Millisecond

func (c *issuerRefreshCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.Issuer(ctx, c.Name)
		if err != nil {
			return err
		}
		if e.Record.JWKSURI == "" || e.Record.Status != events.Active {
			return &hinted{fmt.Errorf("issuer %s is %s and has jwks_uri %q: there is nothing to refresh", e.Name, e.Record.Status, e.Record.JWKSURI),
				"enable it with issuer enable, or say where its keys are with issuer update --jwks-uri"}
		}
		_, before, err := refresh.ReadState(ctx, o.conn, c.Name)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		if err := o.conn.ReportUnknownKey(c.Name, ""); err != nil {
			return err
		}
		s, err := refreshed(ctx, o, c.Name, before)
		if err != nil {
			return err
		}
		if s.Error != "" {
			return fmt.Errorf("the keys of issuer %s were not refreshed, those that are known stay: %s", c.Name, printable(s.Error))
		}
		fmt.Fprintf(a.err, "refreshed issuer %s: it publishes %s\n", c.Name, count(s.Keys, "usable key"))
		return nil
	})
}

// refreshed waits for the state that follows the one of the given revision.
func refreshed(ctx context.Context, o office, name events.Name, before uint64) (refresh.State, error) {
	look := time.NewTicker(refreshLook)
	defer look.Stop()
	for {
		s, revision, err := refresh.ReadState(ctx, o.conn, name)
		switch {
		case err == nil && revision > before:
			return s, nil
		case err != nil && !errors.Is(err, bus.ErrNotFound) && ctx.Err() == nil:
			return s, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return s, &hinted{fmt.Errorf("asked for a refresh of issuer %s, and nobody has done it yet", name),
				"is a keyherald serve with an operator's credential running? An issuer that is asked for often is fetched once in ten seconds"}
		}
	}
}

type issuerUpdateCmd struct {
	reach
	Use         []string       `help:"What its tokens are good for, in place of what was: access_token, assertion; may be repeated." enum:"access_token,assertion" placeholder:"USE" sep:"none"`
	Audience    []string       `help:"Audience its tokens may carry, in place of those that were; may be repeated." placeholder:"AUD" sep:"none"`
	Scope       *string        `help:"Upper bound of the scope of its tokens." placeholder:"SCOPE"`
	JWKSURI     *string        `name:"jwks-uri" help:"Where its keys are published; empty: they are registered by hand from now on." placeholder:"URL"`
	MaxTokenTTL *time.Duration `name:"max-token-ttl" help:"Longest life of its tokens; 0: an hour." placeholder:"DURATION"`
	Name        events.Name    `arg:"" help:"Name of the issuer's record."`
}

func (c *issuerUpdateCmd) Run(ctx context.Context, a *app) error {
	update := registry.IssuerUpdate{JWKSURI: c.JWKSURI, MaxTokenTTL: c.MaxTokenTTL}
	if c.Scope != nil {
		scope, err := events.ParseScope(*c.Scope)
		if err != nil {
			return usage("--scope: %w", err)
		}
		update.Scope = &scope
	}
	if c.Audience != nil {
		update.Audience = &c.Audience
	}
	if c.Use != nil {
		update.Use = &c.Use
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.UpdateIssuer(ctx, a.caller, c.Name, update)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "updated issuer %s at revision %d\n", e.Name, e.Revision)
		return nil
	})
}
