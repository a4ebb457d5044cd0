package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier/jws"
)

var identityHeaders = []string{"X-Auth-Client", "X-Auth-Subject", "X-Auth-Issuer", "X-Auth-Issuer-Name", "X-Auth-Scope", "X-Auth-Audience", "X-Auth-Token-Id", "X-Auth-Expires"}

// site is a service behind a proxy behind a gate, with serve beside them.
type site struct {
	t        *testing.T
	dir      string
	gateAddr string
	gate     *process
	url      string // of the proxy
	service  *httptest.Server
	key      string // file with the access key of orders
}

// startSite starts all but the proxy.
func startSite(t *testing.T) *site {
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "d"), gateAddr: eventstest.FreeAddress(t)}
	startServe(t, s.dir, eventstest.FreeAddress(t), "127.0.0.1:0")
	t.Setenv("KEYHERALD_DATA", s.dir)
	keyherald(t, "client", "create", "orders", "--scope", "orders:read orders:write", "--audience", "https://orders", "--offline")
	s.key = filepath.Join(t.TempDir(), "orders.key")
	if err := os.WriteFile(s.key, []byte(keyherald(t, "key", "add", "orders")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.startGate()
	s.gate.waitReady(t, s.gateAddr)
	s.service = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(request{r.Method, r.RequestURI, r.Header})
	}))
	t.Cleanup(s.service.Close)
	return s
}

// startGate starts the gate as deploy/gate/README.md says.
func (s *site) startGate(more ...string) {
	s.t.Helper()
	args := []string{"gate", "--audience", "https://orders", "--policy", "orders=scope:orders:read", "--listen", s.gateAddr}
	s.gate = startProcess(s.t, append(args, more...)...)
}

func (s *site) token(scope string) string {
	at, err := readAddress(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return keyherald(s.t, "token", "mint", "--issuer", at.Issuer, "--key-file", s.key, "--audience", "https://orders", "--scope", scope)
}

// configure copies a file of deploy/gate with the addresses of this site, and returns where it is.
func (s *site) configure(file string) string {
	text, err := os.ReadFile("../../deploy/gate/" + file)
	if err != nil {
		s.t.Fatal(err)
	}
	addr := eventstest.FreeAddress(s.t)
	s.url = "http://" + addr
	config := string(text)
	for from, to := range map[string]string{":8000": strings.TrimPrefix(addr, "127.0.0.1"), "127.0.0.1:9180": s.gateAddr, "127.0.0.1:9000": s.service.Listener.Addr().String()} {
		if !strings.Contains(config, from) {
			s.t.Fatalf("%s does not name %s", file, from)
		}
		config = strings.ReplaceAll(config, from, to)
	}
	return putFile(s.t, s.t.TempDir(), filepath.Base(file), []byte(config))
}

// startProxy starts the proxy in the foreground, until the test ends.
func (s *site) startProxy(name string, args ...string) {
	if _, err := exec.LookPath(name); err != nil {
		s.t.Fatalf("this test needs %s (apt-get install %s): %v", name, name, err)
	}
	home := s.t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var log eventstest.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
		if s.t.Failed() {
			s.t.Logf("%s says:\n%s\nthe gate says:\n%s", name, tail(log.String()), tail(s.gate.err.String()))
		}
	})
	within(s.t, name+" listens", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// request is what the service got.
type request struct {
	Method, URI string
	Header      http.Header
}

// seen is an answer, and what the service got of the request, if it got it.
type seen struct {
	status int
	header http.Header
	body   string
	got    *request
}

// ask sends a request to the proxy. Headers are name, value and so on.
func (s *site) ask(method, target string, headers ...string) seen {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+target, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1]) // as it is written
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := seen{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if a.status == http.StatusOK && method != http.MethodHead {
		a.got = &request{}
		if err := json.Unmarshal(body, a.got); err != nil {
			s.t.Fatalf("not the service's answer: %s", body)
		}
	}
	return a
}

func (s *site) want(a seen, status int, challenge string) {
	s.t.Helper()
	if a.status != status || strings.Join(a.header.Values("WWW-Authenticate"), "; ") != challenge {
		s.t.Errorf("status %d with challenge %q, want %d with %q: %s", a.status, a.header.Values("WWW-Authenticate"), status, challenge, a.body)
	}
}

func startNginx(s *site, config string) {
	s.startProxy("nginx", "-c", config, "-g", fmt.Sprintf("daemon off; error_log stderr; pid %s;", filepath.Join(s.t.TempDir(), "pid")))
}

func startCaddy(s *site, config string) {
	s.startProxy("caddy", "run", "--adapter", "caddyfile", "--config", config)
}

func TestNginx(t *testing.T) {
	s := startSite(t)
	startNginx(s, s.configure("nginx.conf"))
	s.check(http.StatusServiceUnavailable)
}

func TestCaddy(t *testing.T) {
	s := startSite(t)
	startCaddy(s, s.configure("Caddyfile"))
	s.check(http.StatusBadGateway)
}

// The additions of deploy/gate/README.md for browsers, each put where it says.
func TestAProxyAnswersPreflightsAndLetsNothingElsePass(t *testing.T) {
	readme, err := os.ReadFile("../../deploy/gate/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, c := range map[string]struct {
		before string // the line behind which it goes
		start  func(s *site, config string)
	}{
		"nginx.conf": {"\n        location / {\n", startNginx}, "Caddyfile": {"\n\troute {\n", startCaddy},
	} {
		t.Run(file, func(t *testing.T) {
			_, addition, found := strings.Cut(string(readme), "```"+file+"\n")
			addition, _, closed := strings.Cut(addition, "```")
			s := startSite(t)
			config := s.configure(file)
			text, err := os.ReadFile(config)
			if err != nil || !found || !closed || strings.Count(string(text), c.before) != 1 {
				t.Fatalf("addition found %v, closed %v, error %v", found, closed, err)
			}
			putFile(t, filepath.Dir(config), file, []byte(strings.Replace(string(text), c.before, c.before+addition, 1)))
			c.start(s, config)
			a := s.ask("OPTIONS", "/orders", "Origin", "https://app.example.com", "Access-Control-Request-Method", "GET")
			if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Access-Control-Allow-Headers") == "" {
				t.Errorf("a preflight: status %d, %v", a.status, a.header)
			}
			s.want(s.ask("GET", "/orders", "Origin", "https://app.example.com"), 401, `Bearer realm="keyherald"`)
			if a := s.ask("GET", "/orders", "Authorization", "Bearer "+s.token("orders:read")); a.got == nil {
				t.Errorf("a good token: status %d", a.status)
			}
		})
	}
}

// check goes through all that the gate can say.
func (s *site) check(gone int) {
	const bearer = `Bearer realm="keyherald"`
	good := "Bearer " + s.token("orders:read")
	s.checkIdentity(good)
	s.checkHost(good)
	s.checkSize()
	s.want(s.ask("GET", "/"), 401, bearer)
	s.want(s.ask("GET", "/", "Authorization", "Basic b3JkZXJzOng="), 401, bearer)
	s.want(s.ask("GET", "/", "Authorization", "Bearer a.b.c"), 401, bearer+`, error="invalid_token"`)
	s.want(s.ask("HEAD", "/"), 401, bearer)
	s.want(s.ask("GET", "/", "Authorization", "Bearer "+s.token("orders:write")), 403, bearer+`, error="insufficient_scope", scope="orders:read"`)
	if a := s.ask("GET", "/", "Authorization", "Bearer a b"); a.status != 400 {
		s.t.Errorf("bad syntax: status %d", a.status)
	}
	if a := s.ask("GET", "/?access_token=x", "Authorization", good); a.status != 400 {
		s.t.Errorf("a second token in the query: status %d", a.status)
	}
	// The gate's own paths are not for clients.
	for _, path := range []string{"/verify", "/_gate", "/metrics", "/healthz", "/ext_authz/default/", "/..%2fverify", "/%2e%2e/verify"} {
		if a := s.ask("GET", path); a.status < 400 {
			s.t.Errorf("%s: status %d: %s", path, a.status, a.body)
		}
	}
	s.checkRevocation(good)
	s.checkUndecided(good, gone)
}

// checkIdentity: the service is told who calls by the gate, and by nobody else.
func (s *site) checkIdentity(good string) {
	s.t.Helper()
	for _, c := range []struct{ method, target string }{
		{"GET", "/"}, {"POST", "/a//b?c=%2F&scope=orders:write&audience=x"}, {"DELETE", "/?x"}, {"PUT", "/%C3%A9?"},
	} {
		headers := []string{"Authorization", good}
		for _, name := range identityHeaders {
			headers = append(headers, name, "forged", name, "forged", strings.ToLower(name), "forged")
			for _, alias := range []string{"_", "."} { // of the first, the last and all of the hyphens
				last := strings.LastIndex(name, "-")
				headers = append(headers, strings.Replace(name, "-", alias, 1), "forged", name[:last]+alias+name[last+1:], "forged", strings.ReplaceAll(name, "-", alias), "forged")
			}
		}
		a := s.ask(c.method, c.target, headers...)
		if a.got == nil {
			s.t.Errorf("%s %s: status %d: %s", c.method, c.target, a.status, a.body)
			continue
		}
		if a.got.Method != c.method || strings.TrimSuffix(a.got.URI, "?") != strings.TrimSuffix(c.target, "?") {
			s.t.Errorf("%s %s: got there as %s %s", c.method, c.target, a.got.Method, a.got.URI)
		}
		for name, values := range a.got.Header {
			if strings.Contains(strings.Join(values, ""), "forged") {
				s.t.Errorf("%s %s: the service gets %s: %q", c.method, c.target, name, values)
			}
		}
		for name, want := range map[string]string{"X-Auth-Client": "orders", "X-Auth-Subject": "orders", "X-Auth-Scope": "orders:read", "X-Auth-Audience": "https://orders"} {
			if got := a.got.Header[name]; len(got) != 1 || got[0] != want {
				s.t.Errorf("%s %s: the service gets %s: %q", c.method, c.target, name, got)
			}
		}
	}
	// One that the client names in Connection does not get lost, and does not become another.
	for _, connection := range [][]string{
		{"Connection", "X-Auth-Client, X-Auth-Scope"}, {"Connection", "keep-alive", "Connection", "x-auth-client"}, {"connection", "close,x_auth_client"},
	} {
		a := s.ask("GET", "/", append(connection, "Authorization", good, "X-Auth-Client", "forged")...)
		switch {
		case a.status == http.StatusBadRequest:
		case a.got == nil, len(a.got.Header["X-Auth-Client"]) != 1, a.got.Header["X-Auth-Client"][0] != "orders", len(a.got.Header["X-Auth-Scope"]) != 1:
			s.t.Errorf("%q: status %d, the service got %+v", connection, a.status, a.got)
		}
	}
	if a := s.ask("GET", "/", "Authorization", good, "Connection", "close"); a.status != http.StatusOK {
		s.t.Errorf("a connection that the client closes: status %d", a.status)
	}
}

// checkHost: what is protected does not depend on the name by which it is asked for.
func (s *site) checkHost(good string) {
	s.t.Helper()
	for authorization, want := range map[string]int{good: 200, "": 401} {
		r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		r.Host = "orders.example.com"
		r.Header.Set("Authorization", authorization)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != want || len(body) == 0 {
			s.t.Errorf("another Host, token %v: status %d, body %q, error %v", authorization != "", resp.StatusCode, body, err)
		}
	}
}

// checkSize: a token that the gate accepts gets through the proxy, however long what it says of its caller.
func (s *site) checkSize() {
	s.t.Helper()
	at, err := readAddress(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := events.ParseAccessKey(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	id, now := strings.Repeat("j", 4000), time.Now().Unix()
	claims := fmt.Sprintf(`{"iss":"%s/v1/clients/orders","sub":"orders","client_id":"orders","aud":"https://orders","iat":%d,"exp":%d,"jti":"%s"}`, at.Issuer, now, now+60, id)
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: string(key.KeyID), Type: "at+jwt"}, []byte(claims), key.Private())
	if err != nil {
		s.t.Fatal(err)
	}
	if a := s.ask("GET", "/", "Authorization", "Bearer "+token); a.got == nil || a.got.Header.Get("X-Auth-Token-Id") != id {
		s.t.Errorf("a jti of 4,000 bytes: status %d", a.status)
	}
}

func (s *site) checkRevocation(good string) {
	s.t.Helper()
	if a := s.ask("GET", "/", "Authorization", good); a.status != 200 {
		s.t.Fatalf("before: status %d", a.status)
	}
	cmd := exec.Command("keyherald", "token", "revoke")
	cmd.Stdin = strings.NewReader(strings.TrimPrefix(good, "Bearer "))
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	within(s.t, "the revoked token is refused", func() bool { return s.ask("GET", "/", "Authorization", good).status == 401 })
}

// checkUndecided: a gate that has no key set, and then none at all.
func (s *site) checkUndecided(good string, gone int) {
	s.t.Helper()
	s.gate.kill()
	s.startGate("--data", s.t.TempDir())
	within(s.t, "the second gate listens", func() bool {
		resp, err := http.Get("http://" + s.gateAddr + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	a := s.ask("GET", "/", "Authorization", good)
	s.want(a, 503, "")
	if a.header.Get("Retry-After") != "5" {
		s.t.Errorf("undecided: Retry-After %q", a.header.Get("Retry-After"))
	}
	s.gate.kill()
	s.want(s.ask("GET", "/", "Authorization", good), gone, "")
}

// A header that a proxy is not told to copy is one that its clients can forge.
func TestEveryProxyReplacesAllIdentityHeaders(t *testing.T) {
	for file, way := range map[string]string{
		"nginx.conf": "proxy_set_header %s ", "Caddyfile": " %s", "traefik/dynamic.yaml": "authResponseHeadersRegex: (?i)^X[^A-Za-z0-9]Auth[^A-Za-z0-9]", "envoy.yaml": "prefix: x-auth-",
	} {
		text, err := os.ReadFile("../../deploy/gate/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range identityHeaders {
			want := strings.ReplaceAll(way, "%s", name)
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %q", file, want)
			}
		}
	}
}
