package clientauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newECKey(t)}
	a.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, a.key)
	return a
}

// under returns an authority that a has signed.
func (a *authority) under(name string, notAfter time.Time) *authority {
	a.t.Helper()
	sub := &authority{t: a.t, key: newECKey(a.t)}
	sub.cert = a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: notAfter}, a.cert, sub.key)
	return sub
}

// issue signs a certificate for a client with a key of its own. Unless the template says otherwise it is good for an hour, from a minute ago.
func (a *authority) issue(template *x509.Certificate) *x509.Certificate {
	a.t.Helper()
	return a.sign(template, a.cert, newECKey(a.t))
}

// sign makes a certificate for key; without a parent it is signed by itself.
func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Minute)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// selfSigned makes a certificate that nobody vouches for.
func selfSigned(t testing.TB, template *x509.Certificate) *x509.Certificate {
	t.Helper()
	return (&authority{t: t}).sign(template, nil, newECKey(t))
}

// pinned registers certificates by their digests.
func pinned(certs ...*x509.Certificate) events.Client {
	tls := new(events.TLS)
	for _, cert := range certs {
		tls.Certificates = append(tls.Certificates, sha256.Sum256(cert.Raw))
	}
	return events.Client{TLS: tls}
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
