package main

import (
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
)

type secretCmd struct {
	Add    secretAddCmd    `cmd:"" help:"Make an API key. Prints it, once, and nothing else."`
	List   secretListCmd   `cmd:"" help:"List a client's API keys: ids and times, not the keys."`
	Revoke secretRevokeCmd `cmd:"" help:"Revoke an API key at once."`
}

type secretAddCmd struct {
	reach
	Expires time.Time   `name:"exp" help:"Accept the API key until then (RFC 3339)." placeholder:"TIME"`
	Client  events.Name `arg:"" help:"Name of the client."`
}

func (c *secretAddCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		secret, err := o.AddSecret(o.ctx, a.caller, c.Client, c.Expires)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "made API key %s of client %s; it is printed this once, and only its hash is kept\n", secret.ID, c.Client)
		fmt.Fprintln(a.out, secret.Key.Reveal())
		return nil
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
}

func (c *secretListCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		secrets, err := o.Secrets(o.ctx, c.Client)
		if err != nil {
			return err
		}
		reports := []secretReport{}
		for _, s := range secrets {
			reports = append(reports, secretReport{s.ID, s.IssuedAt, s.Expires})
		}
		if c.JSON {
			return printJSON(a.out, reports)
		}
		t := newTable(a.out, "ID", "MADE", "UNTIL")
		for _, r := range reports {
			until := ""
			if r.Expires != 0 {
				until = time.Unix(r.Expires, 0).Format(time.RFC3339)
			}
			t.row(r.ID, time.Unix(r.IssuedAt, 0).Format(time.RFC3339), until)
		}
		return t.flush()
	})
}

type secretRevokeCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client."`
	ID     string      `arg:"" help:"The API key's id, as listed."`
}

func (c *secretRevokeCmd) Run(a *app) error {
	return c.withRegistry(a, func(o office) error {
		if err := o.RevokeSecret(o.ctx, a.caller, c.Client, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(a.err, "revoked API key %s of client %s\n", c.ID, c.Client)
		return nil
	})
}
