package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/gate"
	"github.com/keyherald/keyherald/verifier/metrics"
)

// lateVerifier is a verifier that is there later: until then every token is undecided.
type lateVerifier struct {
	v atomic.Pointer[verifier.Verifier]
}

var (
	_ gate.Verifier  = (*lateVerifier)(nil)
	_ metrics.Source = (*lateVerifier)(nil)
)

func (l *lateVerifier) VerifyRequest(token string, r verifier.Request) (*verifier.Token, error) {
	if v := l.v.Load(); v != nil {
		return v.VerifyRequest(token, r)
	}
	return nil, errNoSet{}
}

func (l *lateVerifier) Status() verifier.Status {
	if v := l.v.Load(); v != nil {
		return v.Status()
	}
	return verifier.Status{Stale: true}
}

// Stats has all reasons from the beginning.
func (l *lateVerifier) Stats() verifier.Stats {
	if v := l.v.Load(); v != nil {
		return v.Stats()
	}
	s := verifier.Stats{Refused: map[verifier.Reason]uint64{}, Status: l.Status()}
	for _, reason := range verifier.Reasons() {
		s.Refused[reason] = 0
	}
	return s
}

func (l *lateVerifier) close() {
	if v := l.v.Load(); v != nil {
		v.Close()
	}
}

// errNoSet is undecided, as by a verifier whose set was never confirmed.
type errNoSet struct{}

func (errNoSet) Error() string { return "the key set has not been read yet" }
func (errNoSet) Unwrap() error { return &verifier.Error{Reason: verifier.ReasonStale} }

// followPatience is how long one attempt to read the key set may take, before the address is looked up again: a serve on this machine
// may have started elsewhere.
const followPatience = time.Minute

// follow connects the verifier. While the server is not there it waits; what waiting will not mend it returns.
func (c *gateCmd) follow(ctx context.Context, a *app, late *lateVerifier) error {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		v, err := c.connect(ctx, a)
		switch {
		case err == nil:
			late.v.Store(v)
			a.log.Info().Uint64("revision", v.Status().Revision).Msg("the key set is read")
			return nil
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bus.ErrPermission), !notStarted(err) && !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		a.log.Warn().Err(err).Msg("tokens are undecided: there is no key set yet")
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *gateCmd) connect(ctx context.Context, a *app) (*verifier.Verifier, error) {
	cfg, err := c.verifier(a)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, followPatience)
	defer cancel()
	v, err := verifier.Connect(ctx, cfg)
	return v, c.explain(err)
}
