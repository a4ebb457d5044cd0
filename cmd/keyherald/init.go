package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events/bus"
)

// initCmd makes the buckets on a NATS that is not ours. It takes the connection of an admin, and only it does.
type initCmd struct {
	NATS     string `name:"nats" help:"NATS server or servers, such as nats://a:4222,nats://b:4222." placeholder:"URL"`
	Nkey     string `help:"File with the nkey seed of the role admin." placeholder:"FILE" type:"path" xor:"credential"`
	Creds    string `help:"File with the credentials (user JWT and seed) of the role admin." placeholder:"FILE" type:"path" xor:"credential"`
	Replicas int    `help:"On how many servers of a cluster each bucket is kept. Default: as many as the buckets that exist have, or 1." placeholder:"N"`
	Check    bool   `help:"Change nothing: only tell what is missing or not as it must be."`
	natsTrust
	JSON    bool          `name:"json" help:"Print JSON."`
	Timeout time.Duration `help:"How long it may take." default:"30s" placeholder:"DURATION"`
}

// initReport is what init --json prints. It is an interface: members are added, not changed.
type initReport struct {
	Server  string       `json:"server"`
	Version string       `json:"version"`
	Made    []bus.Bucket `json:"made"`
	Drift   []bus.Drift  `json:"drift"`
}

func (c *initCmd) Run(ctx context.Context, a *app) error {
	switch {
	case c.NATS == "":
		return usage("no NATS server: give one with --nats (keyherald serve without --nats makes the buckets itself)")
	case c.Replicas < 0 || c.Replicas > maxReplicas:
		return usage("--replicas %d is not between 1 and %d", c.Replicas, maxReplicas)
	case c.Timeout <= 0:
		return usage("--timeout %s leaves no time", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Config{URL: c.NATS, SeedFile: c.Nkey, CredsFile: c.Creds, CAFile: c.NATSTLSCA, Name: "keyherald init", Logger: a.log})
	if err != nil {
		return c.hint(err)
	}
	defer conn.Close()
	report := initReport{Server: conn.URL(), Version: conn.ServerVersion(), Made: []bus.Bucket{}, Drift: []bus.Drift{}}
	if err := c.setUp(ctx, conn, &report); err != nil {
		return c.hint(err)
	}
	return errors.Join(c.print(a, report), drifted(report.Drift))
}

// maxReplicas is how many JetStream allows.
const maxReplicas = 5

// setUp makes or checks the buckets. A drift is no error here: it is reported.
func (c *initCmd) setUp(ctx context.Context, conn *bus.Conn, report *initReport) error {
	if c.Check {
		drifts, err := conn.Check(ctx, c.Replicas)
		report.Drift = append(report.Drift, drifts...)
		return err
	}
	made, err := conn.SetUp(ctx, c.Replicas)
	report.Made = append(report.Made, made...)
	var drift *bus.DriftError
	if errors.As(err, &drift) {
		report.Drift = drift.Drifts
		return nil
	}
	return err
}

func (c *initCmd) print(a *app, r initReport) error {
	if c.JSON {
		return printJSON(a.out, r)
	}
	for _, d := range r.Drift {
		fmt.Fprintln(a.out, d)
	}
	if len(r.Drift) > 0 {
		return nil
	}
	if len(r.Made) == 0 {
		fmt.Fprintf(a.out, "the buckets are there and as they must be (NATS %s at %s)\n", r.Version, r.Server)
	} else {
		var names []string
		for _, b := range r.Made {
			names = append(names, string(b))
		}
		fmt.Fprintf(a.out, "made the buckets %s (NATS %s at %s)\n", strings.Join(names, ", "), r.Version, r.Server)
	}
	if c.Check { // who only looks may have all of it running
		return nil
	}
	fmt.Fprintf(a.err, `next: start the first token service with an operator's credential, which makes the platform and the first admin,
then any number of them without one:
  keyherald serve --nats %[1]s --nkey issuer.nk --registry-nkey operator.nk --issuer https://auth.example.com --data data
  keyherald serve --nats %[1]s --nkey issuer.nk --issuer https://auth.example.com
`, shellWord(bus.RedactURL(c.NATS)))
	return nil
}

// drifted is the error of buckets that are not as they must be. Each setting was printed on a line of its own.
func drifted(drifts []bus.Drift) error {
	if len(drifts) == 0 {
		return nil
	}
	missing := 0
	for _, d := range drifts {
		if d.IsMissing() {
			missing++
		}
	}
	if missing == len(drifts) {
		return &hinted{fmt.Errorf("%s missing", count(missing, "bucket")), "make them with keyherald init, without --check"}
	}
	do := "find out who changed them, then set them right with nats stream edit, or use another NATS account"
	if slices.ContainsFunc(drifts, func(d bus.Drift) bool { return d.Setting == "num_replicas" }) {
		do += ", or give --replicas as they are"
	}
	return &hinted{fmt.Errorf("%s of the buckets not as they must be; nothing was changed", count(len(drifts), "setting")), do}
}

// hint says what to do about an error.
func (c *initCmd) hint(err error) error {
	switch {
	case errors.Is(err, bus.ErrPermission):
		return &hinted{err, "init needs a NATS credential of the role admin, or of the role operator with --check: give it with --nkey or --creds; see nats-config"}
	case errors.Is(err, bus.ErrUnreachable):
		return &hinted{err, "start the NATS server, or give its address with --nats"}
	case errors.Is(err, bus.ErrNoJetStream):
		return &hinted{err, "switch JetStream on in the server's configuration, and for the account: jetstream { sync_interval: always }"}
	case errors.Is(err, bus.ErrOldServer):
		return &hinted{err, "upgrade the NATS server"}
	case errors.Is(err, bus.ErrReplicas):
		return &hinted{err, "are as many servers up, with JetStream and room? Ask for fewer with --replicas"}
	}
	return err
}
