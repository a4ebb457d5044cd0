package gate_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/gate"
)

func TestARequestIsJudgedByThePolicyInItsPath(t *testing.T) {
	read, write, forStock := mint(nil), mint(map[string]any{"scope": "billing:write"}), mint(map[string]any{"aud": stock})
	h := newGate(t, nil)
	for _, c := range []struct {
		method, target, token string
		status                int
	}{
		{"GET", "/verify", read, 200},
		{"HEAD", "/verify", read, 200},
		{"POST", "/verify", read, 200},
		{"PROPFIND", "/verify", read, 200},
		{"GET", "/verify/default", read, 200},
		{"GET", "/verify", "", 401},
		{"GET", "/verify", forStock, 401},
		{"GET", "/verify/stock", forStock, 200},
		{"GET", "/verify/stock", read, 401},
		{"GET", "/verify/write", read, 403},
		{"GET", "/verify/write", write, 200},
		{"GET", "/verify/write", "", 401},
		{"GET", "/verify/nobody", write, 404},
		{"GET", "/verify/", write, 404},
		{"GET", "/verify/write/", write, 404},
		{"GET", "/verify/write/../default", read, 404},
		{"GET", "/verify/%77rite", write, 404},
		{"GET", "/verifyx", write, 404},
		{"GET", "/", write, 404},
		{"GET", "/ext_authz", write, 404},
		{"GET", "/ext_authz/", write, 404},

		// What follows the policy is the client's, and changes nothing, whatever it is.
		{"GET", "/ext_authz/write/x", write, 200},
		{"DELETE", "/ext_authz/write/x/y?a=b", write, 200},
		{"GET", "/ext_authz/write", write, 200},
		{"GET", "/ext_authz/write//x", write, 200},
		{"GET", "/ext_authz/write//default/x", read, 403},
		{"GET", "/ext_authz/write/../default/x", read, 403},
		{"GET", "/ext_authz/write/..%2fdefault/x", read, 403},
		{"GET", "/ext_authz/write/../../verify", read, 403},
		{"GET", "/ext_authz/write/../../healthz", read, 403},
		{"GET", "/ext_authz/write/x?scope=&audience=x", read, 403},
		{"GET", "/ext_authz/write/x?scope=billing:read", write, 200},
		{"GET", "/ext_authz/write*", read, 404},
		{"GET", "/ext_authz/nobody/write", write, 404},
		{"GET", "/ext_authz//write/x", write, 404},

		// Who thinks that requirements are read from a query must not get fewer than that.
		{"GET", "/verify?scope=billing:write", read, 500},
		{"GET", "/verify?audience=x", read, 500},
		{"GET", "/verify/write?scope=billing:read", write, 500},
		{"GET", "/verify?%73cope=x", read, 500},
		{"GET", "/verify?x=scope", read, 200},
	} {
		headers := []string{"Authorization", "Bearer " + c.token}
		if c.token == "" {
			headers = nil
		}
		resp := ask(h, c.method, c.target, headers...)
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.target, resp.StatusCode, c.status)
		}
		if (resp.StatusCode == http.StatusOK) != (resp.Header["X-Auth-Client"] != nil) {
			t.Errorf("%s %s: status %d with identity %q", c.method, c.target, resp.StatusCode, resp.Header["X-Auth-Client"])
		}
		if challenge := resp.Header.Get("WWW-Authenticate"); (resp.StatusCode == 401 || resp.StatusCode == 403) != (challenge != "") {
			t.Errorf("%s %s: status %d with challenge %q", c.method, c.target, resp.StatusCode, challenge)
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: may be stored", c.method, c.target)
		}
	}
}

var identityNames = []string{"Client", "Subject", "Issuer", "Issuer-Name", "Scope", "Audience", "Token-Id", "Expires"}

func TestAnAcceptedRequestSaysAlwaysAllOfWhoCalls(t *testing.T) {
	exp := time.Now().Unix() + 100
	for _, c := range []struct {
		name   string
		claims map[string]any
		want   map[string]string
	}{
		{"a client", map[string]any{"jti": "j1", "exp": exp, "aud": []string{billing, stock}, "scope": "billing:write billing:read"}, map[string]string{
			"Client": "orders", "Subject": "orders", "Issuer": platformURL + "/v1/clients/orders", "Issuer-Name": "orders", "Scope": "billing:read billing:write",
			"Audience": billing + " " + stock, "Token-Id": "j1", "Expires": fmt.Sprint(exp)}},
		{"a client without scope and jti", map[string]any{"exp": exp, "scope": ""}, map[string]string{
			"Client": "orders", "Subject": "orders", "Issuer": platformURL + "/v1/clients/orders", "Issuer-Name": "orders", "Scope": "",
			"Audience": billing, "Token-Id": "", "Expires": fmt.Sprint(exp)}},
		{"a user", map[string]any{"iss": loginURL, "sub": "user|77", "exp": exp}, map[string]string{
			"Client": "", "Subject": "user|77", "Issuer": loginURL, "Issuer-Name": "login", "Scope": "billing:read", "Audience": billing, "Token-Id": "", "Expires": fmt.Sprint(exp)}},
		{"a user of another script", map[string]any{"iss": loginURL, "sub": "zoë %41 ", "exp": exp}, map[string]string{
			"Client": "", "Subject": "zo%C3%AB%20%2541%20", "Issuer": loginURL, "Issuer-Name": "login", "Scope": "billing:read", "Audience": billing, "Token-Id": "", "Expires": fmt.Sprint(exp)}},
		{"a scope with a percent sign", map[string]any{"exp": exp, "scope": "a%b billing:read"}, map[string]string{
			"Client": "orders", "Subject": "orders", "Issuer": platformURL + "/v1/clients/orders", "Issuer-Name": "orders", "Scope": "a%25b billing:read",
			"Audience": billing, "Token-Id": "", "Expires": fmt.Sprint(exp)}},
	} {
		for _, prefix := range []string{"", "X-Caller-"} {
			server := httptest.NewServer(newGate(t, func(cfg *gate.Config) { cfg.HeaderPrefix = prefix }))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/verify", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+mint(c.claims))
			r.Header.Set("X-Auth-Client", "admin") // is not looked at
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			server.Close()
			if prefix == "" {
				prefix = "X-Auth-"
			}
			if resp.StatusCode != http.StatusOK || resp.ContentLength != 0 {
				t.Errorf("%s: %s, %d bytes", c.name, resp.Status, resp.ContentLength)
			}
			for _, name := range identityNames {
				if got := resp.Header[prefix+name]; !slices.Equal(got, []string{c.want[name]}) {
					t.Errorf("%s: %s is %q, want %q", c.name, prefix+name, got, c.want[name])
				}
			}
		}
	}
}

func TestTheTokenOfAQueryIsThatOfTheClientsQuery(t *testing.T) {
	token := mint(nil)
	for _, c := range []struct {
		target, forwarded string
		header, allowed   bool
		status            int
	}{
		{"/verify", "/x?access_token=" + token, false, true, 200},
		{"/verify", "/x?access_token=" + token, false, false, 401},
		{"/verify", "/x?access_token=" + token, true, true, 400},
		{"/verify", "/x?access_token=" + token, true, false, 400},
		{"/verify", "/x?a=b", true, true, 200},
		{"/verify?access_token=" + token, "", false, true, 401},
		{"/verify?access_token=" + token, "/x", true, true, 200},
		{"/ext_authz/default/x?access_token=" + token, "", false, true, 200},
		{"/ext_authz/default/x?access_token=" + token, "", false, false, 401},
		{"/ext_authz/default/x?access_token=" + token, "", true, false, 400},
		{"/ext_authz/default/x", "/x?access_token=" + token, false, true, 401},
	} {
		h := newGate(t, func(cfg *gate.Config) { cfg.Query = c.allowed })
		var headers []string
		if c.forwarded != "" {
			headers = append(headers, "X-Forwarded-Uri", c.forwarded)
		}
		if c.header {
			headers = append(headers, "Authorization", "Bearer "+token)
		}
		if resp := ask(h, http.MethodGet, c.target, headers...); resp.StatusCode != c.status {
			t.Errorf("%s forwarded %q, header %v, allowed %v: status %d, want %d", c.target, c.forwarded, c.header, c.allowed, resp.StatusCode, c.status)
		}
	}
	h := newGate(t, func(cfg *gate.Config) { cfg.Cookie = "session" })
	if resp := ask(h, http.MethodGet, "/verify", "Cookie", "session="+token); resp.StatusCode != http.StatusOK {
		t.Errorf("in a cookie: status %d", resp.StatusCode)
	}
}

const readyMetric = `
# HELP gate_ready 1 if tokens can be judged, 0 if the key set was not read yet or is too old.
# TYPE gate_ready gauge
`

func TestAGateThatMayBeBehindSaysSo(t *testing.T) {
	for name, confirmed := range map[string]time.Time{"never confirmed": {}, "too old": time.Now().Add(-2 * time.Hour)} {
		f := newFeed()
		f.confirmed = confirmed
		registry := prometheus.NewRegistry()
		h := newGate(t, func(cfg *gate.Config) { cfg.Verifier, cfg.Registerer = newVerifier(f), registry })
		if err := testutil.GatherAndCompare(registry, strings.NewReader(readyMetric+"gate_ready 0\n"), "gate_ready"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		resp := ask(h, http.MethodGet, "/verify", "Authorization", "Bearer "+mint(nil))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %s, %v", name, resp.Status, resp.Header)
		}
		if resp := ask(h, http.MethodGet, "/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: /readyz says %s", name, resp.Status)
		}
		if resp := ask(h, http.MethodGet, "/healthz"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: /healthz says %s", name, resp.Status)
		}
	}
	f := newFeed()
	f.confirmed = time.Time{}
	v, err := verifier.New(verifier.Config{Audience: billing, MaxStaleness: -1}, f)
	if err != nil {
		t.Fatal(err)
	}
	if resp := ask(newGate(t, func(cfg *gate.Config) { cfg.Verifier = v }), http.MethodGet, "/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("never confirmed, of any age: /readyz says %s", resp.Status)
	}
	if resp := ask(newGate(t, nil), http.MethodGet, "/readyz"); resp.StatusCode != http.StatusOK {
		t.Errorf("confirmed: /readyz says %s", resp.Status)
	}
}

func TestMetricsCountWhatWasDecided(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := newGate(t, func(cfg *gate.Config) { cfg.Registerer = registry })
	good := "Bearer " + mint(nil)
	for range 3 {
		ask(h, http.MethodGet, "/verify", "Authorization", good)
	}
	ask(h, http.MethodGet, "/verify")
	ask(h, http.MethodGet, "/verify/write", "Authorization", good)
	ask(h, http.MethodGet, "/verify", "Authorization", "Bearer x")
	ask(h, http.MethodGet, "/verify", "Authorization", "Bearer")
	ask(h, http.MethodGet, "/verify/canary", "Authorization", good)
	const want = `
# HELP gate_requests_total Requests that were judged, by policy, outcome and reason.
# TYPE gate_requests_total counter
gate_requests_total{outcome="accepted",policy="default",reason=""} 3
gate_requests_total{outcome="accepted",policy="stock",reason=""} 0
gate_requests_total{outcome="accepted",policy="write",reason=""} 0
gate_requests_total{outcome="forbidden",policy="write",reason="insufficient_scope"} 1
gate_requests_total{outcome="invalid_request",policy="default",reason="invalid_request"} 1
gate_requests_total{outcome="no_policy",policy="",reason=""} 1
gate_requests_total{outcome="unauthenticated",policy="default",reason="malformed"} 1
gate_requests_total{outcome="unauthenticated",policy="default",reason="no_token"} 1
` + readyMetric + `gate_ready 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "gate_requests_total", "gate_ready"); err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families { // all but the one for which there is no policy
		if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); f.GetName() == "gate_request_duration_seconds" && n == 7 {
			return
		}
	}
	t.Errorf("not the durations of 7 requests: %v", families)
}

func TestMistakesOfAProxyAreLoggedWithNothingOfTheClients(t *testing.T) {
	var log bytes.Buffer
	h := newGate(t, func(cfg *gate.Config) { cfg.Logger = zerolog.New(&log) })
	for range 1000 {
		ask(h, http.MethodGet, "/verify/canary?canary")
		ask(h, http.MethodGet, "/verify?scope=canary")
	}
	if lines := strings.Count(log.String(), "\n"); lines < 2 || lines > 100 || strings.Contains(log.String(), "canary") {
		t.Errorf("%d lines: %s", lines, log.String())
	}
}

func TestPoliciesAreReadAsWritten(t *testing.T) {
	for text, want := range map[string]gate.Policy{
		"p=scope:orders:read":                                    {Scopes: []string{"orders:read"}},
		"p=scope:orders:read,scope:orders:write":                 {Scopes: []string{"orders:read", "orders:write"}},
		"p=scope:orders:read scope:x audience:https://orders:80": {Scopes: []string{"orders:read", "x"}, Audience: "https://orders:80"},
		"p=audience:https://orders?a=b":                          {Audience: "https://orders?a=b"},
		"p=scope:x, scope:y":                                     {Scopes: []string{"x", "y"}},
		"p=any":                                                  {},
		"p=any,audience:https://orders":                          {Audience: "https://orders"},
	} {
		name, got, err := gate.ParsePolicy(text)
		if err != nil || name != "p" || got.Audience != want.Audience || !slices.Equal(got.Scopes, want.Scopes) {
			t.Errorf("%s: %q, %+v, error %v", text, name, got, err)
		}
		if _, again, err := gate.ParsePolicy("p=" + got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: written as %s, and read again as %+v, error %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "p", "p=", "p= ", "p=,", "p=scope:x,", "p=scope:x ", "p=scope:x,,scope:y", "p=any,", "p=any,scope:x", "p=any:x", "=scope:x", "p=orders:read", "p=scope:", "p=scope", "p=x", "p=audience:a,audience:b", "p/q=scope:x", "p%=scope:x", "p.=scope:x", strings.Repeat("p", 65) + "=scope:x"} {
		if name, p, err := gate.ParsePolicy(text); err == nil {
			t.Errorf("%q is taken for policy %q, %+v", text, name, p)
		}
	}
}

func TestAGateThatCannotWorkIsNotMade(t *testing.T) {
	v := newVerifier(newFeed())
	for name, cfg := range map[string]gate.Config{
		"no verifier":           {},
		"a prefix with a space": {Verifier: v, HeaderPrefix: "X Auth-"},
		"a prefix with a colon": {Verifier: v, HeaderPrefix: "X:"},
		"a policy with a slash": {Verifier: v, Policies: map[string]gate.Policy{"a/b": {}}},
		"a policy without name": {Verifier: v, Policies: map[string]gate.Policy{"": {}}},
		"a scope with a quote":  {Verifier: v, Policies: map[string]gate.Policy{"a": {Scopes: []string{`"`}}}},
	} {
		if g, err := gate.New(cfg); err == nil || g != nil || !strings.HasPrefix(err.Error(), "gate: ") {
			t.Errorf("%s: %v, error %v", name, g, err)
		}
	}
	registry := prometheus.NewRegistry()
	if _, err := gate.New(gate.Config{Verifier: v, Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.New(gate.Config{Verifier: v, Registerer: registry}); err == nil {
		t.Error("two gates with the same metrics")
	}
}

// The parser of tokens refuses control characters. That no claim can end a header does not depend on it.
func TestNoClaimEndsAHeader(t *testing.T) {
	const hostile = "a\r\nX-Auth-Client: admin\x00\x7f\u0085\u2028"
	token := &verifier.Token{Client: "orders", Subject: hostile, Issuer: hostile, Audience: []string{hostile}, ID: hostile}
	server := httptest.NewServer(newGate(t, func(cfg *gate.Config) { cfg.Verifier = acceptAll{token} }))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer x\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	const encoded = "a%0D%0AX-Auth-Client:%20admin%00%7F%C2%85%E2%80%A8"
	for _, line := range []string{"Client: orders", "Subject: " + encoded, "Issuer: " + encoded, "Audience: " + encoded, "Token-Id: " + encoded} {
		if n := strings.Count(string(answer), "\r\nX-Auth-"+line+"\r\n"); n != 1 {
			t.Errorf("%q is there %d times:\n%s", line, n, answer)
		}
	}
	if n := strings.Count(string(answer), "\nX-Auth-Client"); n != 1 {
		t.Errorf("%d clients:\n%s", n, answer)
	}
}

// acceptAll accepts every token, as one and the same.
type acceptAll struct{ token *verifier.Token }

func (a acceptAll) VerifyRequest(string, verifier.Request) (*verifier.Token, error) {
	return a.token, nil
}
func (acceptAll) Status() verifier.Status { return verifier.Status{Confirmed: true} }
