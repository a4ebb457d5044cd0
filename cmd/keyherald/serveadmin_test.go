package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/registry/admin"
	"github.com/keyherald/keyherald/registry/admin/admintest"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// apiWorld is a serve process at its first start, with its admin.
type apiWorld struct {
	t        *testing.T
	dir      string
	url      string
	nats     string
	minter   *mint.Minter // the admin's
	document *admintest.Document
}

func startAPI(t *testing.T) *apiWorld {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	httpAddr := eventstest.FreeAddress(t)
	natsAddr := eventstest.FreeAddress(t)
	startServe(t, dir, httpAddr, natsAddr)
	w := &apiWorld{t: t, dir: dir, url: "http://" + httpAddr, nats: "nats://" + natsAddr}
	text, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := events.ParseAccessKey(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if w.minter, err = mint.FromAccessKey(key, w.url); err != nil {
		t.Fatal(err)
	}
	w.document = admintest.Read(t, w.url)
	return w
}

// token mints a token of the admin.
func (w *apiWorld) token(r mint.Request) string {
	w.t.Helper()
	token, err := w.minter.Token(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// sdkToken is a token as the SDKs of Authress mint them: for the account, for a day, with the scope openid and without a jti.
func (w *apiWorld) sdkToken() string {
	return w.token(mint.Request{Audience: []string{w.minter.AccountAudience()}, Scope: "openid", TTL: 24 * time.Hour, NoID: true})
}

// call sends a request to a node and checks the answer against the OpenAPI document.
func (w *apiWorld) call(url, token, method, path, contentType, body string) (int, map[string]any) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), method, url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	path, _, _ = strings.Cut(path, "?")
	w.document.Check(w.t, method, path, resp.StatusCode, resp.Header, text)
	var m map[string]any
	if strings.HasSuffix(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &m); err != nil {
			w.t.Fatalf("%s: %v", text, err)
		}
	}
	return resp.StatusCode, m
}

// api is call for the registry's API of the first node, with the answer's status as it should be.
func (w *apiWorld) api(status int, token, method, path, body string) map[string]any {
	w.t.Helper()
	got, m := w.call(w.url, token, method, path, "application/json", body)
	if got != status {
		w.t.Fatalf("%s %s: %d, want %d: %v", method, path, got, status, m)
	}
	return m
}

// soon is api for an answer that depends on a change which somebody else has made: the node's set has it a moment later.
func (w *apiWorld) soon(status int, token, method, path, body string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // between two attempts
		got, m := w.call(w.url, token, method, path, "application/json", body)
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s %s: %d, want %d: %v", method, path, got, status, m)
		}
	}
}

func keyherald(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := runCLI("", args...)
	if err != nil {
		t.Fatalf("keyherald %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return strings.TrimSpace(out)
}

// The REST calls of Authress against a running serve, with the admin of its first start and a token as an SDK mints it.
func TestTheAdminOfTheFirstStartUsesTheAPIAsAnSDKDoes(t *testing.T) {
	w := startAPI(t)
	sdk := w.sdkToken()
	client := w.api(201, sdk, "POST", "/v1/clients", `{"name":"Orders","tags":{"team":"a"}}`)
	id := client["clientId"].(string)
	key := w.api(201, sdk, "POST", "/v1/clients/"+id+"/access-keys", `{}`)
	got := w.api(200, sdk, "GET", "/v1/clients/"+id, "")
	if got["name"] != "Orders" || len(got["verificationKeys"].([]any)) != 1 || got["createdTime"] == nil {
		t.Errorf("client is %v", got)
	}
	if list := w.api(200, sdk, "GET", "/v1/clients", "")["clients"].([]any); len(list) != 2 {
		t.Errorf("list is %v", list)
	}
	w.api(200, sdk, "PUT", "/v1/clients/"+id, `{"name":"New","options":{"a":true}}`)

	// The new client mints tokens for the account, with no scope: it is known, and may do nothing here.
	access, err := events.ParseAccessKey(key["accessKey"].(string))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := mint.FromAccessKey(access, w.url)
	if err != nil {
		t.Fatal(err)
	}
	own, err := minter.Token(mint.Request{Audience: []string{minter.AccountAudience()}, Scope: "openid", TTL: 24 * time.Hour, NoID: true})
	if err != nil {
		t.Fatal(err)
	}
	w.soon(403, own, "GET", "/v1/clients", "")
	w.api(403, own, "POST", "/v1/clients/"+id+"/access-keys", "{}")
	w.api(401, "", "GET", "/v1/clients", "")
	w.api(401, sdk[:len(sdk)-4]+"AAAA", "GET", "/v1/clients", "")
	w.api(401, w.token(mint.Request{Audience: []string{"https://other"}}), "GET", "/v1/clients", "")

	// Its keys are where verifiers look for them, beside the API and without a token.
	status, jwks := w.call(w.url, "", "GET", "/v1/clients/"+id+"/.well-known/openid-configuration/jwks", "", "")
	if status != 200 || len(jwks["keys"].([]any)) != 1 {
		t.Errorf("keys of the client: %d %v", status, jwks)
	}
	w.api(204, sdk, "DELETE", "/v1/clients/"+id+"/access-keys/"+key["keyId"].(string), "")
	w.soon(401, own, "GET", "/v1/clients", "")
	w.api(404, sdk, "DELETE", "/v1/clients/"+id+"/access-keys/nope", "")
	w.api(204, sdk, "DELETE", "/v1/clients/"+id, "")
	w.api(404, sdk, "GET", "/v1/clients/"+id, "")

	// API keys: made here, good at the token endpoint, dead when revoked.
	w.api(201, sdk, "POST", "/v1/clients", `{"clientId":"stock"}`)
	secret := w.api(201, sdk, "POST", "/v1/clients/stock/secrets", "{}")
	form := "grant_type=client_credentials&client_secret=" + secret["secret"].(string)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // the node's own set comes a moment later
		status, token := w.call(w.url, "", "POST", "/oauth/token", "application/x-www-form-urlencoded", form)
		if status == 200 {
			w.api(403, token["access_token"].(string), "GET", "/v1/clients", "")
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API key is not accepted: %d %v", status, token)
		}
	}
	w.api(204, sdk, "DELETE", "/v1/clients/stock/secrets/"+secret["secretId"].(string), "")
	if n := len(w.api(200, sdk, "GET", "/v1/clients/stock/secrets", "")["secrets"].([]any)); n != 0 {
		t.Errorf("%d API keys are left", n)
	}
}

// The three kinds of tokens that the API takes, and what an operator does to let the admin hand on more.
func TestWhoMayCallTheAPIAndHandOnWhat(t *testing.T) {
	w := startAPI(t)
	t.Setenv("KEYHERALD_DATA", w.dir)
	t.Setenv("KEYHERALD_ISSUER", w.url)
	file := filepath.Join(w.dir, "admin.key")
	for name, token := range map[string]string{
		"offline, for the account":   keyherald(t, "token", "mint", "--key-file", file, "--account"),
		"offline, for the platform":  keyherald(t, "token", "mint", "--key-file", file, "--audience", w.url),
		"online, for the platform":   keyherald(t, "token", "request", "--key-file", file, "--audience", w.url),
		"online, for all that it is": keyherald(t, "token", "request", "--key-file", file),
	} {
		if status, m := w.call(w.url, token, "GET", "/v1/clients", "", ""); status != 200 {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
	narrow := keyherald(t, "token", "mint", "--key-file", file, "--account", "--scope", "clients:read")
	w.api(200, narrow, "GET", "/v1/clients", "")
	w.api(403, narrow, "POST", "/v1/clients", `{}`)

	sdk := w.sdkToken()
	const wanted = `{"clientId":"orders","scope":"billing:read","audience":["https://billing"]}`
	detail := w.api(403, sdk, "POST", "/v1/clients", wanted)["detail"].(string)
	for _, part := range []string{"scope billing:read", "audience https://billing", "keyherald client update sc_admin"} {
		if !strings.Contains(detail, part) {
			t.Errorf("the detail %q does not say %q", detail, part)
		}
	}
	keyherald(t, "client", "update", "sc_admin", "--scope", adminScope+" billing:read", "--audience", w.minter.AccountAudience(), "--audience", w.url, "--audience", "https://billing")
	w.soon(201, sdk, "POST", "/v1/clients", wanted)
	// What the operators' client may do is out of its reach.
	keyherald(t, "client", "create", "root", "--scope", "root", "--audience", "https://billing")
	w.api(403, sdk, "POST", "/v1/clients/root/access-keys", "{}")
	w.api(403, sdk, "DELETE", "/v1/clients/root", "")
	// A revoked token, a revoked key.
	if _, errs, err := runCLI(narrow, "token", "revoke"); err != nil {
		t.Fatal(errs)
	}
	w.soon(401, narrow, "GET", "/v1/clients", "")
	keyherald(t, "key", "revoke", "sc_admin", "admin1")
	w.soon(401, sdk, "GET", "/v1/clients", "")
}

// Every operation of the document is an endpoint of a running node, and answers as the document says.
func TestTheOpenAPIDocumentIsWhatServeAnswers(t *testing.T) {
	w := startAPI(t)
	resp, err := http.Get(w.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var served map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&served); err != nil || served["servers"].([]any)[0].(map[string]any)["url"] != w.url {
		t.Fatalf("document of %v: %v", served["servers"], err)
	}
	fill := strings.NewReplacer("{clientId}", "sc_nobody", "{keyId}", "k1", "{secretId}", "s1")
	sdk := w.sdkToken()
	for _, operation := range w.document.Operations() {
		method, path, _ := strings.Cut(operation, " ")
		contentType, body := "application/json", ""
		if method == "POST" && strings.Contains(path, "/oauth/") {
			contentType, body = "application/x-www-form-urlencoded", "grant_type=client_credentials&token=x"
		}
		token := sdk
		if strings.Contains(path, "/oauth/") {
			token = ""
		}
		status, m := w.call(w.url, token, method, fill.Replace(path), contentType, body)
		if status == http.StatusMethodNotAllowed || status == http.StatusNotFound && m["type"] != w.url+"/openapi.json#/x-problems/not-found" {
			t.Errorf("%s: %d, there is no such endpoint", operation, status)
		}
	}
	// The token service's successes, which take a client.
	form := "application/x-www-form-urlencoded"
	credentials := func() string {
		out := keyherald(t, "token", "assert", "--key-file", filepath.Join(w.dir, "admin.key"), "--issuer", w.url)
		return "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=" + out
	}
	var online map[string]any
	for _, path := range []string{"/oauth/token", "/api/authentication/oauth/tokens"} {
		var status int
		if status, online = w.call(w.url, "", "POST", path, form, "grant_type=client_credentials&"+credentials()); status != 200 {
			t.Fatalf("%s: %d %v", path, status, online)
		}
	}
	token := "token=" + online["access_token"].(string) + "&"
	if status, m := w.call(w.url, "", "POST", "/oauth/introspect", form, token+credentials()); status != 200 || m["active"] != true {
		t.Errorf("introspection: %d %v", status, m)
	}
	if status, m := w.call(w.url, "", "POST", "/oauth/revoke", form, token+credentials()); status != 200 {
		t.Errorf("revocation: %d %v", status, m)
	}
}

// Of two nodes each knows the cursors of the other; and a node that has no operator's credential has no API.
func TestC_CursorsAreGoodAtEveryNodeAndForNobodyElse(t *testing.T) {
	w := startAPI(t)
	start := func(args ...string) string {
		t.Helper()
		addr := eventstest.FreeAddress(t)
		args = append([]string{"serve", "--nats", w.nats, "--nkey", filepath.Join(w.dir, "nats", "issuer.nk"), "--issuer", w.url, "--http", addr}, args...)
		p := startProcess(t, args...)
		p.waitReady(t, addr)
		return "http://" + addr
	}
	other := start("--registry-nkey", filepath.Join(w.dir, "nats", "operator.nk"))
	plain := start()

	sdk := w.sdkToken()
	want := []string{"sc_admin"}
	for i := range 4 {
		id := fmt.Sprintf("c%d", i)
		w.api(201, sdk, "POST", "/v1/clients", `{"clientId":"`+id+`","scope":"clients:read"}`)
		want = append(want, id)
	}
	slices.Sort(want)
	var got []string
	var cursor string
	for i := 0; i == 0 || cursor != ""; i++ {
		node := []string{w.url, other}[i%2]
		status, list := w.call(node, sdk, "GET", "/v1/clients?limit=1&cursor="+cursor, "", "")
		if status != 200 {
			t.Fatalf("page %d: %d %v", i, status, list)
		}
		for _, c := range list["clients"].([]any) {
			got = append(got, c.(map[string]any)["clientId"].(string))
		}
		next, _ := list["pagination"].(map[string]any)["next"].(map[string]any)
		cursor, _ = next["cursor"].(string)
		if i == 0 {
			checkForgedCursors(t, w, cursor)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	for _, endpoint := range admin.Endpoints() {
		method, path, _ := strings.Cut(endpoint, " ")
		path = strings.NewReplacer("{clientId}", "sc_admin", "{keyId}", "k1", "{secretId}", "s1").Replace(path)
		if status, m := w.call(plain, sdk, method, path, "", ""); status != http.StatusNotImplemented || !strings.Contains(m["detail"].(string), "--registry-creds") {
			t.Errorf("%s without an operator's credential: %d %v", endpoint, status, m)
		}
	}
}

// checkForgedCursors checks that a cursor is taken from the caller that it was made for, as it was made.
func checkForgedCursors(t *testing.T, w *apiWorld, cursor string) {
	t.Helper()
	sdk := w.sdkToken()
	parts := strings.Split(cursor, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(payload), `"val":"c0"`, `"val":"c9"`, 1)
	if changed == string(payload) {
		t.Fatalf("the cursor says %s: the test changes nothing", payload)
	}
	for name, forged := range map[string]string{
		"changed":  parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + parts[2],
		"unsigned": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"cursor+jwt"}`)) + "." + parts[1] + ".",
		"cut off":  cursor[:len(cursor)-1], "a token": sdk, "a name": "c1",
	} {
		if m := w.api(400, sdk, "GET", "/v1/clients?limit=1&cursor="+forged, ""); m["type"] != w.url+"/openapi.json#/x-problems/invalid-cursor" {
			t.Errorf("%s: %v", name, m)
		}
	}
	if status, _ := w.call(w.url, cursor, "GET", "/v1/clients", "", ""); status != 401 {
		t.Errorf("a cursor as access token: %d", status)
	}
	key := w.api(201, sdk, "POST", "/v1/clients/c0/access-keys", "{}")
	access, err := events.ParseAccessKey(key["accessKey"].(string))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := mint.FromAccessKey(access, w.url)
	if err != nil {
		t.Fatal(err)
	}
	token, err := reader.Token(mint.Request{Audience: []string{reader.AccountAudience()}})
	if err != nil {
		t.Fatal(err)
	}
	w.soon(200, token, "GET", "/v1/clients?limit=1", "")
	w.api(400, token, "GET", "/v1/clients?limit=1&cursor="+cursor, "")
}

// feed is a set that was confirmed a moment ago.
type feed struct {
	set       *events.Set
	confirmed time.Time
}

func (f feed) Keys() *events.Set                { return f.set }
func (f feed) Revocations() *events.Revocations { return events.NewRevocations(nil) }
func (f feed) Confirmed() time.Time             { return f.confirmed }

// A token that is bound to a certificate is good for whoever shows it in TLS.
func TestACertificateBoundTokenOfACallerNeedsItsCertificate(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	set := events.NewSet(nil)
	for i, record := range []struct{ name, value string }{
		{"issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com"}`},
		{"issuer.orders", `{"type":"client","status":"active","aud":["https://auth.example.com"],"scope":"clients:read","offline":true}`},
		{"key.orders.k1", `{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(public) + `"}`},
	} {
		set.Apply(events.Entry{Name: record.name, Value: []byte(record.value), Revision: uint64(i + 1), Time: time.Now()})
	}
	judge := func(confirmed time.Time) callers {
		v, err := verifier.New(verifier.Config{Audience: "https://auth.example.com", AccountAudience: true}, feed{set, confirmed})
		if err != nil {
			t.Fatal(err)
		}
		return callers{v, synced(func() error { return nil })}
	}
	cert, another := &x509.Certificate{Raw: []byte("this one")}, &x509.Certificate{Raw: []byte("another")}
	sum := sha256.Sum256(cert.Raw)
	now := time.Now().Unix()
	claims := fmt.Appendf(nil, `{"iss":"https://auth.example.com/v1/clients/orders","sub":"orders","client_id":"orders","aud":"https://auth.example.com","iat":%d,"exp":%d,"cnf":{"x5t#S256":%q}}`,
		now, now+60, base64.RawURLEncoding.EncodeToString(sum[:]))
	token, err := jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "at+jwt"}, claims, private)
	if err != nil {
		t.Fatal(err)
	}
	request := func(certs ...*x509.Certificate) *http.Request {
		r := httptest.NewRequest("GET", "/v1/clients", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: certs}
		return r
	}
	plain := request()
	plain.TLS = nil
	grant, err := judge(time.Now()).Authorize(request(cert), token)
	if err != nil || grant.Client != "orders" || grant.Scope.String() != "clients:read" {
		t.Errorf("with its certificate: %+v, %v", grant, err)
	}
	for name, r := range map[string]*http.Request{"another certificate": request(another), "no certificate": request(), "no TLS": plain} {
		if grant, err := judge(time.Now()).Authorize(r, token); err == nil || errors.Is(err, admin.ErrUndecided) {
			t.Errorf("with %s: %+v, %v", name, grant, err)
		}
	}
	// What happened elsewhere until now counts, and so does not knowing it.
	late := judge(time.Now())
	late.keys = synced(func() error {
		set.Apply(events.Entry{Name: "revoked.orders.k1", Revision: set.Revision() + 1, Time: time.Now()})
		return nil
	})
	if grant, err := late.Authorize(request(cert), token); err == nil || errors.Is(err, admin.ErrUndecided) {
		t.Errorf("with a key that was revoked a moment ago: %+v, %v", grant, err)
	}
	late.keys = synced(func() error { return bus.ErrUnreachable })
	if _, err := late.Authorize(request(cert), token); !errors.Is(err, admin.ErrUndecided) {
		t.Errorf("without NATS: %v", err)
	}
	if _, err := judge(time.Now().Add(-2*time.Hour)).Authorize(request(cert), token); !errors.Is(err, admin.ErrUndecided) {
		t.Errorf("by an old set: %v", err)
	}
}

// synced is a set that is brought up to date by a function.
type synced func() error

func (f synced) Sync(context.Context) error            { return f() }
func (f synced) SyncRevocations(context.Context) error { return nil }
