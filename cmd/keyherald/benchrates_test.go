package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

// shop is some processors that work for one worker at a time, for as long as it has tokens: its clock is that of a synctest bubble.
type shop struct {
	processors  chan struct{}
	cold, again time.Duration // how long a token takes

	mu     sync.Mutex
	worker map[string]int // whose a token is
	share  int            // tokens of a worker
	calls  map[int]int    // of a worker
	came   map[string]int
	counts map[int]int // of tokens that came for the nth time
	first  map[int]time.Time
	last   map[int]time.Time
}

func newShop(processors int, cold, again time.Duration, tokens [][]benchToken) *shop {
	s := &shop{
		processors: make(chan struct{}, processors), cold: cold, again: again, share: len(tokens[0]), worker: map[string]int{}, calls: map[int]int{},
		came: map[string]int{}, counts: map[int]int{}, first: map[int]time.Time{}, last: map[int]time.Time{},
	}
	for w, of := range tokens {
		for _, token := range of {
			s.worker[token.text] = w
		}
	}
	return s
}

func (s *shop) verify(token string) error {
	s.mu.Lock()
	w := s.worker[token]
	begins := s.calls[w]%s.share == 0
	s.calls[w]++
	ends := s.calls[w]%s.share == 0
	nth := s.came[token]
	s.came[token]++
	s.mu.Unlock()
	if begins {
		s.processors <- struct{}{}
	}
	began, takes := time.Now(), s.again
	if nth == 0 {
		takes = s.cold
	}
	time.Sleep(takes)
	s.mu.Lock()
	if s.first[nth].IsZero() || began.Before(s.first[nth]) {
		s.first[nth] = began
	}
	s.counts[nth]++
	s.last[nth] = time.Now()
	s.mu.Unlock()
	if ends {
		<-s.processors
	}
	return nil
}

// TestRatesAreThoseOfTheClockOnTheWall, however many workers share the processors one after another.
func TestRatesAreThoseOfTheClockOnTheWall(t *testing.T) {
	const processors, share, cold, again = 2, 10, time.Millisecond, 10 * time.Microsecond
	for _, workers := range []int{1, 2, 3, 8} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := newCrowd(t.Context(), events.EdDSA, 3, func() {})
				if err != nil {
					t.Fatal(err)
				}
				tokens := make([][]benchToken, workers)
				for w := range tokens {
					if err := c.mintSome(t.Context(), &tokens[w], share); err != nil {
						t.Fatal(err)
					}
				}
				s := newShop(processors, cold, again, tokens)
				c.verify = s.verify
				r := new(verifyRun)
				if err := c.rateTurn(t.Context(), r, tokens); err != nil {
					t.Fatal(err)
				}
				counted := func(from, to int) float64 { // when a token came for the nth time: cold, once more, and warm
					n := 0
					for nth := from; nth <= to; nth++ {
						n += s.counts[nth]
					}
					return float64(n) / s.last[to].Sub(s.first[from]).Seconds()
				}
				if got, want := r.rates[coldVerify][0], counted(0, 0); got != want {
					t.Errorf("cold: %g tokens/s, counted %g", got, want)
				}
				if got, want := r.rates[warmVerify][0], counted(2, 1+warmPasses); got != want {
					t.Errorf("warm: %g tokens/s, counted %g", got, want)
				}
				if got, most := r.rates[coldVerify][0], processors/cold.Seconds(); got > most || workers%processors == 0 && got != most {
					t.Errorf("cold: %g tokens/s, where %d processors verify %g", got, processors, most)
				}
			})
		})
	}
}

func TestMeasuringEndsInTime(t *testing.T) {
	// At each processor all cold tokens of a turn take about as long as all that come again.
	const again, cold = time.Millisecond, warmPasses * time.Millisecond
	for _, workers := range []int{1, mostAtATime()} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, err := newCrowd(t.Context(), events.EdDSA, 3, func() {})
				if err != nil {
					t.Fatal(err)
				}
				processors := make(chan struct{}, runtime.GOMAXPROCS(0))
				var came sync.Map
				c.verify = func(token string) error {
					processors <- struct{}{}
					if _, ok := came.LoadOrStore(token, true); ok {
						time.Sleep(again)
					} else {
						time.Sleep(cold)
					}
					<-processors
					return nil
				}
				const way = (1 + warmPasses) * turnTokens * again // the longest that one way takes
				// After three turns for rates and three for latencies the end comes upon the cold tokens of the next one: the warm ones
				// are not to come.
				const duration = 3*(2*way) + 3*way + way/8
				began := time.Now()
				r, err := c.measure(t.Context(), workers, duration, func(time.Duration) {})
				if err != nil {
					t.Fatal(err)
				}
				if r.took < duration || r.took > duration+way {
					t.Errorf("it measured for %s, not for %s", r.took, duration)
				}
				if took := time.Since(began); took > duration+3*way { // with what counts allocations
					t.Errorf("it took %s", took)
				}
				if cold, warm := len(r.rates[coldVerify]), len(r.rates[warmVerify]); cold != warm || len(r.each[coldVerify]) != len(r.each[warmVerify]) {
					t.Errorf("%d turns count for cold, %d for warm", cold, warm)
				}
			})
		})
	}
}

// TestManyWorkersAreNoMoreThanTheProcessors compares with the best of one worker, which may be kept from its processor by others.
func TestManyWorkersAreNoMoreThanTheProcessors(t *testing.T) {
	const slack, duration = 1.6, 500 * time.Millisecond
	c, err := newCrowd(t.Context(), events.EdDSA, 10, func() {})
	if err == nil {
		err = c.warmUp(t.Context(), func() {})
	}
	if err != nil {
		t.Fatal(err)
	}
	measure := func(workers int) *verifyRun {
		r, err := c.measure(t.Context(), workers, duration, func(time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	tooMany := func() (found []string) {
		one, eight := measure(1), measure(8)
		for kind := range kinds {
			got, most := quantile(eight.rates[kind], 0.5), slices.Max(one.rates[kind])*float64(runtime.GOMAXPROCS(0))*slack
			if got > most {
				found = append(found, fmt.Sprintf("kind %d: 8 workers verify %.0f tokens/s, more than the %.0f that the processors can", kind, got, most))
			}
		}
		return found
	}
	found := tooMany()
	for again := 0; again < 4 && found != nil; again++ { // the one worker may have been kept from its processor all the time, and the eight not
		found = tooMany()
	}
	if found != nil {
		t.Error(found)
	}
}

func TestBenchVerifyEndsInTimeWithAsManyWorkersAsThereMayBe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a hang, not a busy machine
	defer cancel()
	for _, alg := range []string{"EdDSA", "RS256"} {
		args := fmt.Sprintf("bench verify --alg %s --keys 4 --duration 200ms --parallel %d", alg, mostAtATime())
		if code := run(ctx, strings.Fields(args), stdio{out: io.Discard, err: io.Discard}); code != 0 {
			t.Errorf("%s: exit %d", args, code)
		}
	}
}

func TestATurnThatIsInterruptedGoesNoFurther(t *testing.T) {
	c, err := newCrowd(t.Context(), events.EdDSA, 3, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for name, turn := range map[string]func(context.Context, *verifyRun, [][]benchToken) error{"rates": c.rateTurn, "latencies": c.latencyTurn} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			tokens, calls, r := make([][]benchToken, 1), 0, new(verifyRun)
			if err := c.mintSome(ctx, &tokens[0], 5); err != nil {
				t.Fatal(err)
			}
			c.verify = func(string) error { calls++; interrupt(); return nil }
			if err := turn(ctx, r, tokens); !errors.Is(err, context.Canceled) || calls != 5 {
				t.Errorf("error %v after %d tokens, not after the 5 of one way", err, calls)
			}
			for kind := range kinds {
				if len(r.rates[kind])+len(r.each[kind]) > 0 {
					t.Errorf("kind %d: what was interrupted counts", kind)
				}
			}
		})
	}
}
