package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestQuantilesAreTimesThatWereMeasured(t *testing.T) {
	upTo := func(n int) (t timings) {
		for i := n; i > 0; i-- { // the largest first
			t = append(t, time.Duration(i))
		}
		return t
	}
	for _, test := range []struct {
		name string
		of   timings
		want summary
	}{
		{"of none", nil, summary{}},
		{"of one", timings{7}, summary{7, 7, 7}},
		{"of two the first is the middle", upTo(2), summary{1, 2, 2}},
		{"of 100", upTo(100), summary{50, 99, 100}},
		{"of 101", upTo(101), summary{51, 100, 101}},
		{"of 1000", upTo(1000), summary{500, 990, 1000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.of.summary(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestEveryTimeIsInTheBinThatItFits(t *testing.T) {
	for _, test := range []struct {
		name string
		of   timings
		want []bin
	}{
		{"none", nil, nil},
		{"an edge belongs to the bin that ends there", timings{time.Millisecond, time.Millisecond + 1}, []bin{{time.Millisecond, 1}, {2 * time.Millisecond, 1}}},
		{"empty bins are shown in between only", timings{3 * time.Millisecond, 30 * time.Millisecond, 4 * time.Millisecond},
			[]bin{{5 * time.Millisecond, 2}, {10 * time.Millisecond, 0}, {20 * time.Millisecond, 0}, {50 * time.Millisecond, 1}}},
		{"very short", timings{0, 1}, []bin{{time.Microsecond, 2}}},
		{"very long", timings{24 * time.Hour}, []bin{{100_000 * time.Second, 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.of.histogram(); !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestHistogramDrawsSomethingForWhatIsThere(t *testing.T) {
	var out bytes.Buffer
	printHistogram(&out, []bin{{time.Millisecond, 999}, {2 * time.Millisecond, 0}, {5 * time.Millisecond, 1}})
	want := "  up to    1ms  " + strings.Repeat("#", 50) + "  99.9 %\n" +
		"  up to    2ms  " + strings.Repeat(" ", 50) + "   0.0 %\n" +
		"  up to    5ms  #" + strings.Repeat(" ", 49) + "   0.1 %\n"
	if out.String() != want {
		t.Errorf("\n%s, want\n%s", out.String(), want)
	}
}

func TestProgressIsForTerminalsOnly(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var buffer bytes.Buffer
	if isTerminal(file) || isTerminal(&buffer) || !isTerminal(null) || !isTerminal(&output{w: null}) {
		t.Error("what is a terminal is not told from what is none")
	}
	p := newProgress(&app{stdio: stdio{err: &buffer}}, "waiting", 3)
	p.add(3)
	p.end()
	if buffer.Len() > 0 {
		t.Errorf("%q was written to what is no terminal", buffer.String())
	}
	p.w = &buffer
	p.add(1)
	p.add(0) // looks the same
	p.end()
	want := "\rwaiting [" + strings.Repeat("#", 13) + strings.Repeat(".", 27) + "]  33 %"
	if got := buffer.String(); got != want+"\r"+strings.Repeat(" ", len(want))+"\r" {
		t.Errorf("%q, want %q, once, and blanks over it", got, want)
	}
}

func TestParallelDoesEverythingOnceUntilItFails(t *testing.T) {
	const n = 100
	failure := errors.New("no")
	for _, test := range []struct {
		name    string
		atATime int
		fail    bool
		stop    bool
		want    error
	}{
		{"one at a time", 1, false, false, nil},
		{"more at a time than there is", 2 * n, false, false, nil},
		{"one fails", 3, true, false, failure},
		{"the caller stops it", 3, false, true, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var done [n]atomic.Int32
			var running, most atomic.Int32
			err := parallel(ctx, test.atATime, n, func(ctx context.Context, i int) error {
				defer running.Add(-1)
				now := running.Add(1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				done[i].Add(1)
				if i == 10 && test.stop {
					stop()
				}
				if i > 10 && test.want != nil { // else the others could be through before anybody hears of it
					<-ctx.Done()
				}
				if i == 10 && test.fail {
					return fmt.Errorf("%d: %w", i, failure)
				}
				return nil
			})
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if most.Load() > int32(test.atATime) {
				t.Errorf("%d at a time, not %d", most.Load(), test.atATime)
			}
			for i := range done {
				if got := done[i].Load(); got > 1 || got != 1 && test.want == nil {
					t.Errorf("%d was done %d times", i, got)
				}
			}
			if done[n-1].Load() != 0 && test.want != nil {
				t.Error("it went on to the end")
			}
		})
	}
}

// TestBenchRefusesWhatMakesNoSense, and that it would take for ever to find out.
func TestBenchRefusesWhatMakesNoSense(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"verify --keys 0", "--keys 0 is not from 1 to 1000000"},
		{"verify --keys=-1", "--keys -1 is not from 1"},
		{"verify --keys 1000000000", "--keys 1000000000 is not from 1 to 1000000"},
		{"verify --duration 0s", "--duration 0s is not above zero"},
		{"verify --duration=-5s", "--duration -5s is not above zero"},
		{"verify --duration 1h", "--duration 1h0m0s is not above zero and up to 10m0s"},
		{"verify --parallel=-1", "--parallel -1 is not from 1"},
		{"verify --parallel 100000", fmt.Sprintf("--parallel 100000 is not from 1 to %d, four times the processors", 4*runtime.GOMAXPROCS(0))},
		{"verify --alg none", "--alg must be one of"},
		{"verify --alg HS256", "--alg must be one of"},
		{"verify more", "unexpected argument more"},
		{"propagate --verifiers 0", "--verifiers 0 is not from 1 to 5000"},
		{"propagate --verifiers 1000000", "--verifiers 1000000 is not from 1 to 5000"},
		{"propagate --changes 0", "--changes 0 is not from 1 to 10000"},
		{"propagate --changes 100000", "--changes 100000 is not from 1 to 10000"},
		{"propagate --interval=-1s", "--interval -1s is not from 0s to 1m0s"},
		{"propagate --interval 1h", "--interval 1h0m0s is not from 0s to 1m0s"},
		{"propagate --timeout 0s", "--timeout 0s leaves no time"},
		{"propagate --nkey operator.nk", "--nkey and --creds go with --nats"},
		{"propagate --creds operator.creds", "--nkey and --creds go with --nats"},
		{"propagate --nats nats://127.0.0.1:1 --nkey a --creds b", "can't be used together"},
	} {
		t.Run(test.args, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"bench"}, strings.Fields(test.args)...), stdio{out: &out, err: &errs})
			if code != exitUsage || !strings.Contains(errs.String(), test.want) || out.Len() > 0 {
				t.Errorf("exit %d, want %d; want %q\n%s%s", code, exitUsage, test.want, out.String(), errs.String())
			}
		})
	}
}
