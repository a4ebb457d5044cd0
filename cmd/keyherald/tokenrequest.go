package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/keyherald/keyherald/issuer/mint"
)

type tokenRequestCmd struct {
	requestCredential
	Issuer   string        `help:"URL of the platform's token service." required:"" placeholder:"URL"`
	Audience []string      `help:"Audience of the token; may be repeated. Without it, all that the client is registered for." placeholder:"AUD" sep:"none"`
	Scope    string        `help:"Scope of the token. Without it, all that the client's record grants." placeholder:"SCOPE"`
	Timeout  time.Duration `help:"How long to wait for the token." default:"15s" placeholder:"DURATION"`
}

func (c *tokenRequestCmd) Run(ctx context.Context, a *app) error {
	credential, err := c.proof(c.Issuer)
	if err != nil {
		return err
	}
	client, err := c.httpClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: c.Issuer, Credential: credential, HTTP: client})
	if err != nil {
		return err
	}
	if c.Timeout <= 0 {
		return usage("--timeout %s leaves no time", c.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	token, err := requestPatiently(ctx, a, requester, mint.Request{Audience: c.Audience, Scope: c.Scope})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, token.AccessToken)
	return err
}

// requestPatiently asks again for a while if the token service is just starting: a node has no signing key in its first
// second.
func requestPatiently(ctx context.Context, a *app, requester *mint.Requester, request mint.Request) (*mint.Token, error) {
	token, err := requester.Token(ctx, request)
	if !unavailable(err) {
		return token, err
	}
	fmt.Fprintf(a.err, "keyherald: waiting up to %s for the token service: %s\n", startPatience, oneLine(err))
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for unavailable(err) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
		var next error
		if token, next = requester.Token(ctx, request); next != nil && ctx.Err() != nil {
			return nil, err // which says more than that the time was over
		}
		err = next
	}
	return token, err
}

// unavailable reports whether an error is one that goes away when the token service has started.
func unavailable(err error) bool {
	var refused *mint.OAuthError
	return errors.As(err, &refused) && refused.Status == http.StatusServiceUnavailable || errors.Is(err, syscall.ECONNREFUSED)
}
