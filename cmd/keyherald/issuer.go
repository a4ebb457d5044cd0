package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type issuerCmd struct {
	Add     issuerAddCmd     `cmd:"" help:"Register an external issuer. Prints its name and nothing else."`
	List    issuerListCmd    `cmd:"" help:"List the external issuers."`
	Show    issuerShowCmd    `cmd:"" help:"Show an external issuer's record, as JSON."`
	Disable issuerDisableCmd `cmd:"" help:"Refuse an external issuer's tokens, everywhere and at once."`
	Enable  issuerEnableCmd  `cmd:"" help:"Accept an external issuer's tokens again: those issued from now on."`
}

type issuerAddCmd struct {
	reach
	Iss      string      `help:"The iss of its tokens, byte by byte." required:"" placeholder:"URL"`
	Use      []string    `help:"What its tokens are good for: access_token (verifiers accept them), assertion (the token endpoint does); may be repeated." required:"" enum:"access_token,assertion" placeholder:"USE" sep:"none"`
	Audience []string    `help:"Audience its tokens may carry; may be repeated. Required for access_token." placeholder:"AUD" sep:"none"`
	Scope    string      `help:"Upper bound of the scope of its tokens." placeholder:"SCOPE"`
	JWKSURI  string      `name:"jwks-uri" help:"Where its keys are published." placeholder:"URL"`
	Name     events.Name `arg:"" help:"Name of the issuer's record."`
}

func (c *issuerAddCmd) Run(ctx context.Context, a *app) error {
	scope, err := events.ParseScope(c.Scope)
	if err != nil {
		return usage("--scope: %w", err)
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
}

func reportExternal(set *events.Set, e *events.IssuerEntry) externalReport {
	return externalReport{
		Name: e.Name, Status: e.Record.Status, Iss: e.Record.Iss, Use: e.Record.Use, Audience: e.Record.Audience,
		Scope: e.Record.Scope.String(), JWKSURI: e.Record.JWKSURI, Keys: len(set.Keys(e.Name)), Revision: e.Revision,
	}
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
			reports = append(reports, reportExternal(o.keys.Keys(), e))
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "NAME", "STATUS", "KEYS", "USE", "ISS")
		for _, r := range reports {
			t.row(string(r.Name), string(r.Status), fmt.Sprint(r.Keys), strings.Join(r.Use, " "), printable(r.Iss))
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
		return printJSON(a.out, reportExternal(o.keys.Keys(), e))
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
