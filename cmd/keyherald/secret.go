package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry/lastuse"
)

type secretCmd struct {
	Add    secretAddCmd    `cmd:"" help:"Make an API key. Prints it, once, and nothing else."`
	List   secretListCmd   `cmd:"" help:"List a client's API keys: ids and times, not the keys."`
	Revoke secretRevokeCmd `cmd:"" help:"Revoke an API key at once."`
}

type secretAddCmd struct {
	reach
	secretOut
	Expires time.Time   `name:"exp" help:"Accept the API key until then, such as 2030-01-31T08:00:00Z." placeholder:"TIME"`
	Client  events.Name `arg:"" help:"Name of the client."`
}

func (c *secretAddCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		return c.hand(a, func(out io.Writer) error {
			secret, err := o.AddSecret(ctx, a.caller, c.Client, c.Expires)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "made API key %s of client %s; it is %s, and elsewhere only its hash is kept\n", secret.ID, c.Client, c.where())
			if _, err := fmt.Fprintln(out, secret.Key.Reveal()); err != nil {
				return &hinted{fmt.Errorf("the API key was made and could not be printed, nobody has it: %w", err),
					fmt.Sprintf("keyherald secret revoke %s %s, and try again", c.Client, secret.ID)}
			}
			return nil
		})
	})
}

type secretListCmd struct {
	reach
	JSON   bool        `name:"json" help:"Print JSON."`
	Client events.Name `arg:"" help:"Name of the client."`
}

// secretReport is an API key in the output of --json. It is an interface: members are added, not changed.
type secretReport struct {
	ID       string `json:"id"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp,omitempty"`
	LastUsed int64  `json:"last_used,omitempty"` // at the token service, to the hour
}

func (c *secretListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		secrets, err := o.Secrets(ctx, c.Client)
		if err != nil {
			return err
		}
		reports := []secretReport{}
		for _, s := range secrets {
			report := secretReport{ID: s.ID, IssuedAt: s.IssuedAt, Expires: s.Expires}
			used, err := lastuse.Of(ctx, o.conn, events.UsedSecret, c.Client, s.ID)
			if err != nil {
				return err
			}
			if !used.IsZero() {
				report.LastUsed = used.Unix()
			}
			reports = append(reports, report)
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "ID", "MADE", "UNTIL", "LAST USED")
		for _, r := range reports {
			t.row(r.ID, day(r.IssuedAt), day(r.Expires), day(r.LastUsed))
		}
		return t.flush()
	})
}

type secretRevokeCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client."`
	ID     string      `arg:"" help:"The API key's id, as listed."`
}

func (c *secretRevokeCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		if err := o.RevokeSecret(ctx, a.caller, c.Client, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(a.err, "revoked API key %s of client %s\n", c.ID, c.Client)
		return nil
	})
}
