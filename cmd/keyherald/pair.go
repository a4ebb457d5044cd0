package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// readPair reads a server's certificate with its private key. One that every client refuses, by its dates, is an error: at the start, an
// operator is there to read why; later, what was served before is no worse.
func readPair(cert, key string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	// The errors are the same at each look, without the time that x509 has in its own: they are logged once.
	switch now, leaf := time.Now(), pair.Leaf; {
	case now.Before(leaf.NotBefore):
		return nil, &hinted{fmt.Errorf("the certificate in file %s is valid from %s on, and until then no client accepts it", cert, day(leaf.NotBefore.Unix())),
			"is this machine's clock right? If it is, wait, or give a certificate that is valid now"}
	case now.After(leaf.NotAfter):
		return nil, &hinted{fmt.Errorf("the certificate in file %s has expired on %s, and no client accepts it", cert, day(leaf.NotAfter.Unix())),
			"renew it, and put the new one with its private key in place"}
	}
	return &pair, nil
}

// checkChain checks that clients who trust only the authorities of a file accept the certificate of another file.
func checkChain(pair *tls.Certificate, cert string, roots *x509.CertPool, authorities string) error {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil { // as clients do, who make do with those that they can read
			between.AddCert(c)
		}
	}
	_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}) // for servers: by which name is for the client to say
	if err == nil {
		return nil
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired { // an authority: the certificate's own dates were checked
		err = fmt.Errorf("that of its authority %q is valid from %s to %s", invalid.Cert.Subject,
			day(invalid.Cert.NotBefore.Unix()), day(invalid.Cert.NotAfter.Unix()))
	}
	return &hinted{fmt.Errorf("no client that trusts the authorities in file %s accepts the certificate in file %s: %w", authorities, cert, err),
		"give a certificate that one of them has signed, with the certificates between the two in the same file, or the right authorities with --nats-tls-ca"}
}
