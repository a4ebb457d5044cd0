package mint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/oauth2"
)

// held is a token in hand. It is not changed. Its times are of the wall clock, by which tokens end, and not of the monotonic
// one, which stands still while a machine is suspended.
type held struct {
	token        oauth2.Token
	since, renew time.Time
}

// hold decides when a token is renewed: see [Source]. One that ends soon is used for at least a quarter of its life.
func hold(token *Token, since time.Time) *held {
	since, end := since.Round(0), token.Expires.Round(0)
	life := max(end.Sub(since), 0)
	lead := min(max(life/renewPart, renewLeast), renewMost, life/2)
	lead += rand.N(lead/2 + 1)
	t := oauth2.Token{AccessToken: token.AccessToken, TokenType: "Bearer", Expiry: end}
	if token.Scope != "" {
		t = *t.WithExtra(map[string]any{"scope": token.Scope})
	}
	return &held{token: t, since: since, renew: end.Add(-lead)}
}

// copy returns a token that its caller may change.
func (h *held) copy() *oauth2.Token {
	token := h.token
	return &token
}

// flight is a request for a token, for all who wait for it.
type flight struct {
	cancel context.CancelFunc

	done chan struct{} // closed when there is a result; until then the rest is of the flight's goroutine
	held *held
	err  error
}

func (f *flight) wait(ctx context.Context) (*oauth2.Token, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a token: %w", context.Cause(ctx))
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.held.copy(), nil
}

var errNew = errors.New("the refused token is new: another one would be refused, too")

// board returns the token in hand, if any, and, if it is to be renewed or was refused, the flight that brings the next one, or why there
// is none. It starts one if it is time.
func (s *Source) board(ctx context.Context, now time.Time, refused string) (*held, *flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held.Load()
	isRefused := h != nil && h.token.AccessToken == refused
	switch {
	case s.closed:
		return nil, nil, ErrClosed
	case h != nil && !isRefused && now.Before(h.renew): // the flight that everybody waited for has just landed
		return h, nil, nil
	case s.flight != nil:
		return h, s.flight, nil
	case isRefused && now.Sub(h.since) < renewAge:
		return h, nil, errNew
	case now.Before(s.nextAt):
		return h, nil, s.err
	case ctx.Err() != nil:
		return h, nil, fmt.Errorf("waiting for a token: %w", context.Cause(ctx))
	}
	flying, cancel := context.WithTimeout(context.Background(), s.timeout)
	f := &flight{cancel: cancel, done: make(chan struct{})}
	s.flight = f
	s.flights.Go(func() {
		defer cancel()
		token, err := s.provider.provide(flying, s.request)
		s.land(f, now, token, err)
	})
	return h, f, nil
}

// land takes what a flight has brought.
func (s *Source) land(f *flight, started time.Time, token *Token, err error) {
	s.mu.Lock()
	s.flight, s.err = nil, err
	closed := s.closed
	switch {
	case closed:
		f.err = ErrClosed
	case err != nil:
		f.err = err
		s.failures++
		s.nextAt = time.Now().Add(pause(s.failures, err))
	default:
		f.held = hold(token, started)
		s.failures = 0
		s.held.Store(f.held)
	}
	s.mu.Unlock()
	close(f.done)
	if err != nil && !closed && s.failed != nil {
		s.failed(err)
	}
}

// pause is how long to wait after a number of failures: it doubles, with jitter, and is not shorter than what the token service
// demands.
func pause(failures int, err error) time.Duration {
	wait := min(retryFirst<<min(failures-1, 10), retryMost)
	wait = wait/2 + rand.N(wait/2+1)
	var refused *OAuthError
	if errors.As(err, &refused) {
		wait = max(wait, refused.RetryAfter)
	}
	return wait
}
