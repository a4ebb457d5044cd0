package refresh

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loopback allows the servers of tests.
var loopback = netip.MustParsePrefix("127.0.0.0/8").Contains

// serveTLS starts a provider, and returns a Fetcher that may ask it.
func serveTLS(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *Fetcher) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, NewFetcher(FetcherConfig{AllowTarget: loopback, Roots: rootsOf(s)})
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

func TestI21_AFetchFailsSafely(t *testing.T) {
	good := jwks(`{` + testKeys().ed + `,"kid":"a"}`)
	var redirected atomic.Bool
	other, _ := serveTLS(t, func(http.ResponseWriter, *http.Request) { redirected.Store(true) })
	for name, r := range map[string]struct {
		handler http.HandlerFunc
		want    string // of the error; empty: it is the document
	}{
		"200": {func(w http.ResponseWriter, _ *http.Request) { w.Write(good) }, ""},
		"a wrong content type": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(good)
		}, ""},
		"500":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); w.Write(good) }, "status 500 Internal Server Error"},
		"204":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		"206":               {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(206); w.Write(good) }, "status 206"},
		"304 for no reason": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, "status 304"},
		"a redirect":        {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "redirects"},
		"a redirect to metadata": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
		}, "redirects"},
		"2 MiB":                    {func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte(" "), 2<<20)) }, "more than 1048576 bytes"},
		"1 MiB":                    {func(w http.ResponseWriter, _ *http.Request) { w.Write(bytes.Repeat([]byte(" "), 1<<20)) }, ""},
		"a connection that breaks": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"half a body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write(good)
		}, "unexpected EOF"},
		"endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 4<<10))
			}
		}, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := serveTLS(t, r.handler)
			doc, err := f.get(t.Context(), s.URL+"/jwks", "")
			if r.want == "" {
				if err != nil || len(doc.body) == 0 {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), r.want) || !strings.HasPrefix(err.Error(), "fetching "+s.URL) || doc.body != nil {
				t.Errorf("document %q, error %v, want one that says %q", doc.body, err, r.want)
			}
		})
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
}

func TestI21_AFetchTakesOnlySoLong(t *testing.T) {
	stop := make(chan struct{})
	s, f := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush() // headers at once, the body never
		<-stop
	})
	defer close(stop)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.get(ctx, s.URL, ""); !errors.Is(err, context.DeadlineExceeded) && (err == nil || !strings.Contains(err.Error(), "no answer within")) {
		t.Errorf("error is %v", err)
	}
	for _, c := range []*http.Client{f.http, f.https} {
		if c.Jar != nil || c.Transport.(*http.Transport).Proxy != nil {
			t.Error("it keeps cookies, or asks a proxy")
		}
	}
}

func TestI21_AFetchGoesOnlyWhereItMay(t *testing.T) {
	var asked atomic.Int64
	s, allowed := serveTLS(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer plain.Close()
	port := s.Listener.Addr().(*net.TCPAddr).Port
	strict := NewFetcher(FetcherConfig{Roots: rootsOf(s)})
	for name, r := range map[string]struct {
		f    *Fetcher
		url  string
		want string
	}{
		"a literal loopback address":    {strict, s.URL, "not a public one"},
		"a name of loopback":            {strict, fmt.Sprintf("https://localhost:%d/", port), "not a public one"},
		"a name that is one of a kind":  {strict, fmt.Sprintf("https://127.1:%d/", port), ""},
		"mapped into IPv6":              {strict, fmt.Sprintf("https://[::ffff:127.0.0.1]:%d/", port), "not a public one"},
		"plain http to loopback":        {strict, plain.URL, "not a public one"},
		"a private address":             {strict, "https://10.1.2.3/", "not a public one"},
		"the metadata service":          {strict, "https://169.254.169.254/", "not a public one"},
		"another network than allowed":  {allowed, "https://10.1.2.3/", "not a public one"},
		"plain http to another network": {NewFetcher(FetcherConfig{AllowTarget: func(netip.Addr) bool { return true }}), "http://10.1.2.3/", "plain http is for loopback only"},
		"a certificate of nobody":       {NewFetcher(FetcherConfig{AllowTarget: loopback, Roots: x509.NewCertPool()}), s.URL, "certificate"},
		"another name's certificate":    {allowed, fmt.Sprintf("https://localhost:%d/", port), "certificate"},
		"a URL with a password":         {allowed, strings.Replace(s.URL, "https://", "https://u:p@", 1), "has a user"},
		"a file":                        {allowed, "file:///etc/passwd", "not an https URL"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := r.f.get(ctx, r.url, "")
			if err == nil || !strings.Contains(err.Error(), r.want) {
				t.Errorf("error is %v, want one that says %q", err, r.want)
			}
		})
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests arrived", asked.Load())
	}
	for _, url := range []string{s.URL, plain.URL} {
		if _, err := allowed.get(t.Context(), url, ""); err != nil {
			t.Errorf("the one that is allowed: %v", err)
		}
	}
}

func TestAFetchIsConditional(t *testing.T) {
	tag := `"v1"`
	var sent atomic.Value
	s, f := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		sent.Store(r.Header.Clone())
		w.Header().Set("ETag", tag)
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Set-Cookie", "a=b")
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write([]byte("body"))
	})
	doc, err := f.get(t.Context(), s.URL, "")
	if err != nil || doc.etag != tag || doc.unchanged || doc.life != 10*time.Minute {
		t.Fatalf("%+v, %v", doc, err)
	}
	doc, err = f.get(t.Context(), s.URL, doc.etag)
	if err != nil || doc.etag != tag || !doc.unchanged || doc.life != 10*time.Minute || doc.body != nil {
		t.Fatalf("%+v, %v", doc, err)
	}
	h := sent.Load().(http.Header)
	if h.Get("User-Agent") != UserAgent || h.Get("Cookie") != "" || h.Get("Authorization") != "" || h.Get("Referer") != "" {
		t.Errorf("sent %v", h)
	}
	for _, bad := range []string{"v1", `"`, `"` + strings.Repeat("a", 300) + `"`, "W/"} {
		if got := entityTag(http.Header{"Etag": {bad}}); got != "" {
			t.Errorf("tag %s is sent back", got)
		}
	}
}

func TestI21_DiscoveryBelievesAnIssuerAboutItselfOnly(t *testing.T) {
	const oidc, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	for name, r := range map[string]struct {
		path string // of the iss
		docs map[string]string
		want string // jwks_uri, or part of the error
		ok   bool
	}{
		"OpenID":                 {"", map[string]string{oidc: `{"issuer":"ISS","jwks_uri":"ISS/keys"}`}, "/keys", true},
		"OpenID with a path":     {"/tenant", map[string]string{"/tenant" + oidc: `{"issuer":"ISS","jwks_uri":"ISS/keys?v=1"}`}, "/tenant/keys?v=1", true},
		"a slash at its end":     {"/tenant/", map[string]string{"/tenant" + oidc: `{"issuer":"ISS","jwks_uri":"ISSkeys"}`}, "/tenant/keys", true},
		"OAuth":                  {"", map[string]string{oauth: `{"issuer":"ISS","jwks_uri":"ISS/keys"}`}, "/keys", true},
		"OAuth with a path":      {"/tenant", map[string]string{oauth + "/tenant": `{"issuer":"ISS","jwks_uri":"ISS/keys"}`}, "/tenant/keys", true},
		"neither":                {"", nil, "status 404", false},
		"another issuer":         {"", map[string]string{oidc: `{"issuer":"https://evil.example","jwks_uri":"ISS/keys"}`, oauth: `{"issuer":"ISS","jwks_uri":"ISS/keys"}`}, "not about", false},
		"one with a slash":       {"", map[string]string{oidc: `{"issuer":"ISS/","jwks_uri":"ISS/keys"}`}, "not about", false},
		"one in another case":    {"/T", map[string]string{"/T" + oidc: `{"issuer":"iss","jwks_uri":"ISS/keys"}`}, "not about", false},
		"no issuer":              {"", map[string]string{oidc: `{"jwks_uri":"ISS/keys"}`}, "not about", false},
		"two issuers":            {"", map[string]string{oidc: `{"issuer":"ISS","issuer":"ISS","jwks_uri":"ISS/keys"}`}, "two members", false},
		"no jwks_uri":            {"", map[string]string{oidc: `{"issuer":"ISS"}`}, "no jwks_uri", false},
		"a jwks_uri of http":     {"", map[string]string{oidc: `{"issuer":"ISS","jwks_uri":"http://idp.example/keys"}`}, "http is for loopback", false},
		"a jwks_uri with a user": {"", map[string]string{oidc: `{"issuer":"ISS","jwks_uri":"https://u:p@idp.example/keys"}`}, "user", false},
		"a jwks_uri that is two": {"", map[string]string{oidc: `{"issuer":"ISS","jwks_uri":["ISS/keys"]}`}, "not a string", false},
		"no JSON":                {"", map[string]string{oidc: `<html>`}, "not JSON", false},
	} {
		t.Run(name, func(t *testing.T) {
			var iss string
			s, f := serveTLS(t, func(w http.ResponseWriter, req *http.Request) {
				doc, ok := r.docs[req.URL.Path]
				if !ok {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				fmt.Fprint(w, strings.ReplaceAll(doc, "ISS", iss))
			})
			iss = s.URL + r.path
			got, err := f.Discover(t.Context(), iss)
			if r.ok && (err != nil || got.JWKSURI != s.URL+r.want) {
				t.Errorf("found %+v, %v", got, err)
			}
			if !r.ok && (err == nil || !strings.Contains(err.Error(), r.want)) {
				t.Errorf("found %+v, error %v, want one that says %q", got, err, r.want)
			}
		})
	}
	if _, err := NewFetcher(FetcherConfig{}).Discover(t.Context(), "http://idp.example"); err == nil {
		t.Error("an http issuer was asked")
	}
}

func FuzzReadMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://idp.example","jwks_uri":"https://idp.example/keys"}`))
	f.Add([]byte(`{"issuer":"https://idp.example","jwks_uri":7}`))
	f.Add([]byte(`{"a":[{}],"issuer":"https://idp.ex\u0061mple"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		uri, err := readMetadata(data, "https://idp.example")
		if err == nil && !strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "http://") {
			t.Errorf("jwks_uri is %q", uri)
		}
	})
}
