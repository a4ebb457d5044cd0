package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

func TestColdTokensNeverComeTwiceAndWarmOnesHave(t *testing.T) {
	const keys, workers = 7, 3
	c, err := newCrowd(t.Context(), events.EdDSA, keys, func() {})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	came := map[string]int{}
	verify := c.verify
	c.verify = func(token string) error {
		mu.Lock()
		came[token]++
		again := came[token] > 1
		mu.Unlock()
		if again { // as if it was remembered
			return nil
		}
		return verify(token)
	}
	r, err := c.measure(t.Context(), workers, time.Nanosecond, func(time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	const halfTurns = leastTurns / 2
	inTurn := workers * (turnTokens * min(workers, runtime.GOMAXPROCS(0)) / workers)
	times := map[int]int{} // how many tokens came so many times
	for _, n := range came {
		times[n]++
	}
	rates, latencies := (1+halfTurns)*inTurn, halfTurns*inTurn+100                              // the first turn counts for nothing; allocations are of 100
	if want := map[int]int{2 + warmPasses: rates, 2 + 1: latencies}; !maps.Equal(times, want) { // cold, not counted, warm
		t.Errorf("so many tokens came so often: %v, want %v", times, want)
	}
	for kind := range kinds {
		if got := len(r.each[kind]); got != halfTurns*inTurn || len(r.rates[kind]) != halfTurns || len(r.costs[kind]) != halfTurns*workers*(inTurn/workers/fewTokens) {
			t.Errorf("kind %d: %d tokens timed in as many turns as there were %d for rates", kind, got, len(r.rates[kind]))
		}
		f := r.figures(kind)
		if f.PerSecond <= 0 || f.XRaw <= 0 || f.P50 <= 0 || f.P50 > f.P99 || f.P99 > f.Max {
			t.Errorf("kind %d: figures that cannot be: %+v", kind, f)
		}
	}
	if cold, warm := r.figures(coldVerify), r.figures(warmVerify); cold.P50 < 3*warm.P50 || cold.PerSecond > warm.PerSecond/3 {
		t.Errorf("tokens that come again are remembered, and yet: cold %+v, warm %+v", cold, warm)
	}
	if got := r.figures(rawVerify); got.XRaw != 1 || got.Allocations >= 1 {
		t.Errorf("a raw verification is %g raw verifications with %g allocations", got.XRaw, got.Allocations)
	}
}

func TestKeysTakeTurns(t *testing.T) {
	c, err := newCrowd(t.Context(), events.ES256, 3, func() {})
	if err != nil {
		t.Fatal(err)
	}
	issuers := map[string]int{}
	for range 9 {
		token, err := c.mint()
		if err != nil {
			t.Fatal(err)
		}
		issuers[fmt.Sprint(token.public)]++
	}
	if len(issuers) != 3 {
		t.Errorf("%d keys are used, not 3", len(issuers))
	}
	for _, n := range issuers {
		if n != 3 {
			t.Errorf("one key is used %d times of 9", n)
		}
	}
}

func TestATokenThatIsRefusedIsNoFigure(t *testing.T) {
	c, err := newCrowd(t.Context(), events.EdDSA, 2, func() {})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	c.verify = func(string) error { return refused }
	if _, err := c.measure(t.Context(), 1, time.Millisecond, func(time.Duration) {}); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	token, err := c.mint()
	if err != nil {
		t.Fatal(err)
	}
	token.signed[0] ^= 1
	if err := token.verifyRaw(); !errors.Is(err, errRawSignature) {
		t.Errorf("error %v", err)
	}
}

func TestBenchVerifyPrintsJSONOfEveryAlgorithm(t *testing.T) {
	for _, alg := range []events.Algorithm{events.EdDSA, events.ES256, events.RS256} {
		t.Run(string(alg), func(t *testing.T) {
			var out, errs bytes.Buffer
			args := []string{"bench", "verify", "--alg", string(alg), "--keys", "3", "--parallel", "2", "--duration", "1ms", "--json"}
			if code := run(t.Context(), args, stdio{out: &out, err: &errs}); code != 0 {
				t.Fatalf("exit %d\n%s", code, errs.String())
			}
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got["alg"] != string(alg) || got["keys"] != 3.0 || got["parallel"] != 2.0 || got["seconds"].(float64) <= 0 || got["platform"] == "" {
				t.Errorf("%v", got)
			}
			for _, kind := range []string{"cold", "warm", "raw"} {
				figures := got[kind].(map[string]any)
				for _, name := range []string{"tokens_per_second", "x_raw", "p50_us", "p99_us", "max_us", "tokens_timed"} {
					if v, ok := figures[name].(float64); !ok || v <= 0 {
						t.Errorf("%s has %s %v", kind, name, figures[name])
					}
				}
				if _, ok := figures["allocations"].(float64); !ok {
					t.Errorf("%s says nothing of allocations", kind)
				}
			}
			if errs.Len() > 0 {
				t.Errorf("standard error: %s", errs.String())
			}
		})
	}
}

func TestBenchVerifyEndsWhenItIsInterrupted(t *testing.T) {
	for name, args := range map[string]string{
		"while it makes keys": "--keys 1000000",
		"while it measures":   "--keys 1 --duration 10m",
	} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			time.AfterFunc(300*time.Millisecond, interrupt)
			var out, errs bytes.Buffer
			code := run(ctx, append([]string{"bench", "verify"}, strings.Fields(args)...), stdio{out: &out, err: &errs})
			if code != exitFailed || errs.String() != "keyherald: interrupted\n" || out.Len() > 0 {
				t.Errorf("exit %d\n%s%s", code, out.String(), errs.String())
			}
		})
	}
}
