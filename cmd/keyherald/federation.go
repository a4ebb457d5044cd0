package main

import (
	"context"
	"fmt"

	"github.com/keyherald/keyherald/events"
)

type federationCmd struct {
	Add    federationAddCmd    `cmd:"" help:"Let a workload that an external issuer vouches for be a client."`
	List   federationListCmd   `cmd:"" help:"List a client's federated identities."`
	Remove federationRemoveCmd `cmd:"" help:"Refuse a federated identity at once."`
}

// identity is what an external issuer says of a workload. Its flags are named like the claims: --issuer and --audience are something else
// to other commands, which may have them from the environment.
type identity struct {
	External events.Name `help:"External issuer that vouches for it; its record needs the use assertion." required:"" placeholder:"NAME"`
	Subject  string      `name:"sub" help:"The sub of its tokens, or what they begin with and a * at the end." required:"" placeholder:"SUB"`
	Audience string      `name:"aud" help:"The aud of its tokens, which must be this one alone." required:"" placeholder:"AUD"`
	Client   events.Name `arg:"" help:"Name of the client."`
}

func (i identity) record() events.Federated {
	return events.Federated{Issuer: i.External, Subject: i.Subject, Audience: i.Audience}
}

type federationAddCmd struct {
	reach
	identity
}

func (c *federationAddCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		revision, err := o.AddFederated(ctx, a.caller, c.Client, c.record())
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "%s vouches for client %s at revision %d; send its tokens as client_assertion, with client_id=%[2]s\n", c.External, c.Client, revision)
		return nil
	})
}

type federationListCmd struct {
	reach
	JSON   bool        `name:"json" help:"Print JSON."`
	Client events.Name `arg:"" help:"Name of the client."`
}

// identityReport is a federated identity in the output of --json. It is an interface: members are added, not changed.
type identityReport struct {
	Issuer   events.Name `json:"issuer"` // the name of its record
	Subject  string      `json:"sub"`
	Audience string      `json:"aud"`
}

func (c *federationListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		identities, err := o.Federated(ctx, c.Client)
		if err != nil {
			return err
		}
		reports := []identityReport{}
		for _, f := range identities {
			reports = append(reports, identityReport{f.Issuer, f.Subject, f.Audience})
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "EXTERNAL", "SUB", "AUDIENCE")
		for _, r := range reports {
			t.row(string(r.Issuer), printable(r.Subject), printable(r.Audience))
		}
		return t.flush()
	})
}

type federationRemoveCmd struct {
	reach
	identity
}

func (c *federationRemoveCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		if err := o.RemoveFederated(ctx, a.caller, c.Client, c.record()); err != nil {
			return err
		}
		fmt.Fprintf(a.err, "removed: %s no longer vouches for client %s under that subject and audience\n", c.External, c.Client)
		return nil
	})
}
