package gate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/httpauth"
)

// Verifier judges tokens, and knows how current its key set is.
type Verifier interface {
	httpauth.Verifier
	Status() verifier.Status
}

var _ Verifier = (*verifier.Verifier)(nil)

// Config of a gate. Verifier is required.
type Config struct {
	Verifier Verifier
	// Policies by name. If there is none of the name [DefaultPolicy], it accepts every token for the verifier's audience.
	Policies map[string]Policy
	// HeaderPrefix begins the names of the headers that say who calls. Empty: X-Auth-.
	HeaderPrefix string
	// Query also takes tokens from the client's query, as access_token.
	Query bool
	// Cookie is the name of a cookie from which tokens are also taken. Empty: from none.
	Cookie string
	// Certificate returns the certificate that the client has proved to have, or nil: see [httpauth.Config].
	Certificate func(*http.Request) *x509.Certificate
	// Registerer gets the metrics. Nil: nobody does.
	Registerer prometheus.Registerer
	// Logger gets requests that are refused, a few a second. The zero Logger is silent.
	Logger zerolog.Logger
}

// Gate answers proxies. It may be used by any number of goroutines.
type Gate struct {
	cfg      Config
	identity identity
	policies map[string]*policy
	metrics  *metrics
	mistakes *rate.Limiter // of the proxy's configuration, in the log
}

// policy is a policy in use.
type policy struct {
	guard    *httpauth.Guard
	accepted prometheus.Counter
}

// New makes a gate.
func New(cfg Config) (*Gate, error) {
	if cfg.Verifier == nil {
		return nil, errors.New("gate: no verifier")
	}
	if cfg.HeaderPrefix == "" {
		cfg.HeaderPrefix = "X-Auth-"
	}
	if !isName(cfg.HeaderPrefix) {
		return nil, fmt.Errorf("gate: %q cannot begin the name of a header", cfg.HeaderPrefix)
	}
	g := &Gate{cfg: cfg, identity: newIdentity(cfg.HeaderPrefix), policies: map[string]*policy{}, mistakes: rate.NewLimiter(1, 10)}
	var err error
	if g.metrics, err = newMetrics(cfg.Registerer, cfg.Verifier); err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	if err := g.add(DefaultPolicy, cfg.Policies[DefaultPolicy]); err != nil {
		return nil, err
	}
	for name, p := range cfg.Policies {
		if err := g.add(name, p); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Gate) add(name string, p Policy) error {
	if !isName(name) {
		return fmt.Errorf("gate: the name of policy %q is not 1 to %d of A-Z a-z 0-9 _ -", name, maxName)
	}
	guard, err := httpauth.New(httpauth.Config{
		Verifier: g.cfg.Verifier, Audience: p.Audience, Scopes: p.Scopes, Query: g.cfg.Query, Cookie: g.cfg.Cookie, Certificate: g.cfg.Certificate,
		Refused: func(_ *http.Request, e *httpauth.Error) { g.metrics.refused(name, e) },
		Logger:  g.cfg.Logger.With().Str("policy", name).Logger(),
	})
	if err != nil {
		return fmt.Errorf("gate: policy %s: %w", name, err)
	}
	g.policies[name] = &policy{guard, g.metrics.acceptedBy(name)}
	return nil
}

// The paths. They are compared as they came: to clean them would let a client's path reach into the proxy's part of it.
const (
	verifyPath   = "/verify"
	extAuthzPath = "/ext_authz/"
)

// Handler answers proxies, and those who watch over the gate.
func (g *Gate) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		switch {
		case path == verifyPath:
			g.serveVerify(w, r, DefaultPolicy)
		case strings.HasPrefix(path, verifyPath+"/"):
			g.serveVerify(w, r, path[len(verifyPath)+1:])
		case strings.HasPrefix(path, extAuthzPath):
			name, _, _ := strings.Cut(path[len(extAuthzPath):], "/")
			g.serveDecision(w, r, name)
		case path == "/healthz":
			writeText(w, http.StatusOK, "ok")
		case path == "/readyz":
			g.serveReady(w)
		default:
			writeText(w, http.StatusNotFound, "there is nothing here: see /verify and /ext_authz/")
		}
	})
}

// serveVerify answers a proxy that tells the client's path and query in a header, if at all.
func (g *Gate) serveVerify(w http.ResponseWriter, r *http.Request, name string) {
	if r.URL.RawQuery != "" {
		if query := r.URL.Query(); query.Has("scope") || query.Has("audience") {
			g.mistake(r, "requirements are not read from a query: name a policy in the path (and if this is the client's query, let the proxy not append it)")
			writeText(w, http.StatusInternalServerError, "requirements are not read from a query")
			return
		}
	}
	_, query, _ := strings.Cut(r.Header.Get("X-Forwarded-Uri"), "?")
	if query != r.URL.RawQuery { // what counts is where the client's token may be
		asked := *r
		asked.URL = &url.URL{Path: r.URL.Path, RawQuery: query}
		r = &asked
	}
	g.serveDecision(w, r, name)
}

func (g *Gate) serveDecision(w http.ResponseWriter, r *http.Request, name string) {
	began := time.Now()
	p := g.policies[name]
	if p == nil {
		g.metrics.noPolicy()
		g.mistake(r, "there is no policy of the name in the path")
		writeText(w, http.StatusNotFound, "there is no such policy")
		return
	}
	token, err := p.guard.Judge(r)
	if err != nil {
		p.guard.Refuse(w, r, err)
	} else {
		header := w.Header()
		g.identity.write(header, token)
		header["Cache-Control"] = []string{"no-store"}
		header["Content-Length"] = []string{"0"}
		w.WriteHeader(http.StatusOK)
		p.accepted.Inc()
	}
	g.metrics.duration.Observe(time.Since(began).Seconds())
}

// mistake logs, not too often, what whoever configured the proxy has to know. Of the request it has nothing that a client may have written.
func (g *Gate) mistake(r *http.Request, what string) {
	if g.mistakes.Allow() {
		g.cfg.Logger.Warn().Str("address", r.RemoteAddr).Msg(what)
	}
}

func (g *Gate) serveReady(w http.ResponseWriter) {
	if status := g.cfg.Verifier.Status(); !status.Confirmed || status.Stale {
		writeText(w, http.StatusServiceUnavailable, "not ready: "+unready(status))
		return
	}
	writeText(w, http.StatusOK, "ready")
}

func unready(status verifier.Status) string {
	if !status.Confirmed {
		return "the key set has not been read completely yet"
	}
	return fmt.Sprintf("the key set was confirmed %s ago: longer than the staleness limit", status.Staleness.Round(time.Second))
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}
