package mint

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/keyherald/keyherald/events"
)

// TransportConfig says which requests get a token, and from where.
type TransportConfig struct {
	// Source has the tokens. Required.
	Source *Source
	// Origins are where the tokens may be sent: scheme, host and, unless it is the scheme's own, port, such as
	// https://billing.example.com. At least one is required. Plain http is for loopback addresses only.
	Origins []string
	// Base sends the requests. Nil: [http.DefaultTransport].
	Base http.RoundTripper
}

// Transport is an [http.RoundTripper] that adds a token to each request, as Authorization: Bearer (RFC 6750 §2.1).
//
// A token goes to its origins and nowhere else. An [http.Client] that is redirected takes the Authorization header off on the way to
// another host; but every request on the way comes through the transport, which would add it again. So one that was
// redirected to another origin goes out without a token, and so does whatever it is redirected to from there, even back to
// where it came from: somebody else has chosen that request. One that was sent to another origin in the first place is an
// error.
//
// If the answer is 401 with the error invalid_token (RFC 6750 §3.1), the token has ended for that service before its time: it was
// revoked, or its key was. Then the transport gets another one (see [Source.Renew]) and sends the request again, once, if it
// can: if it has no body, or one with a GetBody, as [http.NewRequest] makes of buffers and strings. Otherwise, and if there is
// no other token, the caller gets the 401.
//
// The context of a request bounds its wait for a token, too. It is safe for concurrent use.
type Transport struct {
	source  *Source
	origins []origin
	base    http.RoundTripper
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport returns a transport.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	if cfg.Source == nil {
		return nil, errors.New("token transport: no source")
	}
	if len(cfg.Origins) == 0 {
		return nil, errors.New("token transport: no origins: say where tokens may be sent, such as https://billing.example.com")
	}
	t := &Transport{source: cfg.Source, base: cfg.Base}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	for _, text := range cfg.Origins {
		if err := events.CheckIssuerURL("origin", text); err != nil {
			return nil, fmt.Errorf("token transport: %w", err)
		}
		u, err := url.Parse(text)
		if err != nil || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("token transport: origin %.100q has a path: paths of one origin are not kept apart, leave it out", text)
		}
		t.origins = append(t.origins, originOf(u))
	}
	return t, nil
}

// origin is a scheme, a host and a port (RFC 6454 §4).
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()}
	if o.port == "" {
		o.port = map[string]string{"http": "80", "https": "443"}[o.scheme]
	}
	return o
}

func (t *Transport) has(u *url.URL) bool { return u != nil && slices.Contains(t.origins, originOf(u)) }

// admits reports whether a request gets a token: if it goes to an origin of theirs, and so did all before it that were redirected.
func (t *Transport) admits(r *http.Request) (bool, error) {
	if r.URL == nil {
		return false, errors.New("token transport: the request has no URL")
	}
	if r.Response == nil && !t.has(r.URL) {
		return false, fmt.Errorf("token transport: %s://%s is not an origin that tokens may be sent to: "+
			"add it to Origins, or use another client for it", r.URL.Scheme, r.URL.Host)
	}
	for {
		switch {
		case !t.has(r.URL):
			return false, nil
		case r.Response == nil:
			return true, nil
		case r.Response.Request == nil: // it is not known from where it was redirected
			return false, nil
		}
		r = r.Response.Request
	}
}

// RoundTrip sends a request with a token.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	admitted, err := t.admits(r)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	if !admitted {
		return t.base.RoundTrip(r)
	}
	token, err := t.source.TokenContext(r.Context())
	if err != nil {
		closeBody(r)
		return nil, fmt.Errorf("token transport: %w", err)
	}
	response, err := t.send(r, r.Body, token)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !isInvalidToken(response.Header) {
		return response, err
	}
	return t.again(r, response, token)
}

// again sends a request with another token than the refused one, or returns the refusal if that cannot be.
func (t *Transport) again(r *http.Request, refusal *http.Response, refused *oauth2.Token) (*http.Response, error) {
	hasBody := r.Body != nil && r.Body != http.NoBody
	if hasBody && r.GetBody == nil {
		t.source.Refused(refused.AccessToken) // for the next request
		return refusal, nil
	}
	token, err := t.source.Renew(r.Context(), refused.AccessToken)
	if err != nil {
		return refusal, nil // Source.Status has the reason
	}
	body := r.Body
	if hasBody {
		if body, err = r.GetBody(); err != nil {
			return refusal, nil
		}
	}
	_, _ = io.CopyN(io.Discard, refusal.Body, maxDrain)
	refusal.Body.Close()
	return t.send(r, body, token)
}

// send sends a copy of a request: its own is not the transport's to change. The answer is to the original, which has no token.
func (t *Transport) send(r *http.Request, body io.ReadCloser, token *oauth2.Token) (*http.Response, error) {
	bearing := r.Clone(r.Context())
	bearing.Body = body
	token.SetAuthHeader(bearing)
	response, err := t.base.RoundTrip(bearing)
	if response != nil {
		response.Request = r
	}
	return response, err
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// CloseIdleConnections closes those of the base, if it has such.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}
