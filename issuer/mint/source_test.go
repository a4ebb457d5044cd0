package mint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

func TestATokenIsReusedUntilShortlyBeforeItsEnd(t *testing.T) {
	for _, test := range []struct {
		life, least, most time.Duration // of what is left when it is renewed
	}{
		{15 * time.Minute, 90 * time.Second, 135 * time.Second},
		{24 * time.Hour, 5 * time.Minute, 450 * time.Second},
		{time.Minute, 10 * time.Second, 15 * time.Second},
		{12 * time.Second, 6 * time.Second, 9 * time.Second},
	} {
		t.Run(test.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{life: int(test.life / time.Second)}
				s := w.source(t)
				expect(t, s, 1)
				time.Sleep(test.life - test.most - time.Millisecond)
				expect(t, s, 1)
				synctest.Wait()
				if n := w.asked.Load(); n != 1 {
					t.Fatalf("%d requests before the token is due", n)
				}
				time.Sleep(test.most - test.least + 2*time.Millisecond)
				expect(t, s, 1) // nobody waits for the renewal
				synctest.Wait()
				expect(t, s, 2)
				if n := w.asked.Load(); n != 2 {
					t.Errorf("%d requests, want 2", n)
				}
			})
		})
	}
}

func TestAFleetDoesNotRenewAtOneMoment(t *testing.T) {
	now := time.Now()
	moments := map[time.Time]bool{}
	for range 100 {
		moments[hold(&Token{Expires: now.Add(15 * time.Minute)}, now).renew] = true
	}
	if len(moments) < 90 {
		t.Errorf("100 sources renew at %d moments", len(moments))
	}
}

func TestConcurrentCallersWaitForOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900, delay: time.Second}
		s := w.source(t)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if token, err := s.Token(); err != nil || token.AccessToken != "t1.t1.t1" {
					t.Errorf("token %v, error %v", token != nil, err)
				}
			})
		}
		wg.Wait()
		if n := w.asked.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestACallerThatGivesUpDoesNotEndTheRequestOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900, delay: 5 * time.Second}
		s := w.source(t)
		var wg sync.WaitGroup
		wg.Go(func() { // the first one, who starts it
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			if _, err := s.TokenContext(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
				t.Errorf("after %v: error %v", time.Since(began), err)
			}
		})
		time.Sleep(time.Millisecond)
		wg.Go(func() { expect(t, s, 1) })
		wg.Wait()
		if n := w.asked.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}

		// And where all give up, the token is there for the next.
		s = w.source(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.TokenContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if _, err := s.TokenContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v of a context that is done", err)
		}
		time.Sleep(10 * time.Second)
		expect(t, s, 2)
		if token, err := s.TokenContext(ctx); err != nil || token == nil {
			t.Errorf("a token in hand is not given to a context that is done: %v", err)
		}
	})
}

func TestACallerThatHasGivenUpStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900}
		s := w.source(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the user has left")
		cancel(cause)
		_, err := s.TokenContext(ctx)
		synctest.Wait()
		if !errors.Is(err, cause) || w.asked.Load() != 0 {
			t.Errorf("error %v, %d requests", err, w.asked.Load())
		}
	})
}

func TestARequestEndsWithItsTimeoutEvenIfNobodyElseEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for timeout, want := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: time.Second} {
			w := &wire{life: 900, delay: time.Hour}
			s := w.source(t, func(c *SourceConfig) { c.Timeout = timeout })
			began := time.Now()
			if _, err := s.Token(); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != want {
				t.Errorf("after %v: error %v", time.Since(began), err)
			}
		}
	})
}

func TestATokenThatIsStillValidIsUsedWhenRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int64
		w := &wire{life: 900}
		s := w.source(t, func(c *SourceConfig) {
			c.Failed = func(err error) {
				var refused *OAuthError
				if !errors.As(err, &refused) {
					t.Errorf("error %v", err)
				}
				told.Add(1)
			}
		})
		expect(t, s, 1)
		end := time.Now().Add(900 * time.Second)
		w.fail("")
		time.Sleep(800 * time.Second)
		for time.Now().Before(end.Add(-time.Second)) {
			expect(t, s, 1)
			time.Sleep(100 * time.Millisecond)
		}
		// A hundred seconds at 10 to 5 s each, after four that doubled up to there.
		if n := w.asked.Load() - 1; n < 12 || n > 30 || told.Load() != n {
			t.Errorf("%d attempts, told of %d", n, told.Load())
		}
		if status := s.Status(); status.Err == nil || int64(status.Failures) != told.Load() || !status.Expires.Equal(end) {
			t.Errorf("status %+v, want failures and a token until %v", status, end)
		}
		time.Sleep(time.Second)
		if token, err := s.Token(); err == nil {
			t.Errorf("a token that has ended, until %v, was returned", token.Expiry)
		}
		w.succeed()
		time.Sleep(retryMost)
		expect(t, s, 2)
		if status := s.Status(); status.Err != nil || status.Failures != 0 {
			t.Errorf("status %+v after a success", status)
		}
	})
}

func TestAFailureIsRememberedForAMomentOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900}
		w.fail("")
		s := w.source(t)
		began := time.Now()
		for range 1000 {
			var refused *OAuthError
			if _, err := s.Token(); !errors.As(err, &refused) || refused.Status != 503 {
				t.Fatalf("error %v", err)
			}
		}
		if n := w.asked.Load(); n != 1 || time.Since(began) != 0 {
			t.Errorf("%d requests of 1000 callers, who waited for %v", n, time.Since(began))
		}
		w.succeed()
		time.Sleep(retryFirst)
		expect(t, s, 1)
	})
}

func TestTheSourceWaitsForAsLongAsTheTokenServiceDemands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900}
		w.fail("30")
		s := w.source(t)
		for range 29 {
			if _, err := s.Token(); err == nil {
				t.Fatal("no error")
			}
			time.Sleep(time.Second)
		}
		if n := w.asked.Load(); n != 1 {
			t.Errorf("%d requests", n)
		}
		w.succeed()
		time.Sleep(time.Second)
		expect(t, s, 1)
	})
}

func TestATokenThatIsRefusedIsReplacedUnlessItIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900, delay: time.Second}
		s := w.source(t)
		expect(t, s, 1)
		if _, err := s.Renew(t.Context(), "t1.t1.t1"); err == nil || w.asked.Load() != 1 {
			t.Errorf("a new token was replaced: error %v, %d requests", err, w.asked.Load())
		}
		time.Sleep(renewAge)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if token, err := s.Renew(t.Context(), "t1.t1.t1"); err != nil || token.AccessToken != "t2.t2.t2" {
					t.Errorf("error %v", err)
				}
			})
		}
		wg.Go(func() { expect(t, s, 1) }) // it may be good elsewhere
		wg.Wait()
		if token, err := s.Renew(t.Context(), "t1.t1.t1"); err != nil || token.AccessToken != "t2.t2.t2" || w.asked.Load() != 2 {
			t.Errorf("error %v, %d requests", err, w.asked.Load())
		}
		expect(t, s, 2)

		w.fail("")
		time.Sleep(renewAge)
		if _, err := s.Renew(t.Context(), "t2.t2.t2"); err == nil {
			t.Error("renewed without a token service")
		}
		expect(t, s, 2)
	})
}

func TestATokenWithoutALifeIsNotKept(t *testing.T) {
	w := &wire{life: 0}
	s := w.source(t)
	expect(t, s, 1)
	expect(t, s, 2)
}

func TestAMinterIsAProviderWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := &counting{Signer: goldenMinter(t).signer()}
		m, err := New(Config{Issuer: "https://auth.example.com", Client: "orders", KeyID: "k1", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		audience := []string{"https://billing"}
		s := newSource(t, SourceConfig{Provider: m, Request: Request{Audience: audience, Scope: "a", TTL: time.Hour}})
		audience[0] = "https://evil"
		first, err := s.Token()
		if err != nil {
			t.Fatal(err)
		}
		if !first.Expiry.Equal(time.Now().Add(time.Hour)) || first.Extra("scope") != "a" || first.Type() != "Bearer" || !first.Valid() {
			t.Errorf("expiry %v, scope %v, type %s", first.Expiry, first.Extra("scope"), first.Type())
		}
		if token, err := jws.Parse(first.AccessToken); err != nil || !slices.Equal(token.Claims.Audience, []string{"https://billing"}) {
			t.Errorf("the audience was changed after it was given: %v", err)
		}
		text := first.AccessToken
		first.AccessToken = "changed by its owner"
		for range 50 * 60 {
			again, err := s.Token()
			if err != nil || again.AccessToken != text {
				t.Fatalf("another token, or error %v", err)
			}
			time.Sleep(time.Second)
		}
		if n := key.calls.Load(); n != 1 {
			t.Errorf("%d signatures", n)
		}
		time.Sleep(10 * time.Minute)
		if again, err := s.Token(); err != nil || again.AccessToken == text {
			t.Errorf("the token was not renewed: %v", err)
		}
	})
}

func TestCloseEndsTheRequestAndWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900, delay: time.Hour}
		s := w.source(t, func(c *SourceConfig) {
			c.Timeout = time.Hour
			c.Failed = func(err error) { t.Errorf("told of %v", err) }
		})
		failed := make(chan error, 1)
		go func() {
			_, err := s.Token()
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		s.Close()
		if w.atOnce.Load() != 0 || time.Since(began) != 0 {
			t.Errorf("a request is under way %v after Close", time.Since(began))
		}
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Token(); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
		if _, err := s.Renew(t.Context(), "x"); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
		s.Close()
	})
}

func TestASourceThatIsClosedHasNoToken(t *testing.T) {
	w := &wire{life: 900}
	s := w.source(t)
	expect(t, s, 1)
	s.Close()
	if _, err := s.Token(); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
}

func TestASourceThatCannotBeRightIsRefused(t *testing.T) {
	if _, err := NewSource(SourceConfig{}); err == nil {
		t.Error("no provider: no error")
	}
	if _, err := NewSource(SourceConfig{Provider: goldenMinter(t), Timeout: -1}); err == nil {
		t.Error("a negative timeout: no error")
	}
}

func TestASourceDoesNotPrintItsToken(t *testing.T) {
	w := &wire{life: 900}
	s := w.source(t)
	transport, err := NewTransport(TransportConfig{Source: s, Origins: []string{"https://billing.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s, 1)
	for _, value := range []any{s, transport, *transport, s.Status(), struct{ S *Source }{s}, []any{s, transport}, s.held.Load} {
		var text bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&text, verb, value)
		}
		if asJSON, err := json.Marshal(value); err == nil {
			text.Write(asJSON)
		}
		if strings.Contains(text.String(), "t1.t1") || strings.Contains(text.String(), fmt.Sprintf("%x", "t1.t1")) {
			t.Errorf("%T shows the token", value)
		}
	}
	if text := fmt.Sprint(s); !strings.HasPrefix(text, "token source with an access token until 20") {
		t.Errorf("prints as %s", text)
	}
}

func BenchmarkSource(b *testing.B) {
	s, err := NewSource(SourceConfig{Provider: goldenMinter(b), Request: Request{Audience: []string{"https://billing"}}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Token(); err != nil {
			b.Fatal(err)
		}
	}
}
