package peer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"testing"
)

func certificate(t testing.TB) *x509.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
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

func asPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func byteSequence(cert *x509.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(cert.Raw) + ":"
}

// nginxEscape encodes as nginx does: all but the unreserved characters.
func nginxEscape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

const proxy, stranger = "10.0.0.1:1234", "192.0.2.7:1234"

func config() Config {
	return Config{Proxies: prefixes("10.0.0.0/28"), CertificateHeader: "x-client-cert"}
}

func TestI14_ACertificateIsTakenFromAHeaderOfAProxyOnly(t *testing.T) {
	cert := certificate(t)
	for form, value := range map[string]string{
		"RFC 9440": byteSequence(cert), "RFC 9440 with spaces around it": "  " + byteSequence(cert) + " ", "PEM": nginxEscape(asPEM(cert)),
		"PEM without a line break at its end": nginxEscape(strings.TrimSpace(asPEM(cert))),
		// What a library for URLs leaves as it is: in base64 a plus is a plus.
		"PEM that is escaped as little as possible": strings.ReplaceAll(strings.ReplaceAll(asPEM(cert), " ", "%20"), "\n", "%0A"),
	} {
		got := send(t, config(), proxy, nil, "X-Client-Cert", value)
		if got.err != nil || len(got.certs) != 1 || !bytes.Equal(got.certs[0].Raw, cert.Raw) {
			t.Errorf("%s: %d certificates, error %v", form, len(got.certs), got.err)
		}
		got = send(t, config(), stranger, nil, "X-Client-Cert", value)
		if got.err != nil || len(got.certs) != 0 {
			t.Errorf("%s from a stranger: %d certificates, error %v", form, len(got.certs), got.err)
		}
		for _, header := range []string{"Client-Cert", "X_Client_Cert", "X-Client-Cert-Chain"} {
			if got := send(t, config(), proxy, nil, header, value); got.err != nil || len(got.certs) != 0 {
				t.Errorf("%s in %s: %d certificates, error %v", form, header, len(got.certs), got.err)
			}
		}
	}
}

func TestI14_TheHeaderDoesNotGoOn(t *testing.T) {
	value := byteSequence(certificate(t))
	for _, from := range []string{proxy, stranger} {
		if got := send(t, config(), from, nil, "x-client-cert", value, "X-Client-Cert", "x"); len(got.header) > 0 {
			t.Errorf("from %s: headers %v", from, got.header)
		}
	}
}

func TestI14_AHeaderThatCannotBeReadIsAnError(t *testing.T) {
	cert := certificate(t)
	good, text := byteSequence(cert), asPEM(cert)
	for name, values := range map[string][]string{
		"two headers":                  {good, good},
		"two headers, one empty":       {"", good},
		"a list":                       {good + ", " + good},
		"a parameter":                  {good + ";a=1"},
		"no colon at the end":          {good[:len(good)-1]},
		"a colon":                      {":"},
		"two colons":                   {"::"},
		"URL-safe base64":              {":" + base64.URLEncoding.EncodeToString(append([]byte{0xff, 0xff}, cert.Raw...)) + ":"},
		"no padding":                   {":" + base64.RawStdEncoding.EncodeToString(append(cert.Raw, make([]byte, 1+(3-len(cert.Raw)%3)%3)...)) + ":"},
		"base64 of something":          {":AAAA:"},
		"a certificate and more":       {":" + base64.StdEncoding.EncodeToString(append(bytes.Clone(cert.Raw), 0)) + ":"},
		"two blocks of PEM":            {nginxEscape(text + text)},
		"PEM and more":                 {nginxEscape(text + "x")},
		"PEM with something before it": {nginxEscape("x\n" + text)},
		"PEM with headers":             {nginxEscape(strings.Replace(text, "-----\n", "-----\nA: b\n\n", 1))},
		"PEM of something else":        {nginxEscape(strings.ReplaceAll(text, "CERTIFICATE", "PUBLIC KEY"))},
		"PEM of nothing":               {nginxEscape("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")},
		"half of it":                   {nginxEscape(text[:len(text)/2])},
		"a wrong escape":               {nginxEscape(text) + "%zz"},
		"a digest":                     {"SHA1=0123456789"},
		"too much":                     {":" + strings.Repeat("A", maxHeader) + ":"},
	} {
		var headers []string
		for _, value := range values {
			headers = append(headers, "X-Client-Cert", value)
		}
		got := send(t, config(), proxy, nil, headers...)
		want := errHeader
		if len(values) > 1 {
			want = errTwoHeaders
		}
		if !errors.Is(got.err, want) || got.certs != nil {
			t.Errorf("%s: %d certificates, error %v, want %v", name, len(got.certs), got.err, want)
		}
		if got := send(t, config(), stranger, nil, headers...); got.err != nil || got.certs != nil {
			t.Errorf("%s from a stranger: %d certificates, error %v", name, len(got.certs), got.err)
		}
	}
	for _, text := range []string{errHeader.Error(), errTwoHeaders.Error()} {
		if strings.ContainsAny(text, `"\`) { // RFC 6749 §5.2: they get into an error_description
			t.Errorf("%s has a character that it must not have", text)
		}
	}
}

// A proxy may authenticate to us with a certificate of its own: it is never that of a client.
func TestI14_TheProxysOwnCertificateIsNobodyElses(t *testing.T) {
	own := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate(t)}}
	addressesOnly := Config{Proxies: config().Proxies}
	for name, got := range map[string]seen{
		"no header":      send(t, config(), proxy, own),
		"an empty one":   send(t, config(), proxy, own, "X-Client-Cert", ""),
		"not configured": send(t, addressesOnly, proxy, own, "Client-Cert", byteSequence(certificate(t))),
	} {
		if got.err != nil || len(got.certs) != 0 {
			t.Errorf("%s: %d certificates, error %v", name, len(got.certs), got.err)
		}
	}
	if got := send(t, config(), stranger, own, "X-Client-Cert", byteSequence(certificate(t))); got.err != nil || len(got.certs) != 1 || got.certs[0] != own.PeerCertificates[0] {
		t.Errorf("a client that connects itself: %d certificates, error %v", len(got.certs), got.err)
	}
}

func FuzzCertificateHeader(f *testing.F) {
	cert := certificate(f)
	for _, seed := range []string{byteSequence(cert), nginxEscape(asPEM(cert)), "", ":", "::", ":AAAA:", "%", "-----BEGIN%20CERTIFICATE-----"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		certs, err := forwarded{value}.certificates()
		if err != nil {
			if len(certs) > 0 || !errors.Is(err, errHeader) {
				t.Errorf("%d certificates, error %v", len(certs), err)
			}
			return
		}
		if len(certs) == 0 {
			if strings.TrimSpace(value) != "" {
				t.Error("something was read as nothing")
			}
			return
		}
		for _, form := range []string{byteSequence(certs[0]), nginxEscape(asPEM(certs[0]))} {
			again, err := forwarded{form}.certificates()
			if len(form) <= maxHeader && (err != nil || !bytes.Equal(again[0].Raw, certs[0].Raw)) {
				t.Errorf("does not read back: %v", err)
			}
		}
	})
}

func FuzzSender(f *testing.F) {
	for _, seed := range []string{"198.51.100.1", "203.0.113.9, 10.0.0.2", "[2001:db8::1]:80,", ",", "unknown"} {
		f.Add(seed)
	}
	p, err := New(config())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		from := p.prefixes[0].Addr()
		got := p.sender(from, []string{value})
		if !got.IsValid() {
			t.Fatal("no address")
		}
		// What is written before the last address that is no proxy makes no difference.
		if forged := p.sender(from, []string{"203.0.113.9," + value}); forged != got && !p.trusts(got) {
			t.Errorf("%s, and with something before it %s", got, forged)
		}
	})
}
