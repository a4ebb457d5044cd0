package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// benchPropagateCmd writes, and so has no environment twins of where: who has exported them for other commands may mean none of this.
type benchPropagateCmd struct {
	Verifiers int           `help:"How many verifiers to connect, each as a service of its own would." default:"100" placeholder:"N"`
	Changes   int           `help:"How many times to change a key." default:"50" placeholder:"N"`
	Interval  time.Duration `help:"Pause after a change that everybody has." default:"20ms" placeholder:"DURATION"`
	NATS      string        `name:"nats" help:"NATS server to measure, such as nats://host:4222. Without it, an own one is started, in a temporary directory." placeholder:"URL" env:"-"`
	Nkey      string        `help:"File with an operator's nkey seed for --nats." placeholder:"FILE" type:"path" xor:"credential" env:"-"`
	Creds     string        `help:"File with an operator's credentials (user JWT and seed) for --nats." placeholder:"FILE" type:"path" xor:"credential" env:"-"`
	natsTrust
	Timeout time.Duration `help:"How long connecting all verifiers, or any one change, may take." default:"30s" placeholder:"DURATION"`
	JSON    bool          `name:"json" help:"Print JSON."`
}

// The bounds of what is measured. A verifier takes about 100 KB here, and two consumers on the server.
const (
	maxBenchVerifiers = 5000
	maxBenchChanges   = 10_000
	maxBenchInterval  = time.Minute
)

// Help is what to know of the figures, and of what is done to a cluster.
func (*benchPropagateCmd) Help() string {
	return `A key is changed again and again, and each verifier, with a connection and a key set of its own, notes when it has the change: counted from right before the write, which is on disk on the server when it is acknowledged. All times are of one clock, that of this process, in which all verifiers run: on few processors they wait for each other, and not for the network.

Another server is measured only if the command line says so: --nats, --nkey and --creds are not taken from the environment. The credential must be an operator's. What is going to be written, and where, is printed on standard error before it is. A client bench-<random> is registered, which may do nothing, and its key changed; at the end, also after ctrl-c, the key is removed and the client disabled. (It stays in the list: clients are never deleted.) The verifiers count against the server's limits of connections and of consumers.`
}

func (c *benchPropagateCmd) check() error {
	switch {
	case c.Verifiers < 1 || c.Verifiers > maxBenchVerifiers:
		return usage("--verifiers %d is not from 1 to %d", c.Verifiers, maxBenchVerifiers)
	case c.Changes < 1 || c.Changes > maxBenchChanges:
		return usage("--changes %d is not from 1 to %d", c.Changes, maxBenchChanges)
	case c.Interval < 0 || c.Interval > maxBenchInterval:
		return usage("--interval %s is not from 0s to %s", c.Interval, maxBenchInterval)
	case c.Timeout <= 0:
		return usage("--timeout %s leaves no time", c.Timeout)
	case c.NATS == "" && (c.Nkey != "" || c.Creds != ""):
		return usage("--nkey and --creds go with --nats")
	}
	return nil
}

func (c *benchPropagateCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	server := "its own server, in the same process"
	connect := c.connect(a)
	if c.NATS != "" {
		server = bus.RedactURL(c.NATS)
	} else {
		dir, err := os.MkdirTemp("", "keyherald-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		own, err := embedded.Start(ctx, embedded.Config{Dir: dir, Logger: zerolog.Nop()})
		if err != nil {
			return err
		}
		defer own.Close()
		connect = func(ctx context.Context, role bus.Role) (*bus.Conn, error) {
			return bus.Connect(ctx, bus.Config{URL: own.URL(), SeedFile: own.KeyFile(role), Logger: a.log})
		}
	}
	b := &propagation{app: a, connect: connect, server: server, verifiers: c.Verifiers, interval: c.Interval, patience: c.Timeout}
	times, err := b.measure(ctx, c.Changes)
	if err != nil {
		return err
	}
	report := makePropagateReport(c, server, times)
	if c.JSON {
		return printJSON(a.out, report)
	}
	return report.print(a.out)
}

// connect makes connections to the server of --nats, all with the one credential. Only the first, the operator's, waits for a server
// that may be just starting.
func (c *benchPropagateCmd) connect(a *app) func(context.Context, bus.Role) (*bus.Conn, error) {
	r := reach{place{NATS: c.NATS, Nkey: c.Nkey, Creds: c.Creds, natsTrust: c.natsTrust}, c.Timeout}
	return func(ctx context.Context, role bus.Role) (*bus.Conn, error) {
		if role == bus.Operator {
			return r.dial(ctx, a, role)
		}
		cfg, err := r.config(a, role)
		if err != nil {
			return nil, err
		}
		return bus.Connect(ctx, cfg)
	}
}

// propagateReport is what bench propagate --json prints. It is an interface: members are added, not changed.
type propagateReport struct {
	Server       string         `json:"server"`
	Verifiers    int            `json:"verifiers"`
	Changes      int            `json:"changes"`
	IntervalMS   float64        `json:"interval_ms"`
	Acknowledged latencyReport  `json:"acknowledged"` // the write, one for each change
	Applied      latencyReport  `json:"applied"`      // one for each change and verifier
	Everywhere   latencyReport  `json:"everywhere"`   // the last verifier of each change
	Histogram    []histogramBin `json:"histogram"`    // of applied

	bins []bin
}

type latencyReport struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

type histogramBin struct {
	UpToMS float64 `json:"up_to_ms"`
	Count  int     `json:"count"`
}

func makePropagateReport(c *benchPropagateCmd, server string, times *propagationTimes) propagateReport {
	latency := func(t timings) latencyReport {
		s := t.summary()
		return latencyReport{len(t), milliseconds(s.p50), milliseconds(s.p99), milliseconds(s.max)}
	}
	r := propagateReport{
		Server: server, Verifiers: c.Verifiers, Changes: c.Changes, IntervalMS: milliseconds(c.Interval),
		Acknowledged: latency(times.acknowledged), Applied: latency(times.applied), Everywhere: latency(times.everywhere),
		bins: times.applied.histogram(),
	}
	for _, b := range r.bins {
		r.Histogram = append(r.Histogram, histogramBin{milliseconds(b.upTo), b.count})
	}
	return r
}

func (r propagateReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s of a key, %s, on %s\n\n", count(r.Changes, "change"), count(r.Verifiers, "verifier"), r.Server)
	t := newTable(w, "from right before the write until", "p50 ms", "p99 ms", "max ms", "of")
	for _, row := range []struct {
		what, of string
		latencyReport
	}{
		{"it is acknowledged", "change", r.Acknowledged},
		{"a verifier has it", "change and verifier", r.Applied},
		{"every verifier has it", "change", r.Everywhere},
	} {
		t.row(row.what, fmt.Sprintf("%.2f", row.P50), fmt.Sprintf("%.2f", row.P99), fmt.Sprintf("%.2f", row.Max), fmt.Sprintf("%d, one for each %s", row.Count, row.of))
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	printHistogram(w, r.bins)
	return nil
}
