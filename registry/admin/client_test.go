package admin_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// Every call of the REST API of Authress that this API has, with what their SDKs send, from the first call to the last.
func TestTheRESTCallsOfAuthressAnswerAsTheirTableSays(t *testing.T) {
	w := newWorld(t)
	before := time.Now().Add(-time.Second)

	// An SDK sends a name, and null for what is not set.
	created := w.call("admin", "POST", "/v1/clients", `{"name":"Orders","options":null,"tags":{"team":"a"},"clientId":null,"createdTime":null}`)
	c := created.json(201)
	id := c["clientId"].(string)
	if !regexp.MustCompile(`^sc_[a-zA-Z0-9]{22}$`).MatchString(id) || c["name"] != "Orders" || c["tags"].(map[string]any)["team"] != "a" || len(c["verificationKeys"].([]any)) != 0 {
		t.Errorf("created %s", created.body)
	}
	if when, err := time.Parse(time.RFC3339, c["createdTime"].(string)); err != nil || when.Before(before) {
		t.Errorf("createdTime is %v", c["createdTime"])
	}
	if created.header.Get("Location") != issuer+"/v1/clients/"+id {
		t.Errorf("Location is %s", created.header.Get("Location"))
	}
	// It can prove who it is, and nothing else.
	record := must(w.reg.Client(t.Context(), events.Name(id)))(t).Record
	if !record.Scope.IsEmpty() || len(record.Audience) != 1 || record.Audience[0] != w.account || !record.Offline || record.MaxTokenTTL != 86400 {
		t.Errorf("the record is %+v", record)
	}

	// A generated key is an access key, once; one that is brought along is not.
	key := w.call("admin", "POST", "/v1/clients/"+id+"/access-keys", `{}`).json(201)
	access, err := events.ParseAccessKey(key["accessKey"].(string))
	if err != nil || string(access.Client) != id || string(access.KeyID) != key["keyId"] || key["clientId"] != id {
		t.Fatalf("key is %v (%v)", key, err)
	}
	der := must(base64.StdEncoding.DecodeString(key["publicKey"].(string)))(t)
	if public := must(x509.ParsePKIXPublicKey(der))(t).(ed25519.PublicKey); !public.Equal(access.Private().Public()) {
		t.Error("publicKey is not that of the access key")
	}
	const spki = "MCowBQYDK2VwAyEAJxtSC5tZZJuaW7Aeu5Kh/3tgCpPZRkHaaFyTj5sQ3KU="
	brought := w.call("admin", "POST", "/v1/clients/"+id+"/access-keys", `{"publicKey":"`+spki+`"}`).json(201)
	if brought["publicKey"] != spki || brought["accessKey"] != nil {
		t.Errorf("key that was brought: %v", brought)
	}
	w.call("admin", "POST", "/v1/clients/"+id+"/access-keys", `{"publicKey":"`+spki+`"}`).problem(409, "key-taken")

	got := w.call("reader", "GET", "/v1/clients/"+id, "").json(200)
	if keys := got["verificationKeys"].([]any); got["name"] != "Orders" || len(keys) != 2 || keys[0].(map[string]any)["accessKey"] != nil {
		t.Errorf("client is %v", got)
	}
	list := w.call("reader", "GET", "/v1/clients?limit=100", "").json(200)
	if clients := list["clients"].([]any); len(clients) != 2 || clients[1].(map[string]any)["clientId"] != "sc_admin" && clients[0].(map[string]any)["clientId"] != "sc_admin" {
		t.Errorf("list is %v", list)
	}

	// PUT, with what an SDK got from GET.
	got["name"], got["tags"] = "New", map[string]any{}
	put := w.call("writer", "PUT", "/v1/clients/"+id, encode(t, got)).json(200)
	if put["name"] != "New" || len(put["tags"].(map[string]any)) != 0 || put["offline"] != true {
		t.Errorf("changed to %v", put)
	}

	for range 2 { // the second one finds it done
		if r := w.call("keeper", "DELETE", "/v1/clients/"+id+"/access-keys/"+key["keyId"].(string), ""); r.status != 204 {
			t.Errorf("revoking a key: %d %s", r.status, r.body)
		}
	}
	if state := w.keys.Keys().Key(events.Name(id), access.KeyID).State(time.Now()); state != events.KeyRevoked {
		t.Errorf("the key is %s", state)
	}
	if keys := w.call("reader", "GET", "/v1/clients/"+id, "").json(200)["verificationKeys"].([]any); len(keys) != 1 {
		t.Errorf("after the revocation there are the keys %v", keys)
	}

	if r := w.call("writer", "DELETE", "/v1/clients/"+id, ""); r.status != 204 || len(r.body) != 0 {
		t.Errorf("deleting: %d %s", r.status, r.body)
	}
	for _, gone := range []*response{
		w.call("admin", "GET", "/v1/clients/"+id, ""), w.call("admin", "PUT", "/v1/clients/"+id, `{}`), w.call("admin", "DELETE", "/v1/clients/"+id, ""),
		w.call("admin", "POST", "/v1/clients/"+id+"/access-keys", `{}`), w.call("admin", "DELETE", "/v1/clients/"+id+"/access-keys/x", ""),
		w.call("admin", "POST", "/v1/clients/"+id+"/secrets", `{}`), w.call("admin", "GET", "/v1/clients/"+id+"/secrets", ""),
	} {
		gone.problem(404, "not-found")
	}
	if clients := w.call("reader", "GET", "/v1/clients", "").json(200)["clients"].([]any); len(clients) != 1 {
		t.Errorf("after the deletion there are %v", clients)
	}
	w.call("admin", "POST", "/v1/clients", `{"clientId":"`+id+`"}`).problem(409, "exists")
	if record := must(w.reg.Client(t.Context(), events.Name(id)))(t).Record; record.Status != events.Disabled || record.NotBefore == 0 {
		t.Errorf("the record is %+v", record)
	}
}

// Every call: 401 without a token that is accepted, 403 without the scope (see the OpenAPI test), 404 for who is not there.
func TestTheErrorsOfTheTable(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ method, path string }{
		{"POST", "/v1/clients"}, {"GET", "/v1/clients"}, {"GET", "/v1/clients/sc_nobody"}, {"PUT", "/v1/clients/sc_nobody"}, {"DELETE", "/v1/clients/sc_nobody"},
		{"POST", "/v1/clients/sc_nobody/access-keys"}, {"DELETE", "/v1/clients/sc_nobody/access-keys/k1"},
		{"POST", "/v1/clients/sc_nobody/secrets"}, {"GET", "/v1/clients/sc_nobody/secrets"}, {"DELETE", "/v1/clients/sc_nobody/secrets/s1"},
	} {
		w.call("", c.method, c.path, "").problem(401, "unauthorized")
		w.call("forged", c.method, c.path, "").problem(401, "invalid-token")
		w.call("undecided", c.method, c.path, "").problem(503, "unavailable")
		if c.path != "/v1/clients" {
			w.call("admin", c.method, c.path, "").problem(404, "not-found")
		}
	}
	for _, path := range []string{"/v1/clients/platform", "/v1/clients/a.b", "/v1/clients/..%2f..", "/v1/clients/%00", "/v1/clients/" + strings.Repeat("a", 65)} {
		w.call("admin", "GET", path, "").problem(404, "not-found")
	}
	w.call("admin", "DELETE", "/v1/clients/sc_admin/access-keys/unknown", "").problem(404, "not-found")
	w.call("admin", "DELETE", "/v1/clients/sc_admin/secrets/unknown", "").problem(404, "not-found")
	for method, path := range map[string]string{"PATCH": "/v1/clients/sc_admin", "DELETE": "/v1/clients", "GET": "/v1/clients/sc_admin/access-keys"} {
		r := w.call("admin", method, path, "")
		r.problem(405, "method")
		if r.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", method, path)
		}
	}
}

func TestOurOwnMembersMakeAClientUseful(t *testing.T) {
	w := newWorld(t)
	c := w.call("admin", "POST", "/v1/clients", `{"clientId":"orders","name":"Orders","scope":"billing:read","audience":["https://billing"],"resource":[],"offline":false,"maxTokenTtl":600}`).json(201)
	if c["clientId"] != "orders" || c["scope"] != "billing:read" || c["offline"] != false || c["maxTokenTtl"] != 600.0 || fmt.Sprint(c["audience"]) != "[https://billing]" {
		t.Errorf("created %v", c)
	}
	// An SDK that knows nothing of them does not take them away.
	w.call("admin", "PUT", "/v1/clients/orders", `{"name":"Renamed"}`).json(200)
	record := must(w.reg.Client(t.Context(), "orders"))(t).Record
	if record.Scope.String() != "billing:read" || record.Audience[0] != "https://billing" || record.MaxTokenTTL != 600 {
		t.Errorf("after a PUT without them: %+v", record)
	}
	c = w.call("admin", "PUT", "/v1/clients/orders", `{"scope":"","offline":true}`).json(200)
	if c["name"] != "" || c["scope"] != "" || c["offline"] != true || c["maxTokenTtl"] != 600.0 {
		t.Errorf("changed to %v", c)
	}
}

// What the SDKs expect is given as far as the caller has it.
func TestWhatAClientGetsUnsaidIsWithinWhatTheCallerHas(t *testing.T) {
	w := newWorld(t)
	off, hour, on, day := false, time.Hour, true, 24*time.Hour
	billing, both := []string{"https://billing"}, []string{w.account, "https://billing"}
	for name, c := range map[string]struct {
		caller registry.ClientUpdate
		body   string
		aud    string
		made   bool // offline
		ttl    float64
	}{
		"as the first admin":                {registry.ClientUpdate{Offline: &on, MaxTokenTTL: &day, Audience: &both}, `{}`, w.account, true, 86400},
		"offline, not for the account":      {registry.ClientUpdate{Offline: &on, MaxTokenTTL: &day, Audience: &billing}, `{}`, w.account, true, 86400},
		"offline, for an hour":              {registry.ClientUpdate{Offline: &on, MaxTokenTTL: &hour, Audience: &both}, `{}`, w.account, true, 3600},
		"not offline, but for the account":  {registry.ClientUpdate{Offline: &off, MaxTokenTTL: &hour, Audience: &both}, `{}`, w.account, false, 3600},
		"not offline":                       {registry.ClientUpdate{Offline: &off, MaxTokenTTL: &hour, Audience: &billing}, `{}`, "https://billing", false, 3600},
		"no limit of audiences":             {registry.ClientUpdate{Offline: &off, MaxTokenTTL: &hour, Audience: new([]string)}, `{}`, w.account, false, 3600},
		"offline, and asks not to be":       {registry.ClientUpdate{Offline: &on, MaxTokenTTL: &day, Audience: &billing}, `{"offline":false}`, "https://billing", false, 3600},
		"offline, and asks for another one": {registry.ClientUpdate{Offline: &on, MaxTokenTTL: &day, Audience: &both}, `{"audience":["https://billing"]}`, "https://billing", true, 86400},
	} {
		t.Run(name, func(t *testing.T) {
			must(w.reg.UpdateClient(t.Context(), alice, "sc_admin", c.caller))(t)
			got := w.call("admin", "POST", "/v1/clients", c.body).json(201)
			if fmt.Sprint(got["audience"]) != "["+c.aud+"]" || got["offline"] != c.made || got["maxTokenTtl"] != c.ttl {
				t.Errorf("got %v", got)
			}
		})
	}
	must(w.reg.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Offline: &off, MaxTokenTTL: &hour, Audience: &billing}))(t)
	w.call("admin", "POST", "/v1/clients", `{"offline":true}`).problem(403, "forbidden", "leave to mint tokens")
	w.call("admin", "POST", "/v1/clients", `{"maxTokenTtl":3601}`).problem(403, "forbidden", "tokens that live")
	w.call("admin", "POST", "/v1/clients", `{"resource":["`+w.account+`"]}`).problem(403, "forbidden", "resource")
}

// I11: the ids of clients are not those of users, platforms or other tenants.
func TestI11_AClientIdThatLooksLikeSomethingElseIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"platform", "user_1", "usr-1", "acc-abcdefghij", "12345", "3f2b8c1e-0d4a-4b6e-9c77-5a1f0e2d3c4b", "khs_x", "a.b", "a/b", "ä"} {
		w.call("admin", "POST", "/v1/clients", `{"clientId":"`+id+`"}`).problem(400, "invalid-request")
	}
	w.client("stock", "")
	w.call("admin", "PUT", "/v1/clients/stock", `{"clientId":"other"}`).problem(400, "invalid-request", "does not change")
}

func TestI11_AnOrdinaryClientIdIsAccepted(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"stock", "Stock-2", "users", "sc_x"} {
		if c := w.call("admin", "POST", "/v1/clients", `{"clientId":"`+id+`"}`).json(201); c["clientId"] != id {
			t.Errorf("%s became %v", id, c["clientId"])
		}
		w.call("admin", "PUT", "/v1/clients/"+id, `{"clientId":"`+id+`"}`).json(200)
	}
}

// I13: an API key is shown once, kept as a hash, and dead when it was revoked.
func TestI13_AnAPIKeyIsShownOnce(t *testing.T) {
	w := newWorld(t)
	w.call("admin", "POST", "/v1/clients", `{"clientId":"stock"}`).json(201)
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if made := w.call("keeper", "POST", "/v1/clients/stock/secrets", `{"expires":"`+expires+`"}`).json(201); made["expires"] != expires {
		t.Errorf("API key is %v", made)
	}
	s := w.call("admin", "POST", "/v1/clients/stock/secrets", "").json(201)
	key, err := events.ParseAPIKey(s["secret"].(string))
	if err != nil || key.Client != "stock" {
		t.Fatal(err)
	}
	list := w.call("reader", "GET", "/v1/clients/stock/secrets", "")
	if n := len(list.json(200)["secrets"].([]any)); n != 2 || strings.Contains(string(list.body), "khs_") || strings.Contains(string(list.body), "sha256") {
		t.Errorf("list is %s", list.body)
	}
	e := must(w.conn.Get(t.Context(), bus.Clients, "stock"))(t)
	hash := key.Hash()
	if strings.Contains(string(e.Value), key.Reveal()) || !strings.Contains(string(e.Value), fmt.Sprintf("%x", hash)) {
		t.Errorf("record is %s", e.Value)
	}
	if strings.Contains(w.log.String(), key.Reveal()) {
		t.Error("the API key is in the log")
	}
	path := "/v1/clients/stock/secrets/" + s["secretId"].(string)
	if r := w.call("keeper", "DELETE", path, ""); r.status != 204 {
		t.Errorf("revoking: %d %s", r.status, r.body)
	}
	w.call("keeper", "DELETE", path, "").problem(404, "not-found")
	for _, past := range []string{"2001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", time.Now().UTC().Format(time.RFC3339)} {
		w.call("admin", "POST", "/v1/clients/stock/secrets", `{"expires":"`+past+`"}`).problem(400, "invalid-request", "expired")
	}
	if n := len(must(w.reg.Secrets(t.Context(), "stock"))(t)); n != 1 {
		t.Errorf("%d API keys, want the first one alone", n)
	}
	w.call("admin", "POST", "/v1/clients/stock/secrets", `{"expires":"tomorrow"}`).problem(400, "invalid-request", "RFC 3339")
}

func TestNobodyGrantsMoreThanTheyHaveOverHTTP(t *testing.T) {
	w := newWorld(t)
	w.client("root", "root", "https://billing")
	for name, c := range map[string]struct{ token, method, path, body, lacks, scope string }{
		"a scope":                {"admin", "POST", "/v1/clients", `{"scope":"billing:read billing:write"}`, "scope billing:write", "billing:write"},
		"a scope of the token":   {"writer", "POST", "/v1/clients", `{"scope":"billing:read"}`, "scope billing:read", "billing:read"},
		"an audience":            {"admin", "POST", "/v1/clients", `{"audience":["https://stock"]}`, "audience https://stock", ""},
		"no limit of audiences":  {"admin", "POST", "/v1/clients", `{"audience":[],"offline":false}`, "no limit of its audiences", ""},
		"a resource":             {"admin", "POST", "/v1/clients", `{"resource":["https://billing"]}`, "resource https://billing", ""},
		"more to itself":         {"admin", "PUT", "/v1/clients/sc_admin", `{"scope":"` + adminScope + ` root"}`, "scope root", "root"},
		"less to who has more":   {"admin", "PUT", "/v1/clients/root", `{"scope":""}`, "client root has more", ""},
		"nothing to who has":     {"admin", "DELETE", "/v1/clients/root", ``, "client root has more", ""},
		"a key of who has":       {"admin", "POST", "/v1/clients/root/access-keys", `{}`, "client root has more", ""},
		"an API key of who has":  {"admin", "POST", "/v1/clients/root/secrets", `{}`, "client root has more", ""},
		"a key of its own scope": {"keeper", "POST", "/v1/clients/sc_admin/access-keys", `{}`, "client sc_admin has more", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.call(c.token, c.method, c.path, c.body)
			r.problem(403, "forbidden", c.lacks, "keyherald client update sc_admin")
			want := `error="insufficient_scope"`
			if c.scope != "" {
				want += `, scope="` + c.scope + `"`
			}
			if challenge := r.header.Get("WWW-Authenticate"); !strings.HasSuffix(challenge, want) {
				t.Errorf("challenge is %s, want %s", challenge, want)
			}
		})
	}
	// What the error says works.
	scope := must(events.ParseScope(adminScope + " billing:write"))(t)
	if _, err := w.reg.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Scope: &scope}); err != nil {
		t.Fatal(err)
	}
	w.tokens.grants["admin"] = scope.String()
	w.call("admin", "POST", "/v1/clients", `{"scope":"billing:read billing:write","audience":["https://billing"]}`).json(201)
}

// What is in the way is not explained to callers: who made it and from where, whose it is, what it may do. The log has it.
func TestARefusalDoesNotSayWhatOthersHave(t *testing.T) {
	w := newWorld(t)
	const spki = "MCowBQYDK2VwAyEAJxtSC5tZZJuaW7Aeu5Kh/3tgCpPZRkHaaFyTj5sQ3KU="
	w.client("root", "root:all", "https://ledger")
	w.call("admin", "POST", "/v1/clients", `{"clientId":"stock"}`).json(201)
	kid := w.call("admin", "POST", "/v1/clients/stock/access-keys", `{"publicKey":"`+spki+`"}`).json(201)["keyId"].(string)
	w.call("admin", "POST", "/v1/clients", `{"clientId":"full"}`).json(201)
	w.call("admin", "POST", "/v1/clients", `{"clientId":"spare"}`).json(201)
	w.tokens.grants["holder"] = adminScope
	fullKey := ""
	for range events.MaxClientKeys {
		fullKey = w.call("admin", "POST", "/v1/clients/full/access-keys", `{}`).json(201)["keyId"].(string)
	}
	w.server.Write(bus.Clients, "stock", "not json")
	w.server.Delete(bus.Keys, "issuer.gone")
	w.sync()
	for name, c := range map[string]struct {
		token, method, path, body string
		status                    int
		kind, secret, log         string
	}{
		"who made a client":          {"writer", "POST", "/v1/clients", `{"clientId":"stock"}`, 409, "exists", "http:", "by http:sc_admin 192.0.2.1"},
		"who made one by hand":       {"writer", "POST", "/v1/clients", `{"clientId":"root"}`, 409, "exists", "alice", "by cli:alice@laptop"},
		"who deleted one":            {"writer", "POST", "/v1/clients", `{"clientId":"gone"}`, 409, "exists", "revision", "its record deleted"},
		"whose a public key is":      {"holder", "POST", "/v1/clients/spare/access-keys", `{"publicKey":"` + spki + `"}`, 409, "key-taken", "stock", kid + `\" of stock, active`},
		"which keys there are":       {"holder", "POST", "/v1/clients/full/access-keys", `{}`, 409, "too-many", fullKey, fullKey},
		"the scope of who has more":  {"writer", "PUT", "/v1/clients/root", `{}`, 403, "forbidden", "root:all", "scope root:all"},
		"and when keys are added":    {"keeper", "POST", "/v1/clients/root/access-keys", `{}`, 403, "forbidden", "root:all", "scope root:all"},
		"its audiences":              {"writer", "DELETE", "/v1/clients/root", ``, 403, "forbidden", "ledger", "audience https://ledger"},
		"who broke a record":         {"holder", "POST", "/v1/clients/stock/secrets", `{}`, 400, "invalid-request", " by ", "is malformed"},
		"what it has asked for, yes": {"writer", "POST", "/v1/clients", `{"scope":"root:all"}`, 403, "forbidden", "alice", "scope root:all"},
	} {
		t.Run(name, func(t *testing.T) {
			w.log.Reset()
			got := w.call(c.token, c.method, c.path, c.body)
			got.problem(c.status, c.kind)
			if shown := string(got.body) + got.header.Get("WWW-Authenticate"); strings.Contains(shown, c.secret) {
				t.Errorf("the answer says %q: %s", c.secret, shown)
			}
			if log := w.log.String(); !strings.Contains(log, c.log) {
				t.Errorf("the log does not say %q: %s", c.log, log)
			}
		})
	}
}

func TestAPUTMayDependOnNothingHavingChanged(t *testing.T) {
	w := newWorld(t)
	created := w.call("admin", "POST", "/v1/clients", `{"clientId":"stock"}`)
	first := created.header.Get("ETag")
	put := w.call("admin", "PUT", "/v1/clients/stock", `{"name":"a"}`, "If-Match", first)
	put.json(200)
	second := put.header.Get("ETag")
	if first == second || !regexp.MustCompile(`^"[0-9]+"$`).MatchString(second) {
		t.Errorf("ETags are %s and %s", first, second)
	}
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"b"}`, "If-Match", first).problem(412, "changed")
	w.call("admin", "POST", "/v1/clients/stock/access-keys", `{}`).json(201)
	w.sync()
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"b"}`, "If-Match", second).problem(412, "changed")
	third := w.call("admin", "GET", "/v1/clients/stock", "").header.Get("ETag")
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"b"}`, "If-Match", "W/"+third).problem(412, "changed")
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"b"}`, "If-Match", `"0", `+third).json(200)
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"c"}`, "If-Match", "*").json(200)

	// Also what changes between the look and the write.
	last := w.call("admin", "GET", "/v1/clients/stock", "").header.Get("ETag")
	w.store.fault = func(bus.Bucket, string) error {
		w.store.fault = nil
		w.server.Write(bus.Keys, "issuer.stock", `{"type":"client","status":"active","aud":["https://billing"]}`)
		return nil
	}
	w.call("admin", "PUT", "/v1/clients/stock", `{"name":"d"}`, "If-Match", last).problem(412, "changed", "read it again")
	if log := w.log.String(); !strings.Contains(log, "stock was changed meanwhile (revision ") {
		t.Errorf("the log has %s", log)
	}
}
