package httpauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/internal/bearer"
)

// Verifier judges tokens. It is called by many goroutines at once, and must not wait.
type Verifier interface {
	VerifyRequest(token string, r verifier.Request) (*verifier.Token, error)
}

var _ Verifier = (*verifier.Verifier)(nil)

// Config of a guard. Verifier is required.
type Config struct {
	Verifier Verifier
	// Audience takes the place of the verifier's. Empty: it does not.
	Audience string
	// Scopes are what a token must have, all of them. Empty: any token for the audience will do.
	Scopes []string
	// Realm says in challenges what is protected. Empty: "keyherald".
	Realm string
	// Query also takes tokens from the query, as access_token.
	Query bool
	// Cookie is the name of a cookie from which tokens are also taken. Empty: from none.
	Cookie string
	// Certificate returns the certificate that the caller has proved to have, or nil. It is asked only for tokens that are bound to
	// one, when they have proved good. Nil: the one that was shown on the TLS connection.
	Certificate func(*http.Request) *x509.Certificate
	// Refused is told of every request that is not accepted, before it is answered: to count them. Nil: nobody is.
	Refused func(*http.Request, *Error)
	// Logger gets the requests that are not accepted, and why: a few a second with a count of what was left out, so that who sends garbage
	// does not fill a disk. Requests without a token are logged at debug level. The zero Logger is silent.
	Logger zerolog.Logger
}

// Guard accepts or refuses requests. It may be used by any number of goroutines.
type Guard struct {
	cfg Config

	// The answers that are always the same.
	noToken, otherScheme, twoTokens, badSyntax, tooLong, scope *Error
	invalidToken                                               string // challenge

	log *bearer.Log
}

// Require returns middleware that lets requests pass which have a token that v accepts, with all the scopes. It panics if there is no
// verifier, or a scope is not one: these are mistakes in the program.
func Require(v Verifier, scopes ...string) func(http.Handler) http.Handler {
	g, err := New(Config{Verifier: v, Scopes: scopes})
	if err != nil {
		panic(err)
	}
	return g.Handler
}

// New makes a guard.
func New(cfg Config) (*Guard, error) {
	if cfg.Verifier == nil {
		return nil, errors.New("httpauth: no verifier")
	}
	if cfg.Realm == "" {
		cfg.Realm = "keyherald"
	}
	if !isQuotable(cfg.Realm) {
		return nil, fmt.Errorf(`httpauth: realm %q is not printable ASCII without " and \`, cfg.Realm)
	}
	if err := bearer.ValidateScopes(cfg.Scopes); err != nil {
		return nil, fmt.Errorf("httpauth: %w", err)
	}
	challenge := `Bearer realm="` + cfg.Realm + `"`
	invalid := challenge + `, error="invalid_token"`
	malformed := challenge + `, error="invalid_request"`
	insufficient := challenge + `, error="insufficient_scope", scope="` + strings.Join(cfg.Scopes, " ") + `"`
	return &Guard{
		cfg:          cfg,
		noToken:      &Error{Status: 401, Challenge: challenge, Reason: ReasonNoToken, text: "there is no token"},
		otherScheme:  &Error{Status: 401, Challenge: challenge, Reason: ReasonScheme, text: "the scheme of the Authorization header is not Bearer"},
		twoTokens:    &Error{Status: 400, Challenge: malformed, Reason: ReasonRequest, text: "there is more than one token"},
		badSyntax:    &Error{Status: 400, Challenge: malformed, Reason: ReasonRequest, text: "the token is missing, or has characters that no token has"},
		tooLong:      &Error{Status: 401, Challenge: invalid, Reason: verifier.ReasonMalformed, text: "the token is longer than any that is accepted"},
		scope:        &Error{Status: 403, Challenge: insufficient, Reason: ReasonScope, text: "the token lacks a scope that is required"},
		invalidToken: invalid,
		log:          bearer.NewLog(cfg.Logger),
	}, nil
}

// isQuotable reports whether s can stand in a quoted string of a header as it is.
func isQuotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Judge returns the token of a request, or why it is not accepted: an [*Error]. It answers nothing and logs nothing.
func (g *Guard) Judge(r *http.Request) (*verifier.Token, error) {
	text, refusal := g.token(r)
	if refusal != nil {
		return nil, refusal
	}
	request := verifier.Request{Audience: g.cfg.Audience}
	if g.cfg.Certificate != nil || r.TLS != nil {
		request.Confirm = func(c verifier.Confirmation) bool { return verifier.ByCertificate(g.certificate(r))(c) }
	}
	token, err := g.cfg.Verifier.VerifyRequest(text, request)
	if err != nil {
		return nil, g.asError(err)
	}
	if !bearer.HasScopes(token, g.cfg.Scopes) {
		return nil, g.scope
	}
	return token, nil
}

// certificate is what the caller has proved to have.
func (g *Guard) certificate(r *http.Request) *x509.Certificate {
	switch {
	case g.cfg.Certificate != nil:
		return g.cfg.Certificate(r)
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		return r.TLS.PeerCertificates[0]
	}
	return nil
}

// asError makes an answer of what the verifier said.
func (g *Guard) asError(err error) *Error {
	reason, undecided := bearer.Refused(err)
	if undecided {
		return &Error{Status: http.StatusServiceUnavailable, RetryAfter: bearer.RetryAfter, Reason: reason, cause: err}
	}
	return &Error{Status: http.StatusUnauthorized, Challenge: g.invalidToken, Reason: reason, cause: err}
}

// Refuse answers a request with what [Guard.Judge] said of it, after it was logged and counted.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = g.asError(err)
	}
	if g.cfg.Refused != nil {
		g.cfg.Refused(r, e)
	}
	if line := g.log.Line(e.Reason, e); line != nil {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		line.Int("status", e.Status).Str("address", host).Msg("request refused")
	}
	e.ServeHTTP(w, r)
}

// Handler returns a handler that lets requests pass to next which are accepted, with their token in the context.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := g.Judge(r)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, token)))
	})
}

type tokenKey struct{}

// FromContext returns the token of the request that a guard let pass. Without a guard there is none.
func FromContext(ctx context.Context) (*verifier.Token, bool) {
	token, ok := ctx.Value(tokenKey{}).(*verifier.Token)
	return token, ok
}
