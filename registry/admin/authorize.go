package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// Grant is what an access token says of who calls.
type Grant struct {
	Client events.Name  // whom it speaks for
	Scope  events.Scope // effective: within what the client's record grants
}

// Authorizer judges the access tokens of callers.
type Authorizer interface {
	// Authorize returns whom a token, which came with r, speaks for. It accepts a token only if it is meant for the platform, or for all of
	// its account, and if r comes from whoever it is bound to. The error tests as [ErrUndecided] if that cannot be said now; any
	// other refuses the token. An error has no part of the token in it: it is logged.
	Authorize(r *http.Request, token string) (Grant, error)
}

// ErrUndecided is what an [Authorizer] and [Cursors] say when they cannot decide now.
var ErrUndecided = errors.New("it cannot be decided now")

// authorize finds out who calls, and checks that the token has the scope value.
func (a *API) authorize(r *request, scope string) error {
	token, err := bearer(r.http)
	if err != nil {
		return err
	}
	grant, err := a.cfg.Authorizer.Authorize(r.http, token)
	if errors.Is(err, ErrUndecided) {
		return unavailable(err)
	}
	if err != nil {
		p := newProblem(http.StatusUnauthorized, "invalid-token", "The access token is not accepted", "it is malformed, has expired, was revoked, or is not for this service")
		p.challenge, p.reason = `error="invalid_token"`, err.Error()
		return p
	}
	r.caller = registry.Caller{
		Name:      "http:" + string(grant.Client) + " " + remoteHost(r.http),
		Authority: &registry.Authority{Client: grant.Client, Scope: grant.Scope},
	}
	if err := r.caller.Authority.Need(scope); err != nil {
		return asProblem(err)
	}
	return nil
}

// bearer returns the access token of a request. It must come in one Authorization header (RFC 6750 §2.1): URLs get into logs, and of two
// tokens two readers may see different ones.
func bearer(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	headers := r.Header.Values("Authorization")
	switch {
	case err != nil:
		return "", invalidRequest("the URL has a malformed query")
	case query.Has("access_token"):
		p := invalidRequest("an access token was sent in the URL, and may be in logs now: send it in the Authorization header, and revoke this one")
		p.challenge = `error="invalid_request"`
		return "", p
	case len(headers) > 1:
		p := invalidRequest("more than one Authorization header")
		p.challenge = `error="invalid_request"`
		return "", p
	}
	scheme, token, _ := strings.Cut(strings.Join(headers, ""), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		p := newProblem(http.StatusUnauthorized, "unauthorized", "An access token is needed", "send Authorization: Bearer and an access token for this platform")
		p.challenge = bareChallenge // RFC 6750 §3.1: no error code for a request that has no token
		return "", p
	}
	return strings.TrimLeft(token, " "), nil
}
