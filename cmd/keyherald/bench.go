package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

type benchCmd struct {
	Verify    benchVerifyCmd    `cmd:"" help:"Measure how many tokens this machine verifies, and how long one takes."`
	Propagate benchPropagateCmd `cmd:"" help:"Measure how long a change of a key takes to reach every verifier."`
}

// timings are how long something took, each time.
type timings []time.Duration

// summary is the middle and the end of timings: times that were measured, never one in between.
type summary struct{ p50, p99, max time.Duration }

func (t timings) summary() summary {
	if len(t) == 0 {
		return summary{}
	}
	return summary{quantile(t, 0.50), quantile(t, 0.99), quantile(t, 1)}
}

// quantile is the smallest of some values, which are not none, that so large a share of them does not exceed (nearest rank).
func quantile[T cmp.Ordered](of []T, share float64) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(int(math.Ceil(share*float64(len(sorted))))-1, 0)]
}

// bin is how many of some timings took no longer than upTo, and longer than the bin before.
type bin struct {
	upTo  time.Duration
	count int
}

// histogram sorts all timings into bins of 1, 2, 5, 10, … times a power of ten, from that of the shortest to that of the longest.
func (t timings) histogram() []bin {
	var bins []bin
	left := slices.Sorted(slices.Values(t))
	for upTo := range steps {
		n, _ := slices.BinarySearch(left, upTo+1)
		left = left[n:]
		if n > 0 || len(bins) > 0 {
			bins = append(bins, bin{upTo, n})
		}
		if len(left) == 0 {
			break
		}
	}
	return bins
}

// steps yields 1 µs, 2 µs, 5 µs, 10 µs and so on, to beyond what anybody waits for.
func steps(yield func(time.Duration) bool) {
	for power := time.Microsecond; power < time.Duration(math.MaxInt64/10); power *= 10 {
		for _, factor := range []time.Duration{1, 2, 5} {
			if !yield(factor * power) {
				return
			}
		}
	}
}

// printHistogram draws bins as bars.
func printHistogram(w io.Writer, bins []bin) {
	const width = 50
	total, most := 0, 0
	for _, b := range bins {
		total, most = total+b.count, max(most, b.count)
	}
	for _, b := range bins {
		bar := strings.Repeat("#", (b.count*width+most-1)/most) // something for what is there at all
		fmt.Fprintf(w, "  up to %6s  %-*s %5.1f %%\n", b.upTo, width, bar, 100*float64(b.count)/float64(total))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	w     io.Writer // nil: not a terminal
	mu    sync.Mutex
	what  string
	total int
	done  int
	shown string
}

func newProgress(a *app, what string, total int) *progress {
	p := &progress{what: what, total: total}
	if isTerminal(a.err) {
		p.w = a.err
	}
	p.add(0)
	return p
}

// isTerminal reports whether somebody may be looking. What is written to /dev/null, which counts as a terminal here, harms nobody.
func isTerminal(w io.Writer) bool {
	if out, ok := w.(*output); ok {
		w = out.w
	}
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// add draws the bar again if it looks different now. It may be called by several goroutines.
func (p *progress) add(n int) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	const width = 40
	filled := min(width*p.done/max(p.total, 1), width)
	text := fmt.Sprintf("\r%s [%s%s] %3d %%", p.what, strings.Repeat("#", filled), strings.Repeat(".", width-filled), min(100*p.done/max(p.total, 1), 100))
	if text != p.shown {
		p.shown = text
		fmt.Fprint(p.w, text)
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.w != nil {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", len(p.shown)))
	}
}

// parallel calls f for every number from 0 to below n, at most so many at a time, until one fails or ctx ends. It returns the first error.
func parallel(ctx context.Context, atATime, n int, f func(ctx context.Context, i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	next := make(chan int)
	var group sync.WaitGroup
	for range min(atATime, n) {
		group.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					fail(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	group.Wait()
	return context.Cause(ctx)
}
