package issuer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/peer"
	"github.com/keyherald/keyherald/verifier/jws"
)

// newCertificate makes a certificate, signed by itself, that is good for an hour.
func newCertificate(t testing.TB) *x509.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// withCertificates lets clients show certificates.
func withCertificates(c *Config) { c.Certificates = true }

// pin registers certificates of orders, which keeps its API key.
func (f *fixture) pin(certs ...*x509.Certificate) {
	f.t.Helper()
	client := &events.Client{Secrets: []events.Secret{{ID: "s1", SHA256: f.apiKey.Hash()}}}
	if len(certs) > 0 {
		client.TLS = new(events.TLS)
	}
	for _, cert := range certs {
		client.TLS.Certificates = append(client.TLS.Certificates, sha256.Sum256(cert.Raw))
	}
	value, err := client.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	f.clients.Apply(events.Entry{Name: "orders", Value: value, Revision: f.clients.Revision() + 1, Time: time.Now()})
}

// showing is a request over a connection in which a certificate was shown.
func showing(cert *x509.Certificate, r *http.Request) *http.Request {
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	return r
}

// byCertificate is a request of orders with a certificate.
func byCertificate(cert *x509.Certificate, params ...string) *http.Request {
	return showing(cert, tokenRequestWith(append([]string{"grant_type", "client_credentials", "client_id", "orders"}, params...)...))
}

func thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestI10_I14_ATokenOfAClientWithACertificateIsBoundToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, withCertificates)
		cert, other := newCertificate(t), newCertificate(t)
		f.pin(cert)
		token := f.granted(byCertificate(cert, "scope", "billing:read"))
		if want := `,"scope":"billing:read","cnf":{"x5t#S256":"` + thumbprint(cert) + `"}}`; !strings.HasSuffix(string(token.Payload()), want) {
			t.Errorf("claims %s, want them to end with %s", token.Payload(), want)
		}
		if token.Claims.Subject != "orders" || token.Claims.ClientID != "orders" {
			t.Errorf("claims %+v", token.Claims)
		}
		issued := linesOf(t, f.log, "token issued")
		if line := issued[len(issued)-1]; line["method"] != "self_signed_tls_client_auth" || line["credential"] != thumbprint(cert) {
			t.Errorf("audit line %v", line)
		}
		// Who uses another credential gets a bearer token, whoever's certificate the connection has.
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]*http.Request{
			"API key": f.withKey("client_id", "orders"), "assertion": withAssertion(assertion, "client_id", "orders"),
			"grant jwt-bearer": withGrant(f.signed(nil), "client_id", "orders"),
		} {
			if token := f.granted(showing(cert, r)); token.Claims.Confirmation != nil {
				t.Errorf("%s: cnf %s", name, token.Claims.Confirmation)
			}
		}
		if token := f.granted(showing(other, f.withKey("client_id", "orders"))); token.Claims.Confirmation != nil {
			t.Errorf("another's certificate: cnf %s", token.Claims.Confirmation)
		}
		if token := f.granted(showing(other, withGrant(f.signed(nil), "client_id", "orders"))); token.Claims.Confirmation != nil {
			t.Errorf("another's certificate and the grant jwt-bearer: cnf %s", token.Claims.Confirmation)
		}
	})
}

func TestI14_ACertificateOpensTheOtherEndpointsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, withCertificates)
		cert := newCertificate(t)
		f.pin(cert)
		token := f.token(byCertificate(cert)).AccessToken
		ask := func(path string, shown *x509.Certificate) *httptest.ResponseRecorder {
			r := showing(shown, tokenRequestWith("client_id", "orders", "token", token))
			r.URL.Path = path
			return f.do(r)
		}
		if w := ask("/oauth/introspect", cert); w.Code != 200 || !strings.Contains(w.Body.String(), `"cnf":{"x5t#S256":"`+thumbprint(cert)+`"}`) {
			t.Errorf("introspection: status %d, %s", w.Code, w.Body)
		}
		if w := ask("/oauth/revoke", newCertificate(t)); w.Code != 401 {
			t.Errorf("revocation with another certificate: status %d, %s", w.Code, w.Body)
		}
		if w := ask("/oauth/revoke", cert); w.Code != 200 {
			t.Errorf("revocation: status %d, %s", w.Code, w.Body)
		}
	})
}

func TestI14_ACertificateThatIsRemovedIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, withCertificates)
		cert, next := newCertificate(t), newCertificate(t)
		f.pin(cert, next)
		f.granted(byCertificate(cert))
		refuse := func(what string) {
			t.Helper()
			if a := f.token(byCertificate(cert)); a.status != 401 || a.Error != "invalid_client" || a.header.Get("WWW-Authenticate") != "" {
				t.Errorf("%s: status %d, error %s, WWW-Authenticate %q", what, a.status, a.Error, a.header.Get("WWW-Authenticate"))
			}
		}
		f.pin(next)
		refuse("removed")
		f.granted(byCertificate(next))
		f.pin()
		refuse("all removed")
		f.pin(cert)
		f.granted(byCertificate(cert))
		f.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1))
		refuse("disabled")
		f.bucket.put("issuer.orders", ordersJSON)
		f.granted(byCertificate(cert))
		time.Sleep(time.Hour + time.Second)
		refuse("expired")
	})
}

func TestI14_WithoutCertificatesConfiguredNobodyAuthenticatesWithOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		cert := newCertificate(t)
		f.pin(cert)
		if a := f.token(byCertificate(cert)); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
	})
}

func TestI14_ACertificateInAHeaderCountsFromAPinnedProxyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, withCertificates)
		proxies, err := peer.New(peer.Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/28")}, CertificateHeader: "Client-Cert"})
		if err != nil {
			t.Fatal(err)
		}
		cert := newCertificate(t)
		f.pin(cert)
		good := ":" + base64.StdEncoding.EncodeToString(cert.Raw) + ":"
		send := func(handler http.Handler, from string, values ...string) (answer, map[string]any) {
			t.Helper()
			r := tokenRequestWith("grant_type", "client_credentials", "client_id", "orders")
			r.RemoteAddr = from
			r.Header["Client-Cert"] = values
			r.Header.Set("X-Forwarded-For", "198.51.100.1")
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			a := answer{status: w.Code}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(f.log.String()), "\n")
			var last map[string]any
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatal(err)
			}
			return a, last
		}
		behind := proxies.Handler(f.node.Handler())
		a, line := send(behind, "10.0.0.1:1234", good)
		if a.status != 200 || line["address"] != "198.51.100.1" {
			t.Fatalf("status %d: %s; audit line %v", a.status, a.Description, line)
		}
		if token, err := jws.Parse(a.AccessToken); err != nil || !strings.Contains(string(token.Claims.Confirmation), thumbprint(cert)) {
			t.Errorf("token %+v, error %v", token, err)
		}
		for _, test := range []struct {
			name    string
			handler http.Handler
			from    string
			values  []string
			status  int
			code    string
			address string
		}{
			{"a stranger", behind, "192.0.2.7:1234", []string{good}, 401, "invalid_client", "192.0.2.7"},
			{"a stranger on this machine", behind, "127.0.0.1:1234", []string{good}, 401, "invalid_client", "127.0.0.1"},
			{"no proxies", f.node.Handler(), "10.0.0.1:1234", []string{good}, 401, "invalid_client", "10.0.0.1"},
			{"no header", behind, "10.0.0.1:1234", nil, 401, "invalid_client", "198.51.100.1"},
			{"another certificate", behind, "10.0.0.1:1234", []string{":" + base64.StdEncoding.EncodeToString(newCertificate(t).Raw) + ":"}, 401, "invalid_client", "198.51.100.1"},
			{"two headers", behind, "10.0.0.1:1234", []string{good, good}, 400, "invalid_request", "198.51.100.1"},
			{"a malformed header", behind, "10.0.0.1:1234", []string{good[1:]}, 400, "invalid_request", "198.51.100.1"},
		} {
			a, line := send(test.handler, test.from, test.values...)
			if a.status != test.status || a.Error != test.code || line["address"] != test.address {
				t.Errorf("%s: status %d, error %s, audit line %v", test.name, a.status, a.Error, line)
			}
		}
	})
}

func TestI19_TheMetadataNameTheWaysWithCertificatesOnlyIfTheyAreOffered(t *testing.T) {
	authorities := func() *x509.CertPool { return x509.NewCertPool() }
	for _, test := range []struct {
		name   string
		modify func(*Config)
		has    []string
		hasNot []string
	}{
		{"none", func(c *Config) { c.Authorities = authorities }, nil, []string{"tls_client"}},
		{"by digest", withCertificates,
			[]string{`"private_key_jwt","self_signed_tls_client_auth"]`, `"tls_client_certificate_bound_access_tokens":true`}, []string{`"tls_client_auth"`}},
		{"by subject, too", func(c *Config) { c.Certificates, c.Authorities = true, authorities },
			[]string{`"private_key_jwt","tls_client_auth","self_signed_tls_client_auth"]`, `"tls_client_certificate_bound_access_tokens":true`}, nil},
	} {
		f := newFixture(t, test.modify)
		body := f.get("/.well-known/oauth-authorization-server").Body.String()
		for _, text := range test.has {
			if !strings.Contains(body, text) {
				t.Errorf("%s: %s does not have %s", test.name, body, text)
			}
		}
		for _, text := range test.hasNot {
			if strings.Contains(body, text) {
				t.Errorf("%s: %s has %s", test.name, body, text)
			}
		}
	}
}
