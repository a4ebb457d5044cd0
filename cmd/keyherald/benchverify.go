package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/keyherald/keyherald/events"
)

type benchVerifyCmd struct {
	Keys     int              `help:"How many clients there are, each with a key of its own. Of RS256 keys no more than 16 are made, which the clients share: they take long to make." default:"1000" placeholder:"N"`
	Duration time.Duration    `help:"How long to measure, after the keys are made; a few turns are always taken." default:"5s" placeholder:"DURATION"`
	Parallel int              `help:"How many tokens to verify at a time. Default: as many as there are processors; at most four times as many." placeholder:"P"`
	Alg      events.Algorithm `help:"Algorithm of the keys: EdDSA, ES256 or RS256." enum:"EdDSA,ES256,RS256" default:"EdDSA" placeholder:"ALG"`
	JSON     bool             `name:"json" help:"Print JSON."`
}

// The bounds of what is measured. A million keys take a minute to make, and half a gigabyte.
const (
	maxBenchKeys     = 1_000_000
	maxBenchDuration = 10 * time.Minute
)

// mostAtATime is for how many workers there is something to see of how they share the processors.
func mostAtATime() int { return 4 * runtime.GOMAXPROCS(0) }

// Help is what to know of the figures.
func (*benchVerifyCmd) Help() string {
	return `Clients mint tokens with their keys, and the verifier that a service would embed verifies them. There is no server, and nothing is written anywhere.

cold: every token is one that the verifier has never seen, the keys in turn. Up to 2,000 keys have verified several before, as in a service that has run for a while. warm: the same tokens come again. raw: nothing but the signature of the same tokens, by the standard library; x raw is how many times as long a token takes as that. They are measured in turns, each way right after the other. tokens/s is that of a turn: all of its tokens, by the time from when the first was begun to when the last was done. It is a median, and on a machine that is busy with other things, of what is left. x raw is of the times that were disturbed least, each about a millisecond long, so that it means something on such a machine, too. The latencies are of every single token; with more tokens at a time than processors, a token also waits for others.`
}

func (c *benchVerifyCmd) check() error {
	switch {
	case c.Keys < 1 || c.Keys > maxBenchKeys:
		return usage("--keys %d is not from 1 to %d", c.Keys, maxBenchKeys)
	case c.Duration <= 0 || c.Duration > maxBenchDuration:
		return usage("--duration %s is not above zero and up to %s", c.Duration, maxBenchDuration)
	case c.Parallel < 0 || c.Parallel > mostAtATime():
		return usage("--parallel %d is not from 1 to %d, four times the processors", c.Parallel, mostAtATime())
	}
	return nil
}

// verifyReport is what bench verify --json prints. It is an interface: members are added, not changed.
type verifyReport struct {
	Algorithm events.Algorithm `json:"alg"`
	Keys      int              `json:"keys"`
	Parallel  int              `json:"parallel"`
	Seconds   float64          `json:"seconds"` // measured
	Platform  string           `json:"platform"`
	Cold      verifyFigures    `json:"cold"`
	Warm      verifyFigures    `json:"warm"`
	Raw       verifyFigures    `json:"raw"`
}

type verifyFigures struct {
	PerSecond   float64 `json:"tokens_per_second"`
	XRaw        float64 `json:"x_raw"`
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	Max         float64 `json:"max_us"`
	Timed       int     `json:"tokens_timed"` // for the latencies
	Allocations float64 `json:"allocations"`  // for one token
}

func (c *benchVerifyCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Parallel == 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	making := newProgress(a, "making keys", 3*c.Keys)
	crowd, err := newCrowd(ctx, c.Alg, c.Keys, func() { making.add(1) })
	if err == nil {
		err = crowd.warmUp(ctx, func() { making.add(1) })
	}
	making.end()
	if err != nil {
		return err
	}
	measuring := newProgress(a, "measuring", int(c.Duration/time.Millisecond))
	run, err := crowd.measure(ctx, c.Parallel, c.Duration, func(d time.Duration) { measuring.add(int(d / time.Millisecond)) })
	measuring.end()
	if err != nil {
		return err
	}
	report := verifyReport{
		Algorithm: c.Alg, Keys: c.Keys, Parallel: c.Parallel, Seconds: run.took.Seconds(),
		Platform: fmt.Sprintf("%s, %s/%s, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH, count(runtime.NumCPU(), "processor")),
		Cold:     run.figures(coldVerify), Warm: run.figures(warmVerify), Raw: run.figures(rawVerify),
	}
	if c.JSON {
		return printJSON(a.out, report)
	}
	return report.print(a.out)
}

func (r verifyReport) print(w io.Writer) error {
	fmt.Fprintf(w, "%s of %s, %d at a time, %.1f s, %s\n\n", count(r.Keys, "key"), r.Algorithm, r.Parallel, r.Seconds, r.Platform)
	t := newTable(w, "", "tokens/s", "x raw", "p50 µs", "p99 µs", "max µs", "allocations")
	for _, row := range []struct {
		name string
		verifyFigures
	}{{"cold", r.Cold}, {"warm", r.Warm}, {"raw", r.Raw}} {
		t.row(row.name, fmt.Sprintf("%.0f", row.PerSecond), fmt.Sprintf("%.3f", row.XRaw), fmt.Sprintf("%.1f", row.P50),
			fmt.Sprintf("%.1f", row.P99), fmt.Sprintf("%.0f", row.Max), fmt.Sprintf("%.1f", row.Allocations))
	}
	return t.flush()
}
