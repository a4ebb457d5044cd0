package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
	"github.com/keyherald/keyherald/registry/admin"
)

func encode(t *testing.T, v any) string {
	t.Helper()
	return string(must(json.Marshal(v))(t))
}

func TestMalformedBodies(t *testing.T) {
	w := newWorld(t)
	big := strings.Repeat("x", 64<<10)
	const private = "MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wshwp"
	clients, keys, secrets := "/v1/clients", "/v1/clients/sc_admin/access-keys", "/v1/clients/sc_admin/secrets"
	for name, c := range map[string]struct {
		path, body string
		status     int
		kind       string
		detail     string
	}{
		"not JSON":                      {clients, `name=a`, 400, "invalid-request", "body: "},
		"an array":                      {clients, `[]`, 400, "invalid-request", "body: "},
		"two values":                    {clients, `{}{}`, 400, "invalid-request", "body: "},
		"a member twice":                {clients, `{"name":"a","name":"b"}`, 400, "invalid-request", "duplicate"},
		"an unknown member twice":       {clients, `{"x":1,"x":2}`, 400, "invalid-request", "duplicate"},
		"a member twice, deeper":        {clients, `{"tags":{"a":"1","a":"2"}}`, 400, "invalid-request", "duplicate"},
		"a name of a number":            {clients, `{"name":1}`, 400, "invalid-request", "member name: not a string"},
		"options of a list":             {clients, `{"options":[]}`, 400, "invalid-request", "options"},
		"a tag of a number":             {clients, `{"tags":{"a":1}}`, 400, "invalid-request", "member tags: not a string"},
		"an audience of a string":       {clients, `{"audience":"https://billing"}`, 400, "invalid-request", "member audience: not an array"},
		"65 audiences":                  {clients, `{"audience":[` + strings.Repeat(`"a",`, 64) + `"b"]}`, 400, "invalid-request", "more than 64"},
		"a scope of a list":             {clients, `{"scope":["a"]}`, 400, "invalid-request", "member scope: not a string"},
		"a scope that is none":          {clients, `{"scope":"a  b"}`, 400, "invalid-request", "RFC 6749"},
		"offline of a string":           {clients, `{"offline":"true"}`, 400, "invalid-request", "member offline"},
		"a life of zero":                {clients, `{"maxTokenTtl":0}`, 400, "invalid-request", "1 to 86400"},
		"a life beyond a day":           {clients, `{"maxTokenTtl":86401}`, 400, "invalid-request", "1 to 86400"},
		"a life of a float":             {clients, `{"maxTokenTtl":1e3}`, 400, "invalid-request", "not an integer"},
		"offline without audience":      {clients, `{"audience":[]}`, 403, "forbidden", "no limit"},
		"a name that is too long":       {clients, `{"name":"` + strings.Repeat("a", 129) + `"}`, 400, "invalid-request", "128"},
		"options that are too large":    {clients, `{"options":{"a":"` + strings.Repeat("a", 3000) + `"}}`, 400, "invalid-request", "2048"},
		"more than 64 KiB":              {clients, `{"name":"` + big + `"}`, 413, "too-large", "65535"},
		"a public key that is none":     {keys, `{"publicKey":"abc"}`, 400, "invalid-request", "read public key"},
		"a private key":                 {keys, `{"publicKey":"` + private + `"}`, 400, "private-key", "private key"},
		"an algorithm that is another":  {keys, `{"alg":"ES256","publicKey":"MCowBQYDK2VwAyEAJxtSC5tZZJuaW7Aeu5Kh/3tgCpPZRkHaaFyTj5sQ3KU="}`, 400, "invalid-request", ""},
		"an algorithm for a pair":       {keys, `{"alg":"ES256"}`, 400, "invalid-request", "key pairs are made for EdDSA only"},
		"an API key that ends at never": {secrets, `{"expires":0}`, 400, "invalid-request", "not a string"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.call("reader", "GET", "/v1/clients", "").json(200)["clients"].([]any))
			r := w.call("admin", "POST", c.path, c.body)
			r.problem(c.status, c.kind, c.detail)
			if strings.Contains(string(r.body)+w.log.String(), private) {
				t.Error("the private key is in the answer or in the log")
			}
			if after := len(w.call("reader", "GET", "/v1/clients", "").json(200)["clients"].([]any)); after != before {
				t.Error("a client was created")
			}
		})
	}
	w.call("admin", "POST", clients, `{"unknown":{"deep":[1]},"verificationKeys":[{"keyId":"x"}]}`).json(201)
	w.call("admin", "POST", clients, ``).json(201)
}

func TestMediaTypes(t *testing.T) {
	w := newWorld(t)
	for name, header := range map[string][]string{
		"none":          {"Content-Type", ""},
		"a form":        {"Content-Type", "", "Content-Type", "application/x-www-form-urlencoded"},
		"text":          {"Content-Type", "", "Content-Type", "text/plain"},
		"two":           {"Content-Type", "application/json"},
		"malformed":     {"Content-Type", "", "Content-Type", "application/json; charset"},
		"a compression": {"Content-Encoding", "gzip"},
	} {
		r := w.call("admin", "POST", "/v1/clients", `{}`, header...)
		if r.status != 415 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	w.call("admin", "POST", "/v1/clients", `{}`, "Content-Type", "", "Content-Type", "Application/JSON; charset=utf-8").json(201)
}

// RFC 6750: one header, nowhere else. V: how a token comes is as strict as what it is.
func TestHowATokenComes(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		query  string
		header []string
		status int
		want   string // of the challenge
	}{
		"none":                        {"", nil, 401, `Bearer realm="` + issuer + `"`},
		"another scheme":              {"", []string{"Basic YTpi"}, 401, `Bearer realm="` + issuer + `"`},
		"a scheme without a token":    {"", []string{"Bearer"}, 401, `Bearer realm="` + issuer + `"`},
		"no scheme":                   {"", []string{"admin"}, 401, `Bearer realm="` + issuer + `"`},
		"a token that is not one":     {"", []string{"Bearer forged"}, 401, `error="invalid_token"`},
		"two tokens in one":           {"", []string{"Bearer admin, Bearer admin"}, 401, `error="invalid_token"`},
		"two headers":                 {"", []string{"Bearer admin", "Bearer admin"}, 400, `error="invalid_request"`},
		"a header and an empty one":   {"", []string{"Bearer admin", ""}, 400, `error="invalid_request"`},
		"in the URL":                  {"?access_token=admin", nil, 400, `error="invalid_request"`},
		"in the URL and in a header":  {"?access_token=admin", []string{"Bearer admin"}, 400, `error="invalid_request"`},
		"a malformed query":           {"?limit=%zz", []string{"Bearer admin"}, 400, ""},
		"as it should":                {"", []string{"Bearer admin"}, 200, ""},
		"a scheme in small letters":   {"", []string{"bearer admin"}, 200, ""},
		"two spaces after the scheme": {"", []string{"Bearer  admin"}, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", issuer+"/v1/clients"+c.query, nil)
			r.Header["Authorization"] = c.header
			got := w.send(r)
			if got.status != c.status || !strings.HasSuffix(got.header.Get("WWW-Authenticate"), c.want) {
				t.Errorf("%d, challenge %q: %s", got.status, got.header.Get("WWW-Authenticate"), got.body)
			}
		})
	}
	r := w.call("undecided", "GET", "/v1/clients", "")
	if r.problem(503, "unavailable"); r.header.Get("Retry-After") != "5" || r.header.Get("WWW-Authenticate") != "" {
		t.Errorf("headers of an undecided token: %v", r.header)
	}
}

// Every request has one line, with who, what and how it ended, and without the token.
func TestEveryRequestHasOneAuditLine(t *testing.T) {
	w := newWorld(t)
	w.call("admin", "POST", "/v1/clients", `{"clientId":"stock"}`).json(201)
	w.log.Reset()
	for _, c := range []struct{ token, method, path, body, op, outcome, reason string }{
		{"admin", "GET", "/v1/clients", "", "client list", "done", ""},
		{"admin", "GET", "/v1/clients/stock", "", "client show", "done", ""},
		{"admin", "PUT", "/v1/clients/stock", `{}`, "client update", "done", ""},
		{"admin", "POST", "/v1/clients", `{"clientId":"stock"}`, "client create", "refused", "exists already"},
		{"admin", "POST", "/v1/clients", `{"scope":"root"}`, "client create", "refused", "scope root"},
		{"admin", "POST", "/v1/clients", `{`, "client create", "refused", "body: "},
		{"reader", "POST", "/v1/clients", `{}`, "client create", "refused", "lacks the scope clients:write"},
		{"forged", "POST", "/v1/clients", `{}`, "client create", "refused", "the signature does not verify"},
		{"", "DELETE", "/v1/clients/stock", ``, "client disable", "refused", "Authorization"},
		{"undecided", "GET", "/v1/clients", ``, "client list", "failed", "stale"},
		{"admin", "GET", "/v1/clients/nobody", "", "client show", "refused", "no client"},
		{"admin", "POST", "/v1/clients/stock/access-keys", "{}", "key add", "done", ""},
		{"admin", "POST", "/v1/clients/stock/access-keys", `{"publicKey":"x"}`, "key add", "refused", "read public key"},
		{"admin", "DELETE", "/v1/clients/stock/access-keys/x", "", "key revoke", "refused", "no key"},
		{"admin", "POST", "/v1/clients/stock/secrets", "", "secret add", "done", ""},
		{"admin", "GET", "/v1/clients/stock/secrets", "", "secret list", "done", ""},
		{"admin", "DELETE", "/v1/clients/stock/secrets/x", "", "secret revoke", "refused", "no API key"},
		{"admin", "DELETE", "/v1/clients/stock", "", "client disable", "done", ""},
	} {
		w.call(c.token, c.method, c.path, c.body)
		lines := w.log.Lines(t)
		w.log.Reset()
		if len(lines) != 1 {
			t.Errorf("%+v has %d lines: %v", c, len(lines), lines)
			continue
		}
		l := lines[0]
		reason, _ := l["reason"].(string)
		if l["op"] != c.op || l["outcome"] != c.outcome || l["message"] != "audit" || !strings.Contains(reason, c.reason) || (reason == "") != (c.reason == "") {
			t.Errorf("%+v has the line %v", c, l)
		}
		if known := c.token == "admin" || c.token == "reader"; known != (l["caller"] == "http:sc_admin 192.0.2.1") {
			t.Errorf("%+v has the caller %v", c, l["caller"])
		}
	}
}

// Writes of a caller are limited, whatever becomes of them; what takes something away, and what only looks, is not.
func TestWhoWritesTooMuchIsTurnedAwayAndStillRevokes(t *testing.T) {
	w := newWorld(t)
	w.client("sc_other", adminScope, w.account, "https://billing")
	w.call("admin", "POST", "/v1/clients", `{"clientId":"stock"}`).json(201)
	kid := w.call("admin", "POST", "/v1/clients/stock/access-keys", `{}`).json(201)["keyId"].(string)
	secret := w.call("admin", "POST", "/v1/clients/stock/secrets", `{}`).json(201)["secretId"].(string)
	var r *response
	for range 100_000 { // of which some hundreds are enough on any machine
		if r = w.call("admin", "POST", "/v1/clients", `{`); r.status != 400 {
			break
		}
	}
	r.problem(429, "too-many-requests", "try again")
	if r.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
	}
	w.call("reader", "GET", "/v1/clients/stock", "").json(200)
	w.call("other", "POST", "/v1/clients", `{}`).json(201)
	for _, path := range []string{"/v1/clients/stock/access-keys/" + kid, "/v1/clients/stock/secrets/" + secret, "/v1/clients/stock"} {
		for range 2 { // of which the second one finds nothing
			if r := w.call("admin", "DELETE", path, ""); r.status != 204 && r.status != 404 {
				t.Errorf("DELETE %s: %d %s", path, r.status, r.body)
			}
		}
	}
	if record := must(w.reg.Client(t.Context(), "stock"))(t).Record; record.Status != events.Disabled {
		t.Errorf("the record is %+v", record)
	}
}

func TestAFullRegistryTakesNoMoreClients(t *testing.T) {
	w := newWorld(t)
	issuers, _ := w.keys.Keys().Len()
	full := must(registry.New(registry.Config{Store: w.conn, Keys: w.keys, MaxClients: issuers}))(t)
	api := must(admin.New(admin.Config{Issuer: issuer, Registry: full, Keys: w.keys, Authorizer: w.tokens, Cursors: w.cursors}))(t)
	w.handler = api.Handler()
	w.call("admin", "POST", "/v1/clients", `{}`).problem(409, "full")
	w.call("admin", "POST", "/v1/clients/sc_admin/access-keys", `{}`).json(201)
}

func TestWhatTheRegistryCannotDoNow(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		fault error
		kind  string
	}{
		"unknown outcome": {fmt.Errorf("writing: %w", bus.ErrUnknownOutcome), "outcome-unknown"},
		"unreachable":     {bus.ErrUnreachable, "unavailable"},
	} {
		w.store.fault = func(bus.Bucket, string) error { return c.fault }
		for _, r := range []*response{
			w.call("admin", "POST", "/v1/clients", `{}`), w.call("admin", "PUT", "/v1/clients/sc_admin", `{}`), w.call("admin", "POST", "/v1/clients/sc_admin/access-keys", `{}`),
			w.call("admin", "POST", "/v1/clients/sc_admin/secrets", `{}`), w.call("admin", "DELETE", "/v1/clients/sc_admin", ``),
		} {
			if r.problem(503, c.kind); r.header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", name)
			}
		}
	}
	w.store.fault = nil
	w.server.Stop()
	for _, r := range []*response{
		w.call("admin", "GET", "/v1/clients", ""), w.call("admin", "GET", "/v1/clients/sc_admin", ""), w.call("admin", "POST", "/v1/clients", `{}`), w.call("admin", "DELETE", "/v1/clients/sc_admin", ``),
	} {
		r.problem(503, "unavailable")
	}
}

// What is no fault of the caller's is not explained to him.
func TestAFaultIsNotShown(t *testing.T) {
	w := newWorld(t)
	w.store.fault = func(bus.Bucket, string) error { return errors.New("secret detail") }
	r := httptest.NewRequest("DELETE", issuer+"/v1/clients/sc_admin", nil)
	r.Header.Set("Authorization", "Bearer admin")
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	got := &response{t, recorder.Code, recorder.Header(), recorder.Body.Bytes()}
	got.problem(500, "fault")
	if strings.Contains(string(got.body), "secret detail") || !strings.Contains(w.log.String(), "secret detail") {
		t.Errorf("answer %s", got.body)
	}
}

func TestANodeWithoutARegistrySaysSo(t *testing.T) {
	w := newWorld(t)
	w.handler = admin.Unmounted(issuer)
	for _, endpoint := range admin.Endpoints() {
		method, path, _ := strings.Cut(endpoint, " ")
		w.call("admin", method, strings.NewReplacer("{", "", "}", "").Replace(path), "").problem(501, "no-registry", "--registry-creds")
	}
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	if _, err := admin.New(admin.Config{Issuer: issuer}); err == nil {
		t.Error("an API without anything is made")
	}
}
