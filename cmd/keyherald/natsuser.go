package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

type natsUserCmd struct {
	Add    natsUserAddCmd    `cmd:"" help:"Add a user of the embedded NATS server. Prints its nkey seed, once, and nothing else."`
	List   natsUserListCmd   `cmd:"" help:"List the users, also those that were revoked."`
	Revoke natsUserRevokeCmd `cmd:"" help:"Revoke a user for ever: its connections are closed at once."`
}

// users are where the users are. They are changed in the data directory, on the server's own machine, whether it runs or not.
type users struct {
	Data    string        `help:"Data directory of the keyherald serve, which need not run." default:"data" placeholder:"DIR" type:"path"`
	Timeout time.Duration `help:"How long it may take." default:"15s" placeholder:"DURATION"`
}

func (u users) open(ctx context.Context) (context.Context, *embedded.Users, context.CancelFunc, error) {
	if u.Timeout <= 0 {
		return nil, nil, nil, usage("--timeout %s leaves no time", u.Timeout)
	}
	opened, err := embedded.OpenUsers(u.Data)
	if err != nil {
		return nil, nil, nil, &hinted{err, "is --data (KEYHERALD_DATA) the directory of a keyherald serve on this machine? On a NATS of your own, see nats-config"}
	}
	ctx, cancel := context.WithTimeout(ctx, u.Timeout)
	return ctx, opened, cancel, nil
}

type natsUserAddCmd struct {
	users
	Role   bus.Role `help:"What the user may do: verifier, issuer (a node of the token service) or operator." enum:"verifier,issuer,operator" required:"" placeholder:"ROLE"`
	Out    string   `help:"File to write the seed to, for its owner only, instead of standard output. It must not exist." placeholder:"FILE" type:"path"`
	Public string   `help:"Public nkey (U…) of a pair that was made elsewhere. Nothing is printed then." placeholder:"NKEY"`
	Name   string   `arg:"" help:"Name of the user, such as that of the service."`
}

func (c *natsUserAddCmd) Run(ctx context.Context, a *app) error {
	if c.Public != "" && c.Out != "" {
		return usage("--out and --public do not go together: whoever made the pair has the seed")
	}
	ctx, to, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	public, seed := c.Public, []byte(nil)
	if public == "" {
		if public, seed, err = newNkey(nkeys.PrefixByteUser); err != nil {
			return err
		}
		defer clear(seed)
	}
	if c.Out != "" { // before there is a user of whom nobody has the seed
		if err := createFile(c.Out, seed); err != nil {
			return fmt.Errorf("writing the seed: %w", notCreated(c.Out, err))
		}
	}
	applied, err := to.Add(ctx, embedded.User{Name: c.Name, Role: c.Role, Nkey: public, Added: time.Now().Unix()})
	if err != nil && !errors.Is(err, embedded.ErrNotApplied) {
		if c.Out != "" {
			err = errors.Join(err, os.Remove(c.Out))
		}
		return err
	}
	fmt.Fprintf(a.err, "added %s %s, nkey %s; %s\n", c.Role, c.Name, public, effect(applied, err, "may come in"))
	fmt.Fprintf(a.err, "its inbox prefix, for the nats command: %s\n", bus.InboxPrefix(public))
	return errors.Join(err, c.hand(a, seed))
}

// hand prints the seed, unless it has gone to a file or is not ours.
func (c *natsUserAddCmd) hand(a *app, seed []byte) error {
	if seed == nil || c.Out != "" {
		return nil
	}
	fmt.Fprintln(a.err, "the seed is printed this once, and kept nowhere")
	if _, err := a.out.Write(seed); err != nil {
		return &hinted{fmt.Errorf("the user was added and its seed could not be printed, nobody has it: %w", err),
			fmt.Sprintf("keyherald nats-user revoke %s, and try again", c.Name)}
	}
	return nil
}

// effect says when a change counts.
func effect(applied bool, err error, what string) string {
	switch {
	case err != nil:
		return "the server has not confirmed it"
	case applied:
		return "it " + what + " now"
	}
	return "it " + what + " when keyherald serve is started"
}

// newNkey makes a pair, whose seed is a line of text.
func newNkey(kind nkeys.PrefixByte) (public string, seed []byte, err error) {
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		return "", nil, err
	}
	defer pair.Wipe()
	if public, err = pair.PublicKey(); err != nil {
		return "", nil, err
	}
	seed, err = pair.Seed()
	return public, append(seed, '\n'), err
}

type natsUserListCmd struct {
	users
	JSON bool `name:"json" help:"Print JSON."`
}

// natsUserReport is a user in the output of --json. It is an interface: members are added, not changed.
type natsUserReport struct {
	embedded.User
	InboxPrefix string `json:"inbox_prefix"`
}

func (c *natsUserListCmd) Run(ctx context.Context, a *app) error {
	_, from, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	list, err := from.List()
	if err != nil {
		return err
	}
	if c.JSON {
		reports := []natsUserReport{}
		for _, u := range list {
			reports = append(reports, natsUserReport{u, bus.InboxPrefix(u.Nkey)})
		}
		return printJSON(a.out, reports)
	}
	t := newTable(a.out, "NAME", "ROLE", "ADDED", "REVOKED", "NKEY")
	for _, u := range list {
		t.row(u.Name, string(u.Role), day(u.Added), day(u.Revoked), u.Nkey)
	}
	return t.flush()
}

type natsUserRevokeCmd struct {
	users
	Name string `arg:"" help:"Name of the user."`
}

func (c *natsUserRevokeCmd) Run(ctx context.Context, a *app) error {
	ctx, from, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	user, applied, err := from.Revoke(ctx, c.Name, time.Now())
	if err != nil && !errors.Is(err, embedded.ErrNotApplied) {
		return err
	}
	fmt.Fprintf(a.err, "revoked %s %s, nkey %s; %s\n", user.Role, user.Name, user.Nkey, effect(applied, err, "is out"))
	return err
}
