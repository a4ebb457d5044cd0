package mint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// Provider makes tokens: a [*Minter], offline, or a [*Requester], online.
type Provider interface {
	provide(context.Context, Request) (*Token, error)
}

// SourceConfig says what tokens a [Source] has, and where they come from.
type SourceConfig struct {
	// Provider is a [*Minter] or a [*Requester]. Required.
	Provider Provider
	// Request is what every token is to say.
	Request Request
	// Timeout bounds the wait for one token, however long the callers would wait. Zero: 10 seconds. A private key that takes
	// longer to sign is waited for, because a [crypto.Signer] cannot be interrupted.
	Timeout time.Duration
	// Failed is told of each request that failed, why. The token in hand is used on, if there is one: [Source.Status] says until
	// when. It must return soon, and not call Close. Nil: nobody is told.
	Failed func(error)
}

// Source has the tokens of one request, and is an [oauth2.TokenSource]. It is safe for concurrent use.
//
// It uses each token until shortly before its end, when a tenth of its life is left: at least 10 seconds (but no more than half of the
// life), at most 5 minutes; and up to a half more by chance, so that services which were started together do not all
// renew at once.
//
// There is one request at a time, for all callers, and it is nobody's: a caller that no longer waits does not end it for the
// others. Renewal keeps no caller waiting: until the new token is there, they get the one in hand. If renewal fails they go on
// getting it until its very end, while the source tries again; SourceConfig.Failed and [Source.Status] tell. Without a valid
// token they get the error. After a failure there is no new request for a moment (a quarter of a second, at most 10, or as
// long as the token service demands): who calls within it gets the last error at once.
//
// What it returns is printed, by fmt and as JSON, with the token in it, since that is how [oauth2.Token] is; the source itself is not.
type Source struct {
	provider Provider
	request  Request
	timeout  time.Duration
	failed   func(error)

	held atomic.Pointer[held] // the token in hand, or nil; written under mu

	mu       sync.Mutex // guards the rest
	flight   *flight    // the request under way, or nil
	failures int        // in a row
	err      error      // of the last request, or nil
	nextAt   time.Time  // no request before
	closed   bool

	flights sync.WaitGroup
}

var _ oauth2.TokenSource = (*Source)(nil)

// ErrClosed: the source was closed.
var ErrClosed = errors.New("mint: the token source is closed")

// NewSource returns a source. It asks for nothing until it is asked.
func NewSource(cfg SourceConfig) (*Source, error) {
	if cfg.Provider == nil {
		return nil, errors.New("token source: no provider: give a minter or a requester")
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("token source: a timeout of %v leaves no time", cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = requestTimeout
	}
	cfg.Request.Audience = slices.Clone(cfg.Request.Audience)
	return &Source{provider: cfg.Provider, request: cfg.Request, timeout: cfg.Timeout, failed: cfg.Failed}, nil
}

// Token is [Source.TokenContext] without a context: it waits for as long as the source's timeout.
func (s *Source) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns a valid token, which is the caller's own copy. The context bounds only how long this caller waits if
// there is none: nothing of it, no value and no end, gets into the request for the token. A token that is in hand is returned even
// if the context is done.
//
// A token says nothing about how long it will be needed: a request that is under way for longer than a token lives is judged when it
// arrives, once. Who sends many requests over a long time takes a token for each of them, as [Transport] does.
func (s *Source) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	now := time.Now()
	if h := s.held.Load(); h != nil && now.Before(h.renew) {
		return h.copy(), nil
	}
	h, f, err := s.board(ctx, now, "")
	switch {
	case h != nil && now.Before(h.token.Expiry): // whatever becomes of the renewal
		return h.copy(), nil
	case err != nil:
		return nil, err
	}
	return f.wait(ctx)
}

// Renew returns another token than one that a service has refused as invalid, asking for a new one unless there is another
// already. The refused one stays in hand until the new one is there: it may be good elsewhere. A token that is less than 10 seconds
// old is not replaced, so that a service which refuses everything does not cause a request for each refusal.
func (s *Source) Renew(ctx context.Context, refused string) (*oauth2.Token, error) {
	h, f, err := s.board(ctx, time.Now(), refused)
	switch {
	case err != nil:
		return nil, err
	case f != nil:
		return f.wait(ctx)
	}
	return h.copy(), nil
}

// Refused is [Source.Renew] for who does not want to wait.
func (s *Source) Refused(accessToken string) {
	_, _, _ = s.board(context.Background(), time.Now(), accessToken) // Status has the error
}

// Status is what a source has, for a health check or a metric.
type Status struct {
	Expires  time.Time // the end of the token in hand; zero: there is none
	Err      error     // why the last request failed; nil: it did not
	Failures int       // how many requests failed in a row
}

// Status returns what the source has now.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := Status{Err: s.err, Failures: s.failures}
	if h := s.held.Load(); h != nil {
		status.Expires = h.token.Expiry
	}
	return status
}

// Close ends the request that is under way, if there is one, and returns when it has ended. After that there are no tokens, only
// [ErrClosed]. A source that is not closed leaves nothing behind but a request that ends with its timeout.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.held.Store(nil)
	if s.flight != nil {
		s.flight.cancel()
	}
	s.mu.Unlock()
	s.flights.Wait()
}

// Format prints when the token in hand ends, whatever the verb, and not the token.
func (s *Source) Format(f fmt.State, _ rune) {
	text := "token source without a token"
	if h := s.held.Load(); h != nil {
		text = "token source with an " + Token{Expires: h.token.Expiry}.describe()
	}
	_, _ = io.WriteString(f, text)
}
