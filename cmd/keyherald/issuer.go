package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type issuerCmd struct {
	Add     issuerAddCmd     `cmd:"" help:"Register an external issuer. Prints its name and nothing else."`
	List    issuerListCmd    `cmd:"" help:"List the external issuers, and when their keys were refreshed last."`
	Show    issuerShowCmd    `cmd:"" help:"Show an external issuer's record, as JSON."`
	Update  issuerUpdateCmd  `cmd:"" help:"Change what an external issuer may do, or where its keys are. What is not named stays."`
	Refresh issuerRefreshCmd `cmd:"" help:"Have an external issuer's keys fetched now, by the node that does it, and wait for it."`
	Disable issuerDisableCmd `cmd:"" help:"Refuse an external issuer's tokens, everywhere and at once."`
	Enable  issuerEnableCmd  `cmd:"" help:"Accept an external issuer's tokens again: those issued from now on."`
}

type issuerAddCmd struct {
	reach
	fetching
	Iss      string      `help:"The iss of its tokens, byte by byte." required:"" placeholder:"URL"`
	Use      []string    `help:"What its tokens are good for: access_token (verifiers accept them), assertion (the token endpoint does); may be repeated." required:"" enum:"access_token,assertion" placeholder:"USE" sep:"none"`
	Audience []string    `help:"Audience its tokens may carry; may be repeated. Required for access_token." placeholder:"AUD" sep:"none"`
	Scope    string      `help:"Upper bound of the scope of its tokens." placeholder:"SCOPE"`
	JWKSURI  string      `name:"jwks-uri" help:"Where its keys are published. Default: where the issuer says, which is asked once, from here." placeholder:"URL" xor:"keys"`
	ByHand   bool        `name:"no-discovery" help:"Do not ask: its keys are registered by hand." xor:"keys"`
	Name     events.Name `arg:"" help:"Name of the issuer's record."`
}

// findKeys asks the issuer where its keys are, unless that was said.
func (c *issuerAddCmd) findKeys(ctx context.Context, a *app) error {
	if c.JWKSURI != "" || c.ByHand {
		return nil
	}
	fetcher, err := c.fetcher()
	if err != nil {
		return err
	}
	found, err := fetcher.Discover(ctx, c.Iss)
	if err != nil {
		return &hinted{err, "say where its keys are with --jwks-uri, or register them by hand with --no-discovery and key add"}
	}
	c.JWKSURI = found.JWKSURI
	fmt.Fprintf(a.err, "found its keys at %s, as %s says\n", printable(found.JWKSURI), found.From)
	return nil
}

func (c *issuerAddCmd) Run(ctx context.Context, a *app) error {
	scope, err := events.ParseScope(c.Scope)
	if err != nil {
		return usage("--scope: %w", err)
	}
	if err := c.findKeys(ctx, a); err != nil {
		return err
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.AddIssuer(ctx, a.caller, c.Name, registry.IssuerSpec{
			Iss: c.Iss, Use: c.Use, Audience: c.Audience, Scope: scope, JWKSURI: c.JWKSURI,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, e.Name)
		fmt.Fprintf(a.err, "registered issuer %s at revision %d; its keys are records key.%[1]s.<kid>\n", e.Name, e.Revision)
		return nil
	})
}

// externalReport is an external issuer in the output of --json. It is an interface: members are added, not changed.
type externalReport struct {
	Name     events.Name   `json:"name"`
	Status   events.Status `json:"status"`
	Iss      string        `json:"iss"`
	Use      []string      `json:"use"`
	Audience []string      `json:"aud"`
	Scope    string        `json:"scope"`
	JWKSURI  string        `json:"jwks_uri,omitempty"`
	Keys     int           `json:"keys"`
	Revision uint64        `json:"revision"`

	Refresh *refreshReport `json:"refresh,omitempty"`
}

func reportExternal(ctx context.Context, o office, e *events.IssuerEntry) (externalReport, error) {
	r := externalReport{
		Name: e.Name, Status: e.Record.Status, Iss: e.Record.Iss, Use: e.Record.Use, Audience: e.Record.Audience,
		Scope: e.Record.Scope.String(), JWKSURI: e.Record.JWKSURI, Keys: len(o.keys.Keys().Keys(e.Name)), Revision: e.Revision,
	}
	if r.JWKSURI == "" {
		return r, nil
	}
	var err error
	r.Refresh, err = lastRefresh(ctx, o, e.Name)
	return r, err
}

type issuerListCmd struct {
	reach
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *issuerListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		issuers, err := o.Issuers(ctx)
		if err != nil {
			return err
		}
		reports := []externalReport{}
		for _, e := range issuers {
			r, err := reportExternal(ctx, o, e)
			if err != nil {
				return err
			}
			reports = append(reports, r)
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "NAME", "STATUS", "KEYS", "REFRESHED", "USE", "ISS", "JWKS_URI")
		for _, r := range reports {
			refreshed := "by hand"
			if r.JWKSURI != "" {
				refreshed = r.Refresh.brief(time.Now())
			}
			t.row(string(r.Name), string(r.Status), fmt.Sprint(r.Keys), refreshed, strings.Join(r.Use, " "), printable(r.Iss), printable(r.JWKSURI))
		}
		return t.flush()
	})
}

type issuerShowCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the issuer's record."`
}

func (c *issuerShowCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.Issuer(ctx, c.Name)
		if err != nil {
			return err
		}
		r, err := reportExternal(ctx, o, e)
		if err != nil {
			return err
		}
		return printJSON(a.out, r)
	})
}

type issuerDisableCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the issuer's record."`
}

func (c *issuerDisableCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.DisableIssuer(ctx, a.caller, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "disabled issuer %s at revision %d: its tokens are refused\n", e.Name, e.Revision)
		return nil
	})
}

type issuerEnableCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the issuer's record."`
}

func (c *issuerEnableCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.EnableIssuer(ctx, a.caller, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "enabled issuer %s at revision %d\n", e.Name, e.Revision)
		return nil
	})
}
