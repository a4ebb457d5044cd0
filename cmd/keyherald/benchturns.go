package main

import (
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
	costs       [kinds][]float64 // nanoseconds for a token, one for each few tokens
	each        [kinds]timings
	allocations [kinds]float64
}

const (
	turnTokens = 100 // at a worker
	fewTokens  = 20  // in so short a time it may well be that nothing else happens on a busy machine
	leastTurns = 4   // of which half are for rates
)

// measure takes turns for at least so long. A turn mints tokens, which is not counted, and then has them verified in each way, by so many
// workers at a time. Turns alternate: in one the clock is read now and then, in the next for every token. The first turn is for warming up.
func (c *crowd) measure(ctx context.Context, workers int, atLeast time.Duration, took func(time.Duration)) (*verifyRun, error) {
	r := new(verifyRun)
	tokens := make([][]benchToken, workers)
	for began, last, turn := time.Now(), time.Now(), 0; turn <= leastTurns || r.took < atLeast; turn++ {
		err := parallel(ctx, workers, workers, func(ctx context.Context, w int) error { return c.mintSome(ctx, &tokens[w], turnTokens) })
		if err != nil {
			return nil, err
		}
		switch {
		case turn == 0:
			err = c.rateTurn(new(verifyRun), tokens)
		case turn%2 == 0:
			err = c.rateTurn(r, tokens)
		default:
			err = c.latencyTurn(r, tokens)
		}
		if err != nil {
			return nil, err
		}
		r.took = time.Since(began)
		took(time.Since(last))
		last = time.Now()
	}
	return r, c.countAllocations(ctx, r)
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

// rateTurn takes the time of each worker for all of its tokens, in each way, and for a few of them at a time.
func (c *crowd) rateTurn(r *verifyRun, tokens [][]benchToken) error {
	for kind := range kinds {
		rates, costs := make([]float64, len(tokens)), make([][]float64, len(tokens))
		err := c.allWorkers(tokens, kind, func(w int, tokens []benchToken) error {
			began := time.Now()
			last := began
			for few := range slices.Chunk(tokens, fewTokens) {
				for i := range few {
					if err := c.once(kind, &few[i]); err != nil {
						return err
					}
				}
				now := time.Now()
				costs[w] = append(costs[w], float64(now.Sub(last))/float64(len(few)))
				last = now
			}
			rates[w] = float64(len(tokens)) / last.Sub(began).Seconds()
			return nil
		})
		if err != nil {
			return err
		}
		rate := 0.0
		for _, of := range rates {
			rate += of
		}
		r.rates[kind] = append(r.rates[kind], rate)
		r.costs[kind] = append(r.costs[kind], slices.Concat(costs...)...)
	}
	return nil
}

// latencyTurn takes the time of every token, in each way.
func (c *crowd) latencyTurn(r *verifyRun, tokens [][]benchToken) error {
	for kind := range kinds {
		each := make([]timings, len(tokens))
		err := c.allWorkers(tokens, kind, func(w int, tokens []benchToken) error {
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
		r.each[kind] = append(r.each[kind], slices.Concat(each...)...)
	}
	return nil
}

// allWorkers lets each worker do f with its tokens. Before warm each of them comes once more, so that it has come twice: a cache may
// keep nothing of what comes once.
func (c *crowd) allWorkers(tokens [][]benchToken, kind verified, f func(w int, tokens []benchToken) error) error {
	errs := make([]error, len(tokens))
	var group sync.WaitGroup
	for w := range tokens {
		group.Go(func() {
			if kind == warmVerify {
				for i := range tokens[w] {
					if errs[w] = c.once(warmVerify, &tokens[w][i]); errs[w] != nil {
						return
					}
				}
			}
			errs[w] = f(w, tokens[w])
		})
	}
	group.Wait()
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
		err := c.allWorkers([][]benchToken{tokens}, kind, func(_ int, tokens []benchToken) error {
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
