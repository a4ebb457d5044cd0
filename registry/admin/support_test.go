package admin_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/admin"
	"github.com/keyherald/keyherald/registry/admin/admintest"
)

const issuer = "https://auth.example.com/tenant" // with a path: what is under it must be

var alice = registry.Caller{Name: "cli:alice@laptop"}

// world is an API on a server with a platform, an admin that may hand on billing:read for https://billing, and some tokens.
type world struct {
	t       *testing.T
	server  *eventstest.NATS
	conn    *bus.Conn
	keys    *bus.KeySet
	reg     *registry.Registry
	store   *faultyStore
	tokens  *tokens
	cursors *cursors
	log     *eventstest.Log
	account string // audience
	schemas *admintest.Document
	handler http.Handler
}

const adminScope = "clients:read clients:write keys:write billing:read"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, server: eventstest.Server(t), tokens: &tokens{grants: map[string]string{}}, cursors: &cursors{made: map[string]string{}}, log: new(eventstest.Log), schemas: admintest.Read(t, issuer)}
	w.conn = w.server.Connect(bus.Operator)
	w.keys = w.conn.FollowKeys(zerolog.Nop())
	t.Cleanup(w.keys.Close)
	w.store = &faultyStore{Store: w.conn}
	logger := zerolog.New(w.log)
	var err error
	if w.reg, err = registry.New(registry.Config{Store: w.store, Keys: w.keys, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	platform := must(w.reg.EnsurePlatform(t.Context(), alice, issuer))(t)
	w.account = events.AccountAudience(platform.Account)
	w.client("sc_admin", adminScope, w.account, "https://billing")
	for name, scope := range map[string]string{"admin": adminScope, "reader": "clients:read", "writer": "clients:write", "keeper": "keys:write", "nothing": ""} {
		w.tokens.grants[name] = scope
	}
	api, err := admin.New(admin.Config{Issuer: issuer, Registry: w.reg, Keys: w.keys, Authorizer: w.tokens, Cursors: w.cursors, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, pattern := range admin.Patterns(issuer) {
		mux.Handle(pattern, api.Handler())
	}
	w.handler = mux
	w.log.Reset()
	return w
}

// client registers a client as an operator does.
func (w *world) client(name events.Name, scope string, audience ...string) {
	w.t.Helper()
	spec := registry.ClientSpec{Scope: must(events.ParseScope(scope))(w.t), Audience: audience, Offline: len(audience) > 0}
	if _, err := w.reg.CreateClient(w.t.Context(), alice, name, spec); err != nil {
		w.t.Fatal(err)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// tokens accepts a token that is the name of a scope of sc_admin, and one more.
type tokens struct{ grants map[string]string }

func (a *tokens) Authorize(_ *http.Request, token string) (admin.Grant, error) {
	if token == "undecided" {
		return admin.Grant{}, fmt.Errorf("%w: the set is stale", admin.ErrUndecided)
	}
	client := events.Name("sc_admin")
	if token == "other" {
		client, token = "sc_other", "admin"
	}
	text, ok := a.grants[token]
	if !ok {
		return admin.Grant{}, errors.New("the signature does not verify")
	}
	scope, err := events.ParseScope(text)
	return admin.Grant{Client: client, Scope: scope}, err
}

// cursors remembers those that it has made.
type cursors struct {
	mu   sync.Mutex
	made map[string]string
	err  error
}

func (c *cursors) Seal(caller events.Name, position string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cursor := base64.RawURLEncoding.EncodeToString([]byte(string(caller) + "\n" + position))
	c.made[string(caller)+cursor] = position
	return cursor, c.err
}

func (c *cursors) Open(caller events.Name, cursor string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position, ok := c.made[string(caller)+cursor]
	if c.err == nil && !ok {
		return "a", errors.New("not one of mine") // nobody may use what comes with an error
	}
	return position, c.err
}

// faultyStore lets a test decide what becomes of a write.
type faultyStore struct {
	registry.Store
	fault func(bucket bus.Bucket, name string) error
}

func (s *faultyStore) Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error) {
	if s.fault != nil {
		if err := s.fault(bucket, name); err != nil {
			return 0, err
		}
	}
	return s.Store.Update(ctx, bucket, name, caller, decide)
}

// response is an answer that the OpenAPI document describes: see call.
type response struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// call sends a request with a token. What comes back must be as the OpenAPI document says. Header fields come in pairs.
func (w *world) call(token, method, path, body string, header ...string) *response {
	w.t.Helper()
	var r *http.Request
	if body == "" {
		r = httptest.NewRequest(method, issuer+path, nil)
	} else {
		r = httptest.NewRequest(method, issuer+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Add(header[i], header[i+1])
		}
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) *response {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	got := &response{w.t, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
	if cache := got.header.Get("Cache-Control"); cache != "no-store" {
		w.t.Errorf("%s %s: Cache-Control %q", r.Method, r.URL.Path, cache)
	}
	if got.status != http.StatusMethodNotAllowed { // which is for methods that the document does not have
		w.schemas.Check(w.t, r.Method, strings.TrimPrefix(r.URL.EscapedPath(), "/tenant"), got.status, got.header, got.body)
	}
	return got
}

// json decodes a success.
func (r *response) json(status int) map[string]any {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r.any()
}

func (r *response) any() map[string]any {
	r.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		r.t.Fatalf("body %q: %v", r.body, err)
	}
	return m
}

// problem checks that an answer is a problem of a kind and says something.
func (r *response) problem(status int, kind string, parts ...string) {
	r.t.Helper()
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("status %d (%s), want the problem %d %s: %s", r.status, r.header.Get("Content-Type"), status, kind, r.body)
	}
	m := r.any()
	if m["type"] != issuer+"/openapi.json#/x-problems/"+kind || m["status"] != float64(status) || m["title"] == "" {
		r.t.Errorf("problem is %s, want %s", r.body, kind)
	}
	for _, part := range parts {
		if detail, _ := m["detail"].(string); !strings.Contains(detail, part) {
			r.t.Errorf("detail is %q, want it to contain %q", m["detail"], part)
		}
	}
}

// sync waits for the live set, which comes a moment after a write.
func (w *world) sync() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := w.keys.Sync(ctx); err != nil {
		w.t.Fatal(err)
	}
}
