package clientauth

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// ordersTemplate has every kind of name of orders.
func ordersTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: "orders", Organization: []string{"Acme"}}, DNSNames: []string{"x.example.com", "orders.example.com"},
		URIs: []*url.URL{{Scheme: "spiffe", Host: "acme", Path: "/orders"}}, IPAddresses: []net.IP{net.ParseIP("192.0.2.7")},
		EmailAddresses: []string{"orders@example.com"},
	}
}

// show authenticates a request with a client_id and certificates.
func (w *world) show(client string, certs ...*x509.Certificate) (*Client, error) {
	return w.auth.Authenticate(w.t.Context(), &Request{ClientID: client, Certificates: certs})
}

// byDNS is a world in which orders has a registered name in certificates of an authority.
func byDNS(t testing.TB) (*world, *authority) {
	w, ca := newWorld(t), newAuthority(t, "clients")
	w.roots = ca.pool()
	w.credentials("orders", events.Client{TLS: &events.TLS{DNS: "orders.example.com"}})
	return w, ca
}

func TestI14_ACertificateOfAnAuthorityIsAcceptedByTheOneRegisteredSubject(t *testing.T) {
	w, ca := byDNS(t)
	good, other := ca.issue(ordersTemplate()), ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "Orders"}, DNSNames: []string{"orders.example.com.evil.example"}})
	for name, tls := range map[string]events.TLS{
		"san_dns": {DNS: "orders.example.com"}, "san_uri": {URI: "spiffe://acme/orders"}, "san_ip": {IP: "192.0.2.7"},
		"san_email": {Email: "orders@example.com"}, "subject_dn": {SubjectDN: "CN=orders,O=Acme"},
	} {
		t.Run(name, func(t *testing.T) {
			w.credentials("orders", events.Client{TLS: &tls})
			client, err := w.show("orders", good)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(good.Raw)
			thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
			if client.Name != "orders" || client.Method != "tls_client_auth" || client.Credential != thumbprint || client.Certificate != thumbprint || client.Record == nil {
				t.Errorf("client %+v", client)
			}
			client, err = w.show("orders", other)
			if e := refused(t, client, err, InvalidClient); e.Reason != "not a registered certificate" || e.Description != failed {
				t.Errorf("reason %q, description %q", e.Reason, e.Description)
			}
		})
	}
}

func TestI14_ASelfSignedCertificateIsAcceptedByItsDigest(t *testing.T) {
	w, ca := byDNS(t)
	first, second, signed := selfSigned(t, ordersTemplate()), selfSigned(t, &x509.Certificate{}), ca.issue(&x509.Certificate{})
	w.credentials("orders", pinned(first, second, signed))
	for _, cert := range []*x509.Certificate{first, second, signed} {
		if client, err := w.show("orders", cert); err != nil || client.Method != "self_signed_tls_client_auth" || client.Certificate == "" {
			t.Errorf("client %+v, error %v", client, err)
		}
	}
	w.credentials("orders", pinned(second)) // the others are removed
	for _, cert := range []*x509.Certificate{first, signed} {
		client, err := w.show("orders", cert)
		if e := refused(t, client, err, InvalidClient); e.Description != failed || e.Method != "tls_client_auth" { // as for a client that does not exist
			t.Errorf("description %q, method %q", e.Description, e.Method)
		}
	}
	if _, err := w.show("orders", second); err != nil {
		t.Error(err)
	}
}

func TestI14_IntermediatesThatTheClientShowsLeadToTheAuthority(t *testing.T) {
	w, ca := byDNS(t)
	chain := []*authority{ca}
	for i := range maxIntermediates + 1 {
		chain = append(chain, chain[i].under("intermediate", time.Time{}))
	}
	shown := func(n int) (certs []*x509.Certificate) {
		certs = append(certs, chain[n].issue(ordersTemplate()))
		for ; n > 0; n-- {
			certs = append(certs, chain[n].cert)
		}
		return certs
	}
	for _, n := range []int{1, 2, maxIntermediates} {
		if _, err := w.show("orders", shown(n)...); err != nil {
			t.Errorf("%d intermediates: %v", n, err)
		}
	}
	client, err := w.show("orders", shown(maxIntermediates+1)...)
	refused(t, client, err, InvalidClient)
	client, err = w.show("orders", shown(1)[0]) // without what leads to it
	refused(t, client, err, InvalidClient)
}

func TestI14_I4_WhoeverShowsNoValidCertificateGetsOneMessage(t *testing.T) {
	w, ca := byDNS(t)
	foreign := newAuthority(t, "clients") // of the same name
	good, self := ca.issue(ordersTemplate()), selfSigned(t, ordersTemplate())
	ended := ca.under("ended", time.Now().Add(-time.Second))
	withUsage := func(usage x509.ExtKeyUsage) *x509.Certificate {
		template := ordersTemplate()
		template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
		return ca.issue(template)
	}
	w.credentials("closed", events.Client{TLS: &events.TLS{DNS: "orders.example.com"}})
	w.credentials("github", events.Client{TLS: &events.TLS{DNS: "orders.example.com"}})
	w.put("issuer.pinned", `{"type":"client","status":"active"}`)
	w.credentials("pinned", pinned(selfSigned(t, ordersTemplate())))
	w.put("issuer.bare", `{"type":"client","status":"active"}`)
	w.put("issuer.keyed", `{"type":"client","status":"active"}`)
	w.secrets("keyed", events.Secret{ID: "s1", SHA256: [32]byte{1}})
	tests := []struct {
		name, client string
		certs        []*x509.Certificate
		reason       string
	}{
		{"another authority of the same name", "orders", []*x509.Certificate{foreign.issue(ordersTemplate())}, "certificate of an unknown authority"},
		{"another authority, which is shown, too", "orders", []*x509.Certificate{foreign.issue(ordersTemplate()), foreign.cert}, "certificate of an unknown authority"},
		{"another authority, and ours is shown, too", "orders", []*x509.Certificate{foreign.issue(ordersTemplate()), ca.cert}, "certificate of an unknown authority"},
		{"signed by itself with the registered subject", "orders", []*x509.Certificate{self}, "certificate of an unknown authority"},
		{"signed by itself, and a good one behind it", "orders", []*x509.Certificate{self, good, ca.cert}, "certificate of an unknown authority"},
		{"for servers", "orders", []*x509.Certificate{withUsage(x509.ExtKeyUsageServerAuth)}, "certificate not for client authentication"},
		{"of an authority that has ended", "orders", []*x509.Certificate{ended.issue(ordersTemplate()), ended.cert}, "certificate of an authority that is out of its time"},
		{"another subject", "orders", []*x509.Certificate{ca.issue(&x509.Certificate{DNSNames: []string{"billing.example.com"}})}, "not a registered certificate"},
		{"the authority itself", "orders", []*x509.Certificate{ca.cert}, "not a registered certificate"},
		{"unknown client", "stranger", []*x509.Certificate{good}, "unknown client"},
		{"a name that no client can have", "a b", []*x509.Certificate{good}, "unknown client"},
		{"disabled client", "closed", []*x509.Certificate{good}, "disabled client"},
		{"external issuer", "github", []*x509.Certificate{good}, "not a client"},
		{"the platform", "platform", []*x509.Certificate{good}, "not a client"},
		{"another client's certificate", "pinned", []*x509.Certificate{good}, "not a registered certificate"},
		{"another certificate with all the names of the registered one", "pinned", []*x509.Certificate{self}, "not a registered certificate"},
		{"a client without credentials", "bare", []*x509.Certificate{good}, "no certificate registered"},
		{"a client with other credentials", "keyed", []*x509.Certificate{good}, "no certificate registered"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := w.show(test.client, test.certs...)
			e := refused(t, client, err, InvalidClient)
			if e.Description != failed {
				t.Errorf("description %q tells more than others", e.Description)
			}
			if e.Reason != test.reason {
				t.Errorf("reason %q, want %q", e.Reason, test.reason)
			}
		})
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageAny} {
		if _, err := w.show("orders", withUsage(usage)); err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
}

// A connection may live for longer than the certificate that was shown when it began.
func TestI14_ACertificateIsGoodWithinItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := byDNS(t)
		w.put("issuer.pinned", `{"type":"client","status":"active"}`)
		times := func() *x509.Certificate {
			template := ordersTemplate()
			template.NotBefore, template.NotAfter = time.Now().Add(time.Minute), time.Now().Add(time.Hour)
			return template
		}
		signed, self := ca.sign(times(), ca.cert, newECKey(t)), selfSigned(t, times())
		w.credentials("pinned", pinned(self))
		ca.cert.NotAfter = time.Now().Add(24 * time.Hour)
		try := func(want string) {
			t.Helper()
			for client, cert := range map[string]*x509.Certificate{"orders": signed, "pinned": self, "stranger": self} {
				got, err := w.show(client, cert)
				if want == "" && client != "stranger" {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				e := refused(t, got, err, InvalidClient)
				if want != "" && e.Description != "the client certificate was refused: "+want {
					t.Errorf("description %q, want %q", e.Description, want)
				}
			}
		}
		try("it is not valid yet")
		time.Sleep(time.Minute)
		try("")
		time.Sleep(59 * time.Minute) // its last second
		try("")
		time.Sleep(time.Second)
		try("it has expired")
	})
}

func TestI14_ACertificateNeedsAClientID(t *testing.T) {
	w, ca := byDNS(t)
	client, err := w.show("", ca.issue(ordersTemplate()))
	if e := refused(t, client, err, InvalidClient); e.Reason != "certificate without client_id" {
		t.Errorf("reason %q", e.Reason)
	}
	client, err = w.show("orders")
	if e := refused(t, client, err, InvalidClient); e.Reason != "client_id without a credential" {
		t.Errorf("reason %q", e.Reason)
	}
}

// In a service mesh each connection has a certificate, whatever the client authenticates with.
func TestI2_I14_ACertificateBesideAnotherCredentialMeansNothing(t *testing.T) {
	w, ca := byDNS(t)
	secret := w.apiKeys["nobody"]
	w.put("issuer.nobody", `{"type":"client","status":"active"}`)
	sidecar := []*x509.Certificate{ca.issue(ordersTemplate())} // which would be orders
	for name, r := range map[string]*Request{
		"client_secret_basic": {Authorization: basic("nobody", secret.Reveal()), ClientID: "nobody"},
		"client_secret_post":  {ClientID: "nobody", Secret: secret.Reveal()},
		"private_key_jwt":     {ClientID: "nobody", AssertionType: AssertionType, Assertion: w.assertion(jws.Header{}, claims(map[string]any{"iss": "nobody", "sub": "nobody"}))},
	} {
		r.Certificates = sidecar
		client, err := w.auth.Authenticate(t.Context(), r)
		if err != nil || client.Name != "nobody" || client.Method != name || client.Certificate != "" {
			t.Errorf("%s: client %+v, error %v", name, client, err)
		}
	}
	for _, test := range []struct {
		name, method string // the one that was tried
		code         Code
		r            Request
	}{
		{"a wrong API key", "client_secret_post", InvalidClient, Request{Secret: "khs_orders_x"}},
		{"an assertion alone", "private_key_jwt", InvalidRequest, Request{Assertion: "x"}},
		{"a type of assertion alone", "private_key_jwt", InvalidRequest, Request{AssertionType: AssertionType}},
		{"another scheme", "", InvalidClient, Request{Authorization: []string{"Bearer x"}}},
		{"an empty header", "", InvalidClient, Request{Authorization: []string{""}}},
	} {
		test.r.ClientID, test.r.Certificates = "orders", sidecar
		client, err := w.auth.Authenticate(t.Context(), &test.r)
		if e := refused(t, client, err, test.code); e.Method != test.method {
			t.Errorf("%s: method %q, want %q", test.name, e.Method, test.method)
		}
	}
}

func TestI14_AuthoritiesAreThoseOfNow(t *testing.T) {
	w, ca := byDNS(t)
	cert := ca.issue(ordersTemplate())
	if _, err := w.show("orders", cert); err != nil {
		t.Fatal(err)
	}
	for _, roots := range []*x509.CertPool{newAuthority(t, "clients").pool(), x509.NewCertPool(), nil} {
		w.roots = roots
		client, err := w.show("orders", cert)
		refused(t, client, err, InvalidClient)
	}
}

// What is accepted by the system for the web is none of ours. The system's authorities are one set for a whole process, so one of
// a child's own has a test authority among them.
func TestI14_NoAuthorityDoesNotMeanThoseOfTheSystem(t *testing.T) {
	const child = "KEYHERALD_TEST_SYSTEM_ROOTS"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1", "GODEBUG=x509usefallbackroots=1") // on every system, whatever authorities it has
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	w, ca := byDNS(t)
	x509.SetFallbackRoots(ca.pool())
	cert := ca.issue(ordersTemplate())
	if _, err := cert.Verify(x509.VerifyOptions{KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Fatalf("the system does not accept the certificate: %v", err)
	}
	for name, roots := range map[string]*x509.CertPool{"nil": nil, "empty": x509.NewCertPool()} {
		w.roots = roots
		client, err := w.show("orders", cert)
		if e := refused(t, client, err, InvalidClient); e.Reason != "certificate of an unknown authority" {
			t.Errorf("%s: reason %q", name, e.Reason)
		}
	}
	w.roots = ca.pool()
	if _, err := w.show("orders", cert); err != nil {
		t.Errorf("as an authority of ours: %v", err)
	}
}

func TestI14_WithoutAuthoritiesOnlyDigestsAreAccepted(t *testing.T) {
	w, ca := byDNS(t)
	self := selfSigned(t, ordersTemplate())
	w.put("issuer.pinned", `{"type":"client","status":"active"}`)
	w.credentials("pinned", pinned(self))
	method := NewMutualTLS(w, w.clients, nil)
	w.auth = New(method)
	if names := w.auth.Names(); !slices.Equal(names, []string{"self_signed_tls_client_auth"}) {
		t.Errorf("names %v", names)
	}
	client, err := w.show("orders", ca.issue(ordersTemplate()))
	if e := refused(t, client, err, InvalidClient); e.Description != failed {
		t.Errorf("description %q", e.Description)
	}
	if _, err := w.show("pinned", self); err != nil {
		t.Error(err)
	}
}
