package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// KeySet is a live copy of KEYS: the one that the registry syncs.
type KeySet interface {
	// Keys returns the set of now.
	Keys() *events.Set
}

// Config says what an API works on. All fields but Logger are required.
type Config struct {
	Issuer     string // URL of the platform
	Registry   *registry.Registry
	Keys       KeySet // which Registry brings up to date
	Authorizer Authorizer
	Cursors    Cursors
	// Logger gets the audit lines that the registry does not write: of reads, and of requests that did not get as far. The zero value is silent.
	Logger zerolog.Logger
}

// API serves the registry. Its handler may be used by any number of goroutines.
type API struct {
	cfg      Config
	reg      *registry.Registry
	throttle *throttle
	handler  http.Handler
}

// New makes an API.
func New(cfg Config) (*API, error) {
	if cfg.Issuer == "" || cfg.Registry == nil || cfg.Keys == nil || cfg.Authorizer == nil || cfg.Cursors == nil {
		return nil, errors.New("admin: Issuer, Registry, Keys, Authorizer and Cursors are required")
	}
	throttle, err := newThrottle()
	if err != nil {
		return nil, err
	}
	a := &API{cfg: cfg, reg: cfg.Registry, throttle: throttle}
	a.handler = serveEndpoints(cfg.Issuer, a.endpoint)
	return a, nil
}

// Handler returns the API. It serves the paths of [Patterns].
func (a *API) Handler() http.Handler { return a.handler }

// The paths, below the issuer's URL.
const (
	pathClients    = "/v1/clients"
	pathClient     = pathClients + "/{clientId}"
	pathAccessKeys = pathClient + "/access-keys"
	pathAccessKey  = pathAccessKeys + "/{keyId}"
	pathSecrets    = pathClient + "/secrets"
	pathSecret     = pathSecrets + "/{secretId}"
)

// Endpoints lists what an API serves, each as a method and a path below the issuer's URL.
func Endpoints() []string {
	return []string{
		"POST " + pathClients, "GET " + pathClients,
		"GET " + pathClient, "PUT " + pathClient, "DELETE " + pathClient,
		"POST " + pathAccessKeys, "DELETE " + pathAccessKey,
		"POST " + pathSecrets, "GET " + pathSecrets, "DELETE " + pathSecret,
	}
}

func (a *API) endpoint(name string) http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"POST " + pathClients: a.serveCreateClient, "GET " + pathClients: a.serveListClients,
		"GET " + pathClient: a.serveClient, "PUT " + pathClient: a.serveUpdateClient, "DELETE " + pathClient: a.serveDisableClient,
		"POST " + pathAccessKeys: a.serveAddKey, "DELETE " + pathAccessKey: a.serveRevokeKey,
		"POST " + pathSecrets: a.serveAddSecret, "GET " + pathSecrets: a.serveListSecrets, "DELETE " + pathSecret: a.serveRevokeSecret,
	}[name]
}

// Patterns lists the patterns of [http.ServeMux] under which a handler of this package is to be mounted.
func Patterns(issuer string) []string {
	var patterns []string
	for _, path := range []string{pathClients, pathClient, pathAccessKeys, pathAccessKey, pathSecrets, pathSecret} {
		patterns = append(patterns, basePath(issuer)+path)
	}
	return patterns
}

// Unmounted returns a handler for the paths of a node that has no registry. It says why.
func Unmounted(issuer string) http.Handler {
	answer := newProblem(http.StatusNotImplemented, "no-registry", "This node has no registry",
		"it has no right to register anybody: ask a node that was started with an operator's NATS credential (--registry-nkey or --registry-creds)")
	return serveEndpoints(issuer, func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { answer.write(w, issuer) }
	})
}

// serveEndpoints routes the endpoints, and answers other methods on their paths.
func serveEndpoints(issuer string, endpoint func(string) http.HandlerFunc) http.Handler {
	mux, base := http.NewServeMux(), basePath(issuer)
	allowed := map[string][]string{}
	for _, name := range Endpoints() {
		method, path, _ := strings.Cut(name, " ")
		mux.HandleFunc(method+" "+base+path, endpoint(name))
		allowed[path] = append(allowed[path], method)
	}
	for path, methods := range allowed {
		allow := strings.Join(methods, ", ")
		mux.HandleFunc(base+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			newProblem(http.StatusMethodNotAllowed, "method", "Method not allowed", "this path has "+allow).write(w, issuer)
		})
	}
	return mux
}

// basePath is the path of the issuer's URL.
func basePath(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil { // the platform's record has another one, then
		return ""
	}
	return u.Path
}

// request is what came before an endpoint's own work: who calls, and what for.
type request struct {
	http   *http.Request
	writer http.ResponseWriter
	caller registry.Caller
}

// answer is a success.
type answer struct {
	status   int
	body     any // nil: none
	location string
	etag     string
}

// serve does what is common to all endpoints: who calls, whether the token is good for it, whether it is too much, one audit line, and the
// answer.
func (a *API) serve(w http.ResponseWriter, r *http.Request, op, scope string, do func(context.Context, *request) (*answer, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	w.Header().Set("Cache-Control", "no-store")
	req := &request{http: r, writer: w}
	var result *answer
	err := a.authorize(req, scope)
	if err == nil {
		err = a.throttle.check(r.Method, req.caller.Authority.Client, time.Now())
	}
	if err == nil {
		result, err = do(ctx, req)
	}
	a.audit(req, op, err)
	if err != nil {
		asProblem(err).write(w, a.cfg.Issuer)
		return
	}
	if result.location != "" {
		w.Header().Set("Location", result.location)
	}
	if result.etag != "" {
		w.Header().Set("ETag", result.etag)
	}
	if result.body == nil {
		w.WriteHeader(result.status)
		return
	}
	writeJSON(w, "application/json", result.status, result.body)
}

// client is the client in the path.
func (r *request) client() events.Name { return events.Name(r.http.PathValue("clientId")) }

// remoteHost is the address that the request comes from. Headers in which a proxy says otherwise are not believed.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// audit writes the line of a request that the registry has not written one for: it does for everything that it was asked to change.
func (a *API) audit(r *request, op string, err error) {
	isRead := r.http.Method == http.MethodGet || r.http.Method == http.MethodHead
	var early *problem
	if !isRead && !errors.As(err, &early) {
		return
	}
	line := a.cfg.Logger.Info().Str("op", op).Str("address", remoteHost(r.http))
	if r.caller.Name != "" {
		line = line.Str("caller", r.caller.Name)
	}
	if name, bad := events.ParseName(string(r.client())); bad == nil {
		line = line.Str("issuer", string(name))
	}
	outcome := "done"
	if err != nil {
		p := asProblem(err)
		line, outcome = line.Str("reason", p.logged()), "refused"
		if p.Status >= http.StatusInternalServerError {
			outcome = "failed"
		}
	}
	line.Str("outcome", outcome).Msg("audit")
}
