package main

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// verified says what is done to a token.
type verified int

const (
	rawVerify  verified = iota // nothing but the signature
	coldVerify                 // for the first time
	warmVerify                 // again
	kinds
)

// verifyRun is what was measured.
type verifyRun struct {
	took        time.Duration
	rates       [kinds][]float64 // tokens a second of all workers, one for each turn
	costs       [kinds][]float64 // nanoseconds for a token at a worker, one for each few tokens
	each        [kinds]timings
	allocations [kinds]float64
}

const (
	turnTokens = 100 // for each processor
	warmPasses = 100 // over the tokens of a turn: one takes no longer than it takes to start the workers
	fewTokens  = 20  // in so short a time it may well be that nothing else happens on a busy machine; of warm ones as many passes
	leastTurns = 4   // of which half are for rates
)

// measure takes turns for so long, and at least a few. A turn mints tokens, which is not counted, and then has them verified in each way, by
// so many workers at a time. Turns alternate: in one the clock is read now and then, in the next for every token. The first turn is for
// warming up. A turn that the end comes upon counts for nothing.
func (c *crowd) measure(ctx context.Context, workers int, duration time.Duration, took func(time.Duration)) (*verifyRun, error) {
	r := new(verifyRun)
	tokens := make([][]benchToken, workers)
	began, last := time.Now(), time.Now()
	timed, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	for turn := 0; turn <= leastTurns || timed.Err() == nil; turn++ {
		until := timed
		if turn <= leastTurns {
			until = ctx
		}
		err := c.turn(until, r, turn, tokens)
		if turn > leastTurns && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err != nil {
			return nil, err
		}
		took(time.Since(last))
		last = time.Now()
	}
	r.took = time.Since(began)
	return r, c.countAllocations(ctx, r)
}

// turn has as many tokens for many workers as for one at each processor: it takes as long.
func (c *crowd) turn(ctx context.Context, r *verifyRun, turn int, tokens [][]benchToken) error {
	workers := len(tokens)
	share := max(turnTokens*min(workers, runtime.GOMAXPROCS(0))/workers, 1)
	err := parallel(ctx, workers, workers, func(ctx context.Context, w int) error { return c.mintSome(ctx, &tokens[w], share) })
	switch {
	case err != nil:
		return err
	case turn == 0:
		return c.rateTurn(ctx, new(verifyRun), tokens)
	case turn%2 == 0:
		return c.rateTurn(ctx, r, tokens)
	}
	return c.latencyTurn(ctx, r, tokens)
}

func (c *crowd) mintSome(ctx context.Context, tokens *[]benchToken, n int) error {
	*tokens = (*tokens)[:0]
	for range n {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t, err := c.mint()
		if err != nil {
			return err
		}
		*tokens = append(*tokens, t)
	}
	return nil
}

// once verifies a token in one way.
func (c *crowd) once(kind verified, t *benchToken) error {
	if kind == rawVerify {
		return t.verifyRaw()
	}
	return c.verify(t.text)
}

// rateTurn takes the time from when the first worker begins to when the last one ends, in each way. What each of them took would say
// nothing of all: on few processors they come one after another.
func (c *crowd) rateTurn(ctx context.Context, r *verifyRun, tokens [][]benchToken) error {
	var rates [kinds]float64
	var costs [kinds][]float64
	for kind := range kinds {
		passes := 1
		if kind == warmVerify {
			passes = warmPasses
		}
		n := passes * len(tokens[0]) // all workers have as many
		began, ended, cost := make([]time.Time, len(tokens)), make([]time.Time, len(tokens)), make([][]float64, len(tokens))
		err := c.allWorkers(ctx, tokens, kind, func(w int, tokens []benchToken) error {
			began[w] = time.Now()
			last, few := began[w], fewTokens*passes
			for i := range n {
				if err := c.once(kind, &tokens[i%len(tokens)]); err != nil {
					return err
				}
				if (i+1)%few == 0 {
					now := time.Now()
					cost[w] = append(cost[w], float64(now.Sub(last))/float64(few))
					last = now
				}
			}
			ended[w] = time.Now()
			return nil
		})
		if err != nil {
			return err
		}
		took := slices.MaxFunc(ended, time.Time.Compare).Sub(slices.MinFunc(began, time.Time.Compare))
		rates[kind], costs[kind] = float64(n*len(tokens))/took.Seconds(), slices.Concat(cost...)
	}
	for kind := range kinds {
		r.rates[kind], r.costs[kind] = append(r.rates[kind], rates[kind]), append(r.costs[kind], costs[kind]...)
	}
	return nil
}

// latencyTurn takes the time of every token, in each way.
func (c *crowd) latencyTurn(ctx context.Context, r *verifyRun, tokens [][]benchToken) error {
	var all [kinds]timings
	for kind := range kinds {
		each := make([]timings, len(tokens))
		err := c.allWorkers(ctx, tokens, kind, func(w int, tokens []benchToken) error {
			each[w] = make(timings, len(tokens))
			for i := range tokens {
				begin := time.Now()
				if err := c.once(kind, &tokens[i]); err != nil {
					return err
				}
				each[w][i] = time.Since(begin)
			}
			return nil
		})
		if err != nil {
			return err
		}
		all[kind] = slices.Concat(each...)
	}
	for kind, each := range all {
		r.each[kind] = append(r.each[kind], each...)
	}
	return nil
}

// allWorkers lets each worker do f with its tokens, when all are ready. Before warm each token comes once more, so that it has come twice: a
// cache may keep nothing of what comes once.
func (c *crowd) allWorkers(ctx context.Context, tokens [][]benchToken, kind verified, f func(w int, tokens []benchToken) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	errs := make([]error, len(tokens))
	var ready, done sync.WaitGroup
	ready.Add(len(tokens))
	for w := range tokens {
		done.Go(func() {
			if kind == warmVerify {
				for i := range tokens[w] {
					errs[w] = cmp.Or(errs[w], c.once(warmVerify, &tokens[w][i]))
				}
			}
			ready.Done()
			ready.Wait()
			if errs[w] == nil {
				errs[w] = f(w, tokens[w])
			}
		})
	}
	done.Wait()
	return errors.Join(errs...)
}

// countAllocations counts what one token costs in allocations, with nothing else going on.
func (c *crowd) countAllocations(ctx context.Context, r *verifyRun) error {
	var tokens []benchToken
	if err := c.mintSome(ctx, &tokens, 100); err != nil {
		return err
	}
	for kind := range kinds {
		var before, after runtime.MemStats
		err := c.allWorkers(ctx, [][]benchToken{tokens}, kind, func(_ int, tokens []benchToken) error {
			runtime.ReadMemStats(&before)
			for i := range tokens {
				if err := c.once(kind, &tokens[i]); err != nil {
					return err
				}
			}
			runtime.ReadMemStats(&after)
			return nil
		})
		if err != nil {
			return err
		}
		r.allocations[kind] = float64(after.Mallocs-before.Mallocs) / float64(len(tokens))
	}
	return nil
}

// figures compares the tenth percentiles of the costs: of things that take turns on a machine that does other things as well, the
// times that nothing has disturbed are comparable.
func (r *verifyRun) figures(kind verified) verifyFigures {
	s := r.each[kind].summary()
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return verifyFigures{
		PerSecond: quantile(r.rates[kind], 0.5), XRaw: quantile(r.costs[kind], 0.1) / quantile(r.costs[rawVerify], 0.1),
		P50: us(s.p50), P99: us(s.p99), Max: us(s.max), Timed: len(r.each[kind]), Allocations: r.allocations[kind],
	}
}
