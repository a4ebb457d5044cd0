package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/issuer/peer"
	"github.com/keyherald/keyherald/registry/admin"
	"github.com/keyherald/keyherald/verifier"
)

// withRegistry puts the registry's API beside the token service. A node without an operator's credential has none, and says so.
func (c *serveCmd) withRegistry(a *app, node *issuer.Node, office *office) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("/", node.Handler())
	mux.Handle("GET "+admin.DocumentPattern(c.Issuer), admin.OpenAPI(c.Issuer))
	api := admin.Unmounted(c.Issuer)
	if office != nil {
		v, err := verifier.New(verifier.Config{Audience: c.Issuer, AccountAudience: true, MaxStaleness: c.MaxStaleness, Logger: a.log}, office.keys)
		if err != nil {
			return nil, err
		}
		mounted, err := admin.New(admin.Config{
			Issuer: c.Issuer, Registry: office.Registry, Keys: office.keys, Authorizer: callers{v, office.keys}, Cursors: cursors{node}, Logger: a.log,
		})
		if err != nil {
			return nil, err
		}
		api = mounted.Handler()
	}
	for _, pattern := range admin.Patterns(c.Issuer) {
		mux.Handle(pattern, api)
	}
	return mux, nil
}

// callers judges the callers of the registry's API by the access tokens of our own platform: one for its URL, or one that a client has
// minted for it or for the whole account. Those of external issuers are refused. Whoever writes must be good now, not an hour ago: the set is
// brought up to date first.
type callers struct {
	verifier *verifier.Verifier
	keys     upToDate
}

// upToDate brings a live set up to date; [*bus.KeySet] does.
type upToDate interface {
	Sync(context.Context) error
	SyncRevocations(context.Context) error
}

var _ upToDate = (*bus.KeySet)(nil)

var _ admin.Authorizer = callers{}

func (c callers) Authorize(r *http.Request, token string) (admin.Grant, error) {
	if err := errors.Join(c.keys.Sync(r.Context()), c.keys.SyncRevocations(r.Context())); err != nil {
		return admin.Grant{}, fmt.Errorf("%w: %w", admin.ErrUndecided, err)
	}
	shown, err := peer.Certificates(r)
	if err != nil {
		return admin.Grant{}, err
	}
	var cert *x509.Certificate // none
	if len(shown) > 0 {
		cert = shown[0]
	}
	accepted, err := c.verifier.VerifyRequest(token, verifier.Request{Confirm: verifier.ByCertificate(cert)})
	if errors.Is(err, verifier.ErrUndecided) {
		return admin.Grant{}, fmt.Errorf("%w: %w", admin.ErrUndecided, err)
	}
	if err != nil {
		return admin.Grant{}, err
	}
	return admin.Grant{Client: accepted.Client, Scope: accepted.Scope}, nil
}

const (
	typeCursor = "cursor+jwt"
	cursorLife = 10 * time.Minute
)

// cursors are signed by the node that makes them, with the key of its tokens: every other node has the public half.
type cursors struct{ node *issuer.Node }

var _ admin.Cursors = cursors{}

func (c cursors) Seal(caller events.Name, position string) (string, error) {
	cursor, err := c.node.Sign(issuer.Statement{Type: typeCursor, Subject: string(caller), Value: position, Expires: time.Now().Add(cursorLife)})
	return cursor, undecidedCursor(err)
}

func (c cursors) Open(caller events.Name, cursor string) (string, error) {
	s, err := c.node.Open(typeCursor, cursor)
	if err != nil {
		return "", undecidedCursor(err)
	}
	if s.Subject != string(caller) {
		return "", errors.New("the cursor was made for another caller")
	}
	return s.Value, nil
}

func undecidedCursor(err error) error {
	if errors.Is(err, issuer.ErrUnavailable) {
		return fmt.Errorf("%w: %w", admin.ErrUndecided, err)
	}
	return err
}
