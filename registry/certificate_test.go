package registry_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// certificate makes a certificate that is good until then, and its private key as PEM.
func certificate(t testing.TB, notAfter time.Time) (*x509.Certificate, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

func (w *world) certificates(n int) (certs []*x509.Certificate) {
	w.t.Helper()
	for range n {
		cert, _ := certificate(w.t, w.clock.Now().Add(24*time.Hour))
		certs = append(certs, cert)
	}
	return certs
}

func digest(cert *x509.Certificate) [sha256.Size]byte { return sha256.Sum256(cert.Raw) }

func TestCertificatesAreReplacedOneByOne(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	if tls := must(w.Certificates(t.Context(), "orders"))(t); tls != nil {
		t.Errorf("a new client has %+v", tls)
	}
	w.server.Write(bus.Clients, "orders", `{"require_jti":true,"federated":[{"issuer":"ci","sub":"a","aud":"b"}]}`)
	w.ok(w.AddSecret(t.Context(), alice, "orders", time.Time{}))
	certs := w.certificates(2)
	old, next := certs[0], certs[1]
	w.ok(w.AddCertificate(t.Context(), alice, "orders", old))
	revision := must(w.AddCertificate(t.Context(), alice, "orders", next))(t)
	if e := w.stored(bus.Clients, "orders"); e.Revision != revision || e.Caller != alice.Name {
		t.Errorf("stored at revision %d by %s, want %d by %s", e.Revision, e.Caller, revision, alice.Name)
	}
	if line := w.audit.last(t); line["op"] != "certificate add" || line["issuer"] != "orders" || line["certificate"] != registry.Thumbprint(digest(next)) ||
		line["outcome"] != "done" || line["revision"] != float64(revision) {
		t.Errorf("audit line %v", line)
	}
	if again := must(w.AddCertificate(t.Context(), alice, "orders", next))(t); again != revision || w.audit.last(t)["outcome"] != "unchanged" {
		t.Errorf("added again at revision %d, audit line %v", again, w.audit.last(t))
	}
	tls := must(w.Certificates(t.Context(), "orders"))(t)
	if tls == nil || !slices.Equal(tls.Certificates, [][sha256.Size]byte{digest(old), digest(next)}) {
		t.Fatalf("the certificates are %+v", tls)
	}
	w.ok(w.RemoveCertificate(t.Context(), alice, "orders", digest(old)))
	if line := w.audit.last(t); line["op"] != "certificate remove" || line["certificate"] != registry.Thumbprint(digest(old)) {
		t.Errorf("audit line %v", line)
	}
	if tls := must(w.Certificates(t.Context(), "orders"))(t); !tls.Matches(next) || tls.Matches(old) {
		t.Errorf("the certificates are %+v", tls)
	}
	_, err := w.RemoveCertificate(t.Context(), alice, "orders", digest(old))
	wantError(t, err, registry.ErrNotFound, "client orders has no certificate "+registry.Thumbprint(digest(old)))
	w.ok(w.RemoveCertificate(t.Context(), alice, "orders", digest(next)))
	m := members(t, w.stored(bus.Clients, "orders"))
	if m["tls"] != nil || m["require_jti"] != true || m["federated"] == nil || m["secrets"] == nil {
		t.Errorf("the record is %v", m)
	}
}

func TestASubjectReplacesASubject(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.server.Write(bus.Clients, "orders", `{"tls":{"san_dns":"old.example.com","label":1}}`)
	for _, subject := range []events.TLS{
		{DNS: "orders.example.com"}, {URI: "spiffe://acme/orders"}, {IP: "192.0.2.7"}, {Email: "orders@example.com"}, {SubjectDN: "CN=orders,O=Acme"},
	} {
		revision := must(w.SetCertificateSubject(t.Context(), alice, "orders", subject))(t)
		member, value := subject.Subject()
		tls := members(t, w.stored(bus.Clients, "orders"))["tls"].(map[string]any)
		if len(tls) != 2 || tls[member] != value || tls["label"] != 1.0 {
			t.Errorf("%s: the record has %v", member, tls)
		}
		if line := w.audit.last(t); line["op"] != "certificate subject" || line["subject"] != member+" "+value {
			t.Errorf("audit line %v", line)
		}
		if again := must(w.SetCertificateSubject(t.Context(), alice, "orders", subject))(t); again != revision || w.audit.last(t)["outcome"] != "unchanged" {
			t.Errorf("set again at revision %d, audit line %v", again, w.audit.last(t))
		}
	}
}

// A change of the way is two steps, so that it is no slip.
func TestASubjectAndCertificatesExcludeEachOther(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	cert := w.certificates(1)[0]
	w.ok(w.AddCertificate(t.Context(), alice, "orders", cert))
	_, err := w.SetCertificateSubject(t.Context(), alice, "orders", events.TLS{DNS: "orders.example.com"})
	wantError(t, err, registry.ErrExists, "client orders has 1 registered certificates: clear them first")
	w.ok(w.ClearCertificates(t.Context(), alice, "orders"))
	w.ok(w.SetCertificateSubject(t.Context(), alice, "orders", events.TLS{DNS: "orders.example.com"}))
	_, err = w.AddCertificate(t.Context(), alice, "orders", cert)
	wantError(t, err, registry.ErrExists, `client orders is registered by the subject san_dns "orders.example.com": clear that first`)
	_, err = w.RemoveCertificate(t.Context(), alice, "orders", digest(cert))
	wantError(t, err, registry.ErrNotFound, "has no certificate")
	w.ok(w.ClearCertificates(t.Context(), alice, "orders"))
	if tls := must(w.Certificates(t.Context(), "orders"))(t); tls != nil {
		t.Errorf("cleared, and there is %+v", tls)
	}
	w.ok(w.ClearCertificates(t.Context(), alice, "orders"))
	if line := w.audit.last(t); line["op"] != "certificate clear" || line["outcome"] != "unchanged" {
		t.Errorf("audit line %v", line)
	}
}

func TestAClientHasSixteenCertificatesAtMost(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	certs := w.certificates(events.MaxSecrets + 1)
	for _, cert := range certs[1:] {
		w.ok(w.AddCertificate(t.Context(), alice, "orders", cert))
	}
	_, err := w.AddCertificate(t.Context(), alice, "orders", certs[0])
	wantError(t, err, registry.ErrTooManySecrets, "client orders has 16 certificates already")
}

func TestCertificatesAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, name := range []events.Name{"orders", "off", "garbage"} {
		w.client(name)
	}
	good := w.certificates(1)[0]
	w.ok(w.AddCertificate(t.Context(), alice, "off", good))
	w.ok(w.DisableClient(t.Context(), alice, "off"))
	w.server.Write(bus.Clients, "garbage", "not json")
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	ended, _ := certificate(t, w.clock.Now())
	for _, c := range []struct {
		name   string
		client events.Name
		cert   *x509.Certificate
		kind   error
		want   string
	}{
		{"an unknown client", "nobody", good, registry.ErrNotFound, "nobody"},
		{"an external issuer", "github", good, registry.ErrNotFound, "type external, not client"},
		{"the platform", events.Platform, good, registry.ErrNotFound, "type platform, not client"},
		{"a disabled client", "off", w.certificates(1)[0], registry.ErrDisabled, "enable it first"},
		{"a malformed record", "garbage", good, registry.ErrInvalid, "nats kv history CLIENTS garbage"},
		{"a name that is none", "a.b", good, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
		{"a certificate that has expired", "orders", ended, registry.ErrInvalid, "has expired at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.AddCertificate(t.Context(), alice, c.client, c.cert)
			wantError(t, err, c.kind, c.want)
			if line := w.audit.last(t); line["outcome"] != "refused" {
				t.Errorf("audit line %v", line)
			}
			if c.cert == good {
				_, err := w.SetCertificateSubject(t.Context(), alice, c.client, events.TLS{DNS: "a"})
				wantError(t, err, c.kind, c.want)
				_, err = w.ClearCertificates(t.Context(), alice, c.client)
				wantError(t, err, c.kind, c.want)
				_, err = w.Certificates(t.Context(), c.client)
				wantError(t, err, c.kind, c.want)
			}
		})
	}
	for name, subject := range map[string]events.TLS{
		"none": {}, "an address that is none": {IP: "10.0.0"}, "a line break": {DNS: "a\nb"}, "a text without end": {URI: strings.Repeat("a", events.MaxURI+1)},
		"two": {DNS: "a", URI: "spiffe://a"}, "certificates": {Certificates: [][sha256.Size]byte{digest(good)}},
		"a subject and certificates": {DNS: "a", Certificates: [][sha256.Size]byte{digest(good)}},
	} {
		_, err := w.SetCertificateSubject(t.Context(), alice, "orders", subject)
		if !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if line := fmt.Sprint(w.audit.last(t)["subject"]); strings.Contains(line, "\n") || len(line) > 2*events.MaxURI {
			t.Errorf("%s: audit line has the subject %.100q", name, line)
		}
	}
	if _, err := w.RemoveCertificate(t.Context(), alice, "off", digest(good)); err != nil {
		t.Errorf("a certificate of a disabled client cannot be removed: %v", err)
	}
}

func TestAnUnknownOutcomeSaysWhereToLook(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	other := w.join(func(store registry.Store) registry.Store {
		return &faultyStore{Store: store, fault: func(bucket bus.Bucket, _ string) (bool, error) { return true, bus.ErrUnknownOutcome }}
	})
	cert := w.certificates(1)[0]
	_, err := other.AddCertificate(t.Context(), alice, "orders", cert)
	wantError(t, err, bus.ErrUnknownOutcome, "see cert list")
	if line := other.audit.last(t); line["outcome"] != "unknown" {
		t.Errorf("audit line %v", line)
	}
	w.ok(w.AddCertificate(t.Context(), alice, "orders", cert)) // it may be repeated
	if tls := must(w.Certificates(t.Context(), "orders"))(t); len(tls.Certificates) != 1 {
		t.Errorf("the certificates are %+v", tls)
	}
}

func TestParseCertificate(t *testing.T) {
	cert, key := certificate(t, time.Now())
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	der, _ := pem.Decode(key)
	space := must(x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed([]byte("a seed that ends with a newline\n"))))(t)
	for name, data := range map[string][]byte{"PEM": text, "PEM with a text before it": append([]byte("Certificate:\n    Data:\n"), text...)} {
		got, err := registry.ParseCertificate(data)
		if err != nil || digest(got) != digest(cert) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		data []byte
		kind error
		want string
	}{
		"a private key":                        {key, registry.ErrPrivateKey, "private key"},
		"a private key behind the certificate": {slices.Concat(text, key), registry.ErrPrivateKey, "make a new pair"},
		"a private key before the certificate": {slices.Concat(key, text), registry.ErrPrivateKey, "private key"},
		"a private key as DER":                 {der.Bytes, registry.ErrPrivateKey, "private key"},
		"one that ends like a line":            {space, registry.ErrPrivateKey, "private key"},
		"two certificates":                     {slices.Concat(text, text), registry.ErrInvalid, "without a chain"},
		"DER":                                  {cert.Raw, registry.ErrInvalid, "openssl x509 -inform der"},
		"nothing":                              {nil, registry.ErrInvalid, "no PEM block"},
		"a request":                            {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: cert.Raw}), registry.ErrInvalid, "not a CERTIFICATE"},
		"garbage":                              {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw[1:]}), registry.ErrInvalid, "read certificate"},
		"too much":                             {slices.Concat(text, make([]byte, events.MaxValue), text), registry.ErrInvalid, "more than a certificate has"},
	} {
		_, err := registry.ParseCertificate(c.data)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantError(t, err, c.kind, c.want)
	}
}

func FuzzParseCertificate(f *testing.F) {
	cert, key := certificate(f, time.Now())
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	for _, seed := range [][]byte{text, key, slices.Concat(text, key), cert.Raw, nil, []byte("-----BEGIN CERTIFICATE-----")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cert, err := registry.ParseCertificate(data)
		if (cert == nil) == (err == nil) {
			t.Errorf("certificate %v and error %v", cert, err)
		}
		if err != nil && !errors.Is(err, registry.ErrInvalid) && !errors.Is(err, registry.ErrPrivateKey) {
			t.Errorf("error %v", err)
		}
	})
}
