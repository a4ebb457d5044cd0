package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// authority signs the certificates of this cluster and of nobody else.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"

	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	skew          = time.Hour // clocks of the same people differ by less
)

// openAuthority reads the authority of an earlier start, or makes one. It is in one file, so that it is there whole or not at all.
func openAuthority(dir string) (*authority, error) {
	file := filepath.Join(dir, "authority.pem")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = newAuthority(); err == nil {
			err = create(file, text)
		}
	}
	if err != nil {
		return nil, err
	}
	cert, rest := pem.Decode(text)
	key, _ := pem.Decode(rest)
	if cert == nil || key == nil {
		return nil, fmt.Errorf("file %s has not a certificate and a private key", file)
	}
	a := &authority{}
	if a.cert, err = x509.ParseCertificate(cert.Bytes); err != nil {
		return nil, fmt.Errorf("file %s: %w", file, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	if err != nil {
		return nil, fmt.Errorf("file %s: reading the private key: %w", file, err)
	}
	var ok bool
	if a.key, ok = parsed.(crypto.Signer); !ok {
		return nil, fmt.Errorf("file %s: the private key cannot sign", file)
	}
	return a, nil
}

func newAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "keyherald on this machine"}, NotBefore: time.Now().Add(-skew), NotAfter: time.Now().Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(encode(blockCertificate, cert), encode(blockKey, private)...), nil
}

// sign returns a new certificate for the hosts, and its private key. A NATS server shows it to those who connect, and to the servers that it
// connects to.
func (a *authority) sign(hosts []string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts, NotBefore: time.Now().Add(-skew), NotAfter: time.Now().Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return encode(blockCertificate, signed), encode(blockKey, bytes), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
