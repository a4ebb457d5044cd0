package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type clientCmd struct {
	Create  clientCreateCmd  `cmd:"" help:"Register a client. Prints its name and nothing else."`
	List    clientListCmd    `cmd:"" help:"List the clients."`
	Show    clientShowCmd    `cmd:"" help:"Show a client's record, as JSON."`
	Update  clientUpdateCmd  `cmd:"" help:"Change what a client may do. What is not named stays."`
	Disable clientDisableCmd `cmd:"" help:"Refuse a client's tokens, everywhere and at once, also those that are out."`
	Enable  clientEnableCmd  `cmd:"" help:"Accept a client's tokens again: those issued from now on."`
}

// grants are what a client may do.
type grants struct {
	Scope       *string        `help:"Upper bound of the scope of its tokens, values separated by spaces." placeholder:"SCOPE"`
	Audience    []string       `help:"Audience its tokens may carry, such as the URL of a service; may be repeated." placeholder:"AUD" sep:"none"`
	Resource    []string       `help:"Audience that this client is; may be repeated." placeholder:"AUD" sep:"none"`
	Offline     *bool          `help:"Whether it may mint its own tokens. Needs an audience." negatable:""`
	MaxTokenTTL *time.Duration `name:"max-token-ttl" help:"Longest life of its tokens, at most 24h. Default: 1h (24h for offline clients named sc_…)." placeholder:"DURATION"`
}

func (g grants) scope() (*events.Scope, error) {
	if g.Scope == nil {
		return nil, nil
	}
	scope, err := events.ParseScope(*g.Scope)
	if err != nil {
		return nil, usage("--scope: %w", err)
	}
	return &scope, nil
}

type clientCreateCmd struct {
	reach
	grants
	Name events.Name `arg:"" optional:"" help:"Name of the client. Without it: sc_ and random characters."`
}

func (c *clientCreateCmd) Run(ctx context.Context, a *app) error {
	scope, err := c.scope()
	if err != nil {
		return err
	}
	spec := registry.ClientSpec{Audience: c.Audience, Resource: c.Resource}
	if scope != nil {
		spec.Scope = *scope
	}
	if c.Offline != nil {
		spec.Offline = *c.Offline
	}
	if c.MaxTokenTTL != nil {
		spec.MaxTokenTTL = *c.MaxTokenTTL
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		client, err := o.CreateClient(ctx, a.caller, c.Name, spec)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, client.Name)
		fmt.Fprintf(a.err, "registered client %s at revision %d; next: keyherald key add %[1]s\n", client.Name, client.Revision)
		return nil
	})
}

// clientReport is a client in the output of --json. It is an interface: members are added, not changed.
type clientReport struct {
	Name        events.Name   `json:"name"`
	Status      events.Status `json:"status"`
	Issuer      string        `json:"iss"` // of its offline tokens
	Scope       string        `json:"scope"`
	Audience    []string      `json:"aud"`
	Resource    []string      `json:"resource,omitempty"`
	Offline     bool          `json:"offline"`
	MaxTokenTTL int64         `json:"max_token_ttl"` // seconds
	NotBefore   int64         `json:"not_before,omitempty"`
	Keys        int           `json:"keys"`                  // active or retiring
	RequireJTI  bool          `json:"require_jti,omitempty"` // in client show only
	Revision    uint64        `json:"revision"`
}

func report(set *events.Set, e *events.IssuerEntry, now time.Time) clientReport {
	r := clientReport{
		Name: e.Name, Status: e.Record.Status, Issuer: set.URL(e), Scope: e.Record.Scope.String(), Audience: e.Record.Audience, Resource: e.Record.Resource,
		Offline: e.Record.Offline, MaxTokenTTL: int64(e.Record.TokenTTL() / time.Second), NotBefore: e.Record.NotBefore, Revision: e.Revision,
	}
	for _, key := range set.Keys(e.Name) {
		if key.State(now).Usable() {
			r.Keys++
		}
	}
	return r
}

type clientListCmd struct {
	reach
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *clientListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		clients, err := o.Clients(ctx)
		if err != nil {
			return err
		}
		reports := []clientReport{}
		for _, e := range clients {
			reports = append(reports, report(o.keys.Keys(), e, time.Now()))
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "NAME", "STATUS", "KEYS", "OFFLINE", "SCOPE", "AUDIENCE")
		for _, r := range reports {
			t.row(string(r.Name), string(r.Status), fmt.Sprint(r.Keys), yesNo(r.Offline), printable(r.Scope), printable(strings.Join(r.Audience, " ")))
		}
		return t.flush()
	})
}

type clientShowCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the client."`
}

func (c *clientShowCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		e, err := o.Client(ctx, c.Name)
		if err != nil {
			return err
		}
		r := report(o.keys.Keys(), e, time.Now())
		if r.RequireJTI, err = o.RequiresJTI(ctx, c.Name); err != nil {
			return err
		}
		return printJSON(a.out, r)
	})
}

type clientUpdateCmd struct {
	reach
	grants
	RequireJTI *bool       `name:"require-jti" help:"Whether the assertions that it sends as a grant must have a jti, and so are used once." negatable:""`
	Name       events.Name `arg:"" help:"Name of the client."`
}

func (c *clientUpdateCmd) Run(ctx context.Context, a *app) error {
	scope, err := c.scope()
	if err != nil {
		return err
	}
	update := registry.ClientUpdate{Scope: scope, Offline: c.Offline, MaxTokenTTL: c.MaxTokenTTL}
	if c.Audience != nil {
		update.Audience = &c.Audience
	}
	if c.Resource != nil {
		update.Resource = &c.Resource
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		if c.RequireJTI != nil {
			if err := o.RequireJTI(ctx, a.caller, c.Name, *c.RequireJTI); err != nil {
				return err
			}
			if update == (registry.ClientUpdate{}) {
				fmt.Fprintf(a.err, "updated client %s\n", c.Name)
				return nil
			}
		}
		client, err := o.UpdateClient(ctx, a.caller, c.Name, update)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "updated client %s at revision %d\n", client.Name, client.Revision)
		return nil
	})
}

type clientDisableCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the client."`
}

func (c *clientDisableCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		client, err := o.DisableClient(ctx, a.caller, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "disabled client %s at revision %d: its tokens are refused\n", client.Name, client.Revision)
		return nil
	})
}

type clientEnableCmd struct {
	reach
	Name events.Name `arg:"" help:"Name of the client."`
}

func (c *clientEnableCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		client, err := o.EnableClient(ctx, a.caller, c.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "enabled client %s at revision %d: tokens issued from now on are accepted\n", client.Name, client.Revision)
		return nil
	})
}
