package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
)

// requestCredential is how a client proves itself to the token service, in one of the ways that there are.
type requestCredential struct {
	credential
	SecretFile    string      `help:"File with the API key, as printed by secret add, to use instead of an access key." placeholder:"FILE" type:"path"`
	AssertionFile string      `help:"File with a token of the client from a third party, such as a Kubernetes service account's, to use instead; needs --client." placeholder:"FILE" type:"path"`
	TLSCert       string      `name:"tls-cert" help:"File with the client's certificate, PEM, to use instead; needs --tls-key and --client." placeholder:"FILE" type:"path" env:"-"`
	TLSKey        string      `name:"tls-key" help:"File with the private key of --tls-cert, PEM." placeholder:"FILE" type:"path" env:"-"`
	TLSCA         string      `name:"tls-ca" help:"File with the certificates, PEM, that the token service's must be signed by. Default: those of the system." placeholder:"FILE" type:"path"`
	Client        events.Name `help:"Name of the client, for --assertion-file and --tls-cert; keys have it in them." placeholder:"NAME"`
}

// maxCAFile is far more than all that a system trusts, in bytes.
const maxCAFile = 4 << 20

// proof returns the one credential that was given.
func (c *requestCredential) proof(issuer string) (mint.Credential, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	switch {
	case c.AssertionFile != "":
		return mint.FederatedFile(c.Client, c.AssertionFile), nil
	case c.TLSCert != "":
		return mint.Certificate(c.Client), nil
	case c.SecretFile != "":
		key, err := c.apiKey()
		if err != nil {
			return nil, err
		}
		return mint.APIKey(key), nil
	}
	key, err := c.accessKey()
	if err != nil {
		return nil, err
	}
	return mint.FromAccessKey(key, issuer)
}

// check checks the flags that depend on each other.
func (c *requestCredential) check() error {
	var given []string
	for _, way := range []struct{ flag, value string }{
		{"--key-file", c.KeyFile}, {"--secret-file", c.SecretFile}, {"--assertion-file", c.AssertionFile}, {"--tls-cert", c.TLSCert},
	} {
		if way.value != "" {
			given = append(given, way.flag)
		}
	}
	named := c.AssertionFile != "" || c.TLSCert != ""
	switch {
	case len(given) > 1:
		return usage("%s are given: use one", strings.Join(given, " and "))
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return usage("--tls-cert and --tls-key go together: the certificate and its private key")
	case named && c.Client == "":
		return usage("%s does not say which client it is for: give its name with --client", given[0])
	case !named && c.Client != "":
		return usage("--client goes with --assertion-file or --tls-cert: an access key and an API key have the name in them")
	}
	return nil
}

func (c *requestCredential) apiKey() (events.APIKey, error) {
	text, err := readSecret(c.SecretFile)
	if err != nil {
		return events.APIKey{}, fmt.Errorf("reading the API key: %w", err)
	}
	key, err := events.ParseAPIKey(text)
	if err != nil {
		return events.APIKey{}, fmt.Errorf("file %s: %w", c.SecretFile, err)
	}
	return key, nil
}

// httpClient returns what connects to the token service. Its time is the command's.
func (c *requestCredential) httpClient() (*http.Client, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		text, err := readFile(c.TLSCA, maxCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the certificates of --tls-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(text)) {
			return nil, fmt.Errorf("file %s: no certificate in PEM form", c.TLSCA)
		}
	}
	if c.TLSCert != "" {
		own, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate (%s) and its private key (%s): %w", c.TLSCert, c.TLSKey, err)
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the default HTTP transport was replaced")
	}
	transport = transport.Clone()
	transport.TLSClientConfig = cfg
	return &http.Client{Transport: transport}, nil
}
