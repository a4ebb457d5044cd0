package mint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// minterFor is a minter of the golden key for a test's token service.
func minterFor(t testing.TB, issuer string) *Minter {
	t.Helper()
	key, err := events.ParseAccessKey(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	m, err := FromAccessKey(key, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAFederatedTokenIsReadAnewForEveryRequest(t *testing.T) {
	s := newService(t)
	file := filepath.Join(t.TempDir(), "token")
	r := s.requester(t, FederatedFile("orders", file))
	for _, text := range []string{"a.b.c", "d.e.f\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Token(t.Context(), Request{Scope: "a"}); err != nil {
			t.Fatal(err)
		}
		want := "client_assertion=" + strings.TrimSpace(text) +
			"&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer" +
			"&client_id=orders&grant_type=client_credentials&scope=a"
		if got := s.form.Encode(); got != want || s.request.Header.Get("Authorization") != "" {
			t.Errorf("form %s, want %s", got, want)
		}
	}
}

func TestAFederatedTokenThatIsNoneIsNotSent(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) Credential {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return FederatedFile("orders", file)
	}
	away := errors.New("the metadata server is away")
	for name, credential := range map[string]Credential{
		"empty":         write("empty", "\n"),
		"JSON":          write("json", `{"token":"SECRET.SECRET.SECRET"}`),
		"two parts":     write("two", "SECRET.SECRET"),
		"two tokens":    write("lines", "SECRET.b.c\nd"),
		"not ASCII":     write("utf8", "SECRET.b.ç"),
		"too long":      write("long", "SECRET.b."+strings.Repeat("c", 9000)),
		"no file":       FederatedFile("orders", filepath.Join(dir, "none")),
		"a directory":   FederatedFile("orders", dir),
		"one that fail": Federated("orders", func(context.Context) (string, error) { return "SECRET.b.c", away }),
	} {
		s := newService(t)
		_, err := s.requester(t, credential).Token(t.Context(), Request{})
		if err == nil || s.request != nil {
			t.Errorf("%s: error %v, request sent: %v", name, err, s.request != nil)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %q has the token", name, err)
		}
		if name == "one that fail" && !errors.Is(err, away) {
			t.Errorf("error %v does not wrap the cause", err)
		}
	}
}

func TestAFederatedTokenIsGotWithinTheRequestsTime(t *testing.T) {
	s := newService(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := s.requester(t, Federated("orders", func(got context.Context) (string, error) {
		cancel()
		<-got.Done()
		return "", got.Err()
	}))
	if _, err := r.Token(ctx, Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestTheGrantJWTBearerHasTheAssertionInItsPlace(t *testing.T) {
	s := newService(t)
	r := s.requester(t, JWTBearer(minterFor(t, s.URL)))
	if _, err := r.Token(t.Context(), Request{Audience: []string{"https://a"}, Scope: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.form["grant_type"], s.form["scope"], s.form["resource"]); got != "[urn:ietf:params:oauth:grant-type:jwt-bearer] [a] [https://a]" {
		t.Errorf("form %v", s.form)
	}
	for _, name := range []string{"client_id", "client_assertion", "client_assertion_type"} {
		if s.form.Has(name) {
			t.Errorf("the form has %s beside the grant", name)
		}
	}
	token, err := jws.Parse(s.form.Get("assertion"))
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims
	if c.Issuer != "sc_aAKceYi7VJDCU8vB7HcTo3Q" || c.Subject != c.Issuer || !slices.Equal(c.Audience, []string{s.URL}) || c.ID == "" ||
		c.Expiry != c.IssuedAt+60 {
		t.Errorf("claims %+v", c)
	}
	if token.Header.Type != "JWT" {
		t.Errorf("typ %q", token.Header.Type)
	}
}

func TestACertificateIsTheConnections(t *testing.T) {
	var form, peer string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = r.PostForm.Encode()
		if len(r.TLS.PeerCertificates) > 0 {
			peer = string(r.TLS.PeerCertificates[0].Raw)
		}
		_, _ = w.Write([]byte(`{"access_token":"x.y.z","token_type":"Bearer","expires_in":60}`))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	own := server.TLS.Certificates[0] // any will do
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}}}
	defer client.CloseIdleConnections()
	r, err := NewRequester(RequesterConfig{Issuer: server.URL, Credential: Certificate("orders"), HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Token(t.Context(), Request{}); err != nil {
		t.Fatal(err)
	}
	if form != "client_id=orders&grant_type=client_credentials" {
		t.Errorf("form %s", form)
	}
	if peer != string(own.Certificate[0]) {
		t.Error("the connection has not the client's certificate")
	}
}
