package httpauth_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/httpauth"
)

const (
	noToken   = `Bearer realm="billing"`
	invalid   = `Bearer realm="billing", error="invalid_token"`
	malformed = `Bearer realm="billing", error="invalid_request"`
)

func TestARequestHasOneBearerTokenInOnePlace(t *testing.T) {
	good := mint(nil)
	anywhere := func(cfg *httpauth.Config) { cfg.Query, cfg.Cookie = true, "token" }
	for _, c := range []struct {
		name      string
		change    func(*httpauth.Config)
		request   *http.Request
		status    int
		challenge string
		reason    verifier.Reason
	}{
		{"in the header", nil, get("/", "Authorization", "Bearer "+good), 200, "", ""},
		{"in another case", nil, get("/", "Authorization", "bEARER "+good), 200, "", ""},
		{"after three spaces", nil, get("/", "Authorization", "Bearer   "+good), 200, "", ""},
		{"after a tab", nil, get("/", "Authorization", "Bearer\t"+good), 401, noToken, httpauth.ReasonScheme},
		{"nowhere", nil, get("/"), 401, noToken, httpauth.ReasonNoToken},
		{"in an empty header", nil, get("/", "Authorization", ""), 401, noToken, httpauth.ReasonNoToken},
		{"as a password", nil, get("/", "Authorization", "Basic b3JkZXJzOng="), 401, noToken, httpauth.ReasonScheme},
		{"by DPoP, which is not supported", nil, get("/", "Authorization", "DPoP "+good, "DPoP", "x"), 401, noToken, httpauth.ReasonScheme},
		{"without a scheme", nil, get("/", "Authorization", good), 401, noToken, httpauth.ReasonScheme},
		{"with a scheme alone", nil, get("/", "Authorization", "Bearer"), 400, malformed, httpauth.ReasonRequest},
		{"with a scheme and spaces", nil, get("/", "Authorization", "Bearer   "), 400, malformed, httpauth.ReasonRequest},
		{"with a space after it", nil, get("/", "Authorization", "Bearer "+good+" x"), 400, malformed, httpauth.ReasonRequest},
		{"in quotes", nil, get("/", "Authorization", `Bearer "`+good+`"`), 400, malformed, httpauth.ReasonRequest},
		{"as a list", nil, get("/", "Authorization", "Bearer "+good+",Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"with a line break", nil, get("/", "Authorization", "Bearer "+good+"\r\n"), 400, malformed, httpauth.ReasonRequest},
		{"not in ASCII", nil, get("/", "Authorization", "Bearer töken"), 400, malformed, httpauth.ReasonRequest},
		{"of padding", nil, get("/", "Authorization", "Bearer =="), 400, malformed, httpauth.ReasonRequest},
		{"of every character there may be", nil, get("/", "Authorization", "Bearer AZaz09-._~+/=="), 401, invalid, verifier.ReasonMalformed},
		{"in two headers", nil, get("/", "Authorization", "Bearer "+good, "Authorization", "Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"beside a password", nil, get("/", "Authorization", "Basic b3JkZXJzOng=", "Authorization", "Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"in the query", nil, get("/?access_token=" + good), 401, noToken, httpauth.ReasonNoToken},
		{"in a cookie", nil, get("/", "Cookie", "token="+good), 401, noToken, httpauth.ReasonNoToken},
		{"in the header and in the query", nil, get("/?access_token="+good, "Authorization", "Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"in the header and hidden in the query", nil, get("/?a=b&access%5Ftoken=x", "Authorization", "Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"in the header, with something like it in the query", nil, get("/?my_access_token=x&y=%20", "Authorization", "Bearer "+good), 200, "", ""},

		{"in the query, which is allowed", anywhere, get("/?access_token=" + good), 200, "", ""},
		{"in a cookie, which is allowed", anywhere, get("/", "Cookie", "other=x; token="+good), 200, "", ""},
		{"in the query, beside a password", anywhere, get("/?access_token="+good, "Authorization", "Basic b3JkZXJzOng="), 200, "", ""},
		{"twice in the query", anywhere, get("/?access_token=" + good + "&access_token=" + good), 400, malformed, httpauth.ReasonRequest},
		{"empty in the query", anywhere, get("/?access_token="), 400, malformed, httpauth.ReasonRequest},
		{"in the header and in the query, which is allowed", anywhere, get("/?access_token="+good, "Authorization", "Bearer "+good), 400, malformed, httpauth.ReasonRequest},
		{"in the header and in a cookie", anywhere, get("/", "Authorization", "Bearer "+good, "Cookie", "token=x"), 400, malformed, httpauth.ReasonRequest},
		{"in two cookies", anywhere, get("/", "Cookie", "token="+good+"; token="+good), 400, malformed, httpauth.ReasonRequest},
		{"in the query and in a cookie", anywhere, get("/?access_token="+good, "Cookie", "token="+good), 400, malformed, httpauth.ReasonRequest},
		{"badly in the query", anywhere, get("/?access_token=a%20b"), 400, malformed, httpauth.ReasonRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told *httpauth.Error
			g := newGuard(t, func(cfg *httpauth.Config) {
				cfg.Refused = func(_ *http.Request, e *httpauth.Error) { told = e }
				if c.change != nil {
					c.change(cfg)
				}
			})
			got := ask(g.Handler(hello), c.request)
			if got.status != c.status || got.challenge != c.challenge {
				t.Fatalf("status %d with %q, want %d with %q: %s", got.status, got.challenge, c.status, c.challenge, got.body)
			}
			switch {
			case c.status == http.StatusOK:
				if told != nil || got.body != "hello orders" || got.cache != "" {
					t.Errorf("accepted with %v, body %q, Cache-Control %q", told, got.body, got.cache)
				}
			case told == nil || told.Reason != c.reason:
				t.Errorf("refused for %v, want %s", told, c.reason)
			case got.cache != "no-store" || strings.Count(got.body, "\n") != 1:
				t.Errorf("Cache-Control %q, body %q", got.cache, got.body)
			}
		})
	}
}

func TestV23_TheCallerLearnsOnlyThatTheTokenIsNotGood(t *testing.T) {
	var log bytes.Buffer
	var told []*httpauth.Error
	g := newGuard(t, func(cfg *httpauth.Config) {
		cfg.Logger = zerolog.New(&log)
		cfg.Refused = func(_ *http.Request, e *httpauth.Error) { told = append(told, e) }
	})
	tokens := map[verifier.Reason]string{
		verifier.ReasonExpired:   mint(map[string]any{"iat": 1, "exp": 2}),
		verifier.ReasonAudience:  mint(map[string]any{"aud": stock}),
		verifier.ReasonIssuer:    mint(map[string]any{"iss": "https://canary.example"}),
		verifier.ReasonSubject:   mint(map[string]any{"sub": "canary"}),
		verifier.ReasonMalformed: "canary",
		verifier.ReasonSignature: mint(nil)[:300] + strings.Repeat("A", len(mint(nil))-300),
		verifier.ReasonBound:     mint(map[string]any{"cnf": map[string]any{"jkt": "canary"}}),
	}
	var first answer
	for reason, token := range tokens {
		told = nil
		log.Reset()
		got := ask(g.Handler(hello), get("/", "Authorization", "Bearer "+token))
		if got.status != http.StatusUnauthorized || got.challenge != invalid {
			t.Errorf("%s: status %d with %q", reason, got.status, got.challenge)
		}
		if first.status == 0 {
			first = got
		}
		if got.body != first.body || len(got.header) != len(first.header) {
			t.Errorf("%s: answer %+v differs from %+v", reason, got, first)
		}
		if len(told) != 1 || told[0].Reason != reason || !errors.Is(told[0], verifier.ErrInvalid) {
			t.Errorf("%s: the hook was told %v", reason, told)
		}
		if line := log.String(); !strings.Contains(line, `"reason":"`+string(reason)+`"`) || strings.Contains(line, "canary") || strings.Contains(line, token) {
			t.Errorf("%s: the log says %s", reason, line)
		}
	}
}

func TestARequestThatCannotBeUnderstoodIsToldWhatIsWrongWithItsForm(t *testing.T) {
	h := newGuard(t, nil).Handler(hello)
	for body, r := range map[string]*http.Request{
		"there is more than one token\n":                              get("/?access_token=x", "Authorization", "Bearer "+mint(nil)),
		"the token is missing, or has characters that no token has\n": get("/", "Authorization", "Bearer a b"),
	} {
		if a := ask(h, r); a.status != http.StatusBadRequest || a.body != body {
			t.Errorf("status %d: %q, want %q", a.status, a.body, body)
		}
	}
}

func TestAGoodTokenWithoutTheScopeIsForbidden(t *testing.T) {
	token := mint(nil) // billing:read
	for _, c := range []struct {
		scopes []string
		status int
		says   string
	}{
		{nil, 200, ""},
		{[]string{"billing:read"}, 200, ""},
		{[]string{"billing:write"}, 403, `Bearer realm="billing", error="insufficient_scope", scope="billing:write"`},
		{[]string{"billing:read", "billing:write"}, 403, `Bearer realm="billing", error="insufficient_scope", scope="billing:read billing:write"`},
		{[]string{"billing"}, 403, `Bearer realm="billing", error="insufficient_scope", scope="billing"`},
	} {
		g := newGuard(t, func(cfg *httpauth.Config) { cfg.Scopes = c.scopes })
		if got := ask(g.Handler(hello), get("/", "Authorization", "Bearer "+token)); got.status != c.status || got.challenge != c.says {
			t.Errorf("%v: status %d with %q", c.scopes, got.status, got.challenge)
		}
	}
}

func TestAnAudienceOfTheGuardTakesThePlaceOfTheVerifiers(t *testing.T) {
	h := newGuard(t, func(cfg *httpauth.Config) { cfg.Audience = stock }).Handler(hello)
	if got := ask(h, get("/", "Authorization", "Bearer "+mint(map[string]any{"aud": stock}))); got.status != http.StatusOK {
		t.Errorf("its own audience: status %d", got.status)
	}
	if got := ask(h, get("/", "Authorization", "Bearer "+mint(nil))); got.status != http.StatusUnauthorized {
		t.Errorf("the verifier's audience: status %d", got.status)
	}
}

func TestAnUndecidedTokenIsAskedForAgain(t *testing.T) {
	for name, age := range map[string]time.Duration{"never confirmed": -1, "too old": 2 * time.Hour} {
		f := newFeed()
		f.confirmed = time.Time{}
		if age > 0 {
			f.confirmed = time.Now().Add(-age)
		}
		g := newGuard(t, func(cfg *httpauth.Config) { cfg.Verifier = newVerifier(f) })
		got := ask(g.Handler(hello), get("/", "Authorization", "Bearer "+mint(nil)))
		if got.status != http.StatusServiceUnavailable || got.challenge != "" || got.retryAfter != "5" || got.cache != "no-store" {
			t.Errorf("%s: %+v", name, got)
		}
		if got := ask(g.Handler(hello), get("/")); got.status != http.StatusUnauthorized { // that much is known
			t.Errorf("%s, no token: status %d", name, got.status)
		}
	}
}

// verify is a verifier that says what a test wants.
type verify func(string, verifier.Request) (*verifier.Token, error)

func (v verify) VerifyRequest(token string, r verifier.Request) (*verifier.Token, error) {
	return v(token, r)
}

func TestWhatIsNotSaidToBeUndecidedIsRefused(t *testing.T) {
	g := newGuard(t, func(cfg *httpauth.Config) {
		cfg.Verifier = verify(func(string, verifier.Request) (*verifier.Token, error) { return nil, errors.New("who knows") })
	})
	_, err := g.Judge(get("/", "Authorization", "Bearer x"))
	var e *httpauth.Error
	if !errors.As(err, &e) || e.Status != http.StatusUnauthorized || e.Challenge != invalid || e.Reason != "unknown" {
		t.Errorf("%#v", err)
	}
}

func TestV19_ABoundTokenNeedsItsCertificate(t *testing.T) {
	own, other := &x509.Certificate{Raw: []byte("own")}, &x509.Certificate{Raw: []byte("other")}
	sum := sha256.Sum256(own.Raw)
	bound := "Bearer " + mint(map[string]any{"cnf": map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}})
	overTLS := func(certs ...*x509.Certificate) *http.Request {
		r := get("/", "Authorization", bound)
		r.TLS = &tls.ConnectionState{PeerCertificates: certs}
		return r
	}
	says := func(cert *x509.Certificate) func(*httpauth.Config) {
		return func(cfg *httpauth.Config) { cfg.Certificate = func(*http.Request) *x509.Certificate { return cert } }
	}
	for _, c := range []struct {
		name    string
		change  func(*httpauth.Config)
		request *http.Request
		status  int
	}{
		{"its own", nil, overTLS(own), 200},
		{"its own first", nil, overTLS(own, other), 200},
		{"its own second", nil, overTLS(other, own), 401},
		{"another", nil, overTLS(other), 401},
		{"none", nil, overTLS(), 401},
		{"no TLS", nil, get("/", "Authorization", bound), 401},
		{"its own, by the proxy", says(own), get("/", "Authorization", bound), 200},
		{"another, by the proxy, over its own", says(other), overTLS(own), 401},
		{"none, by the proxy, over its own", says(nil), overTLS(own), 401},
	} {
		if got := ask(newGuard(t, c.change).Handler(hello), c.request); got.status != c.status || c.status == 401 && got.challenge != invalid {
			t.Errorf("%s: status %d with %q, want %d", c.name, got.status, got.challenge, c.status)
		}
	}
}

// What a stranger sends costs the same however long it is, and no verifier sees it.
func TestALongTokenIsNotLookedAt(t *testing.T) {
	asked := 0
	g := newGuard(t, func(cfg *httpauth.Config) {
		cfg.Query = true
		cfg.Verifier = verify(func(string, verifier.Request) (*verifier.Token, error) {
			asked++
			return nil, verifier.ErrInvalid
		})
	})
	allocations := func(r *http.Request) float64 {
		return testing.AllocsPerRun(10, func() { _, _ = g.Judge(r) })
	}
	for _, size := range []int{8<<10 + 1, 64 << 10, 1 << 20} {
		r := get("/", "Authorization", "Bearer "+strings.Repeat("a", size))
		_, err := g.Judge(r)
		var e *httpauth.Error
		if !errors.As(err, &e) || e.Status != http.StatusUnauthorized || e.Reason != verifier.ReasonMalformed || asked > 0 {
			t.Errorf("%d bytes: %v, the verifier was asked %d times", size, err, asked)
		}
		if n := allocations(r); n > 0 {
			t.Errorf("%d bytes: %.0f allocations", size, n)
		}
	}
	if _, _ = g.Judge(get("/", "Authorization", "Bearer "+strings.Repeat("a", 8<<10))); asked != 1 {
		t.Error("8 KiB: the verifier was not asked")
	}
}

func TestALogIsNotFloodedAndSaysWhatIsLeftOut(t *testing.T) {
	var log bytes.Buffer
	g := newGuard(t, func(cfg *httpauth.Config) { cfg.Logger = zerolog.New(&log).Level(zerolog.InfoLevel) })
	h := g.Handler(hello)
	for range 10_000 {
		ask(h, get("/", "Authorization", "Bearer x"))
	}
	if lines := strings.Count(log.String(), "\n"); lines < 10 || lines > 500 { // 50 at once and 10 a second
		t.Errorf("%d lines", lines)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), `"left_out":`); time.Sleep(10 * time.Millisecond) {
		ask(h, get("/", "Authorization", "Bearer x"))
		if time.Now().After(deadline) {
			t.Fatal("no line says how many were left out")
		}
	}
	log.Reset()
	h = newGuard(t, func(cfg *httpauth.Config) { cfg.Logger = zerolog.New(&log).Level(zerolog.InfoLevel) }).Handler(hello)
	for range 10 {
		ask(h, get("/"))
	}
	if log.Len() > 0 {
		t.Errorf("requests without a token are logged at info level: %s", log.String())
	}
}

func TestTheServerAnswersHEADAndLeavesTheBodyAlone(t *testing.T) {
	read := false
	server := httptest.NewServer(newGuard(t, nil).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read = r.ParseForm() == nil && r.PostForm.Get("access_token") == "mine"
		w.Header().Set("X-Mine", "1")
	})))
	defer server.Close()
	do := func(method, token, body string) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := do(http.MethodHead, "", ""); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") != noToken {
		t.Errorf("HEAD: %s, %v", resp.Status, resp.Header)
	}
	if resp := do(http.MethodHead, mint(nil), ""); resp.StatusCode != http.StatusOK || resp.Header.Get("X-Mine") == "" || resp.Header.Get("Cache-Control") != "" {
		t.Errorf("HEAD with a token: %s, %v", resp.Status, resp.Header)
	}
	if resp := do(http.MethodPost, "", "access_token="+mint(nil)); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token in a form: %s", resp.Status)
	}
	if do(http.MethodPost, mint(nil), "access_token=mine"); !read {
		t.Error("the handler did not find the body")
	}
}

func TestAGuardThatCannotWorkIsNotMade(t *testing.T) {
	v := newVerifier(newFeed())
	for name, cfg := range map[string]httpauth.Config{
		"no verifier": {}, "a realm with a quote": {Verifier: v, Realm: `a"b`}, "a realm with a line break": {Verifier: v, Realm: "a\r\nX: y"},
		"an empty scope": {Verifier: v, Scopes: []string{""}}, "two scopes in one": {Verifier: v, Scopes: []string{"a b"}}, "a scope with a quote": {Verifier: v, Scopes: []string{`a"`}},
	} {
		if g, err := httpauth.New(cfg); err == nil || g != nil || !strings.HasPrefix(err.Error(), "httpauth: ") {
			t.Errorf("%s: %v, error %v", name, g, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Require does not panic")
		}
	}()
	httpauth.Require(nil)
}

func TestWithoutAGuardThereIsNoToken(t *testing.T) {
	if token, ok := httpauth.FromContext(t.Context()); ok || token != nil {
		t.Error("a token out of nowhere")
	}
}
