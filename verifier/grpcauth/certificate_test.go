package grpcauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/keyherald/keyherald/verifier/verifiertest"
)

// certificate makes a certificate that has signed itself, for 127.0.0.1.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestV19_ABoundTokenIsAcceptedOnlyOnTheConnectionOfItsCertificate(t *testing.T) {
	server, own, other := certificate(t), certificate(t), certificate(t)
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	for _, test := range []struct {
		name  string
		tls   bool
		shown []tls.Certificate
		bound codes.Code // the answer to a token that is bound to own
	}{
		{"on its connection", true, []tls.Certificate{own}, codes.OK},
		{"on the connection of another certificate", true, []tls.Certificate{other}, codes.Unauthenticated},
		{"with its certificate behind another", true,
			[]tls.Certificate{{Certificate: [][]byte{other.Certificate[0], own.Certificate[0]}, PrivateKey: other.PrivateKey}}, codes.Unauthenticated},
		{"without a certificate", true, nil, codes.Unauthenticated},
		{"without TLS", false, nil, codes.Unauthenticated},
	} {
		t.Run(test.name, func(t *testing.T) {
			var serverConfig, clientConfig *tls.Config
			if test.tls {
				serverConfig = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert}
				clientConfig = &tls.Config{RootCAs: roots, Certificates: test.shown}
			}
			w := newWorldTLS(t, serverConfig, clientConfig)
			hasCode(t, w.call(withToken(t, w.billing.Token(verifiertest.BoundTo(own.Leaf)))), test.bound)
			hasCode(t, w.call(withToken(t, w.billing.Token())), codes.OK)
		})
	}
}
