package peer

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// seen is what a handler behind the proxies gets to know.
type seen struct {
	address string
	header  http.Header
	certs   []*x509.Certificate
	err     error
}

// send sends a request from an address with headers, in pairs.
func send(t *testing.T, cfg Config, from string, own *tls.ConnectionState, headers ...string) seen {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr, r.TLS = from, own
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	var got seen
	p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.address, got.header = r.RemoteAddr, r.Header
		got.certs, got.err = Certificates(r)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return got
}

func TestTheSenderIsTheLastAddressThatIsNoProxy(t *testing.T) {
	cfg := Config{Proxies: prefixes("10.0.0.0/28", "2001:db8::/64", "::ffff:172.16.0.1/128")}
	for _, test := range []struct {
		name, from string
		said       []string
		want       string
	}{
		{"no proxy", "192.0.2.7:1234", nil, "192.0.2.7:1234"},
		{"no proxy, which says that it is one", "192.0.2.7:1234", []string{"198.51.100.1"}, "192.0.2.7:1234"},
		{"no proxy, just beside them", "10.0.0.16:1234", []string{"198.51.100.1"}, "10.0.0.16:1234"},
		{"a proxy", "10.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"a proxy that speaks for itself", "10.0.0.1:1234", nil, "10.0.0.1:0"},
		{"what the client says itself", "10.0.0.1:1234", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1:0"},
		{"what the client says itself, in a header of its own", "10.0.0.1:1234", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1:0"},
		{"what the client says to be a proxy", "10.0.0.1:1234", []string{"203.0.113.9, 10.0.0.3, 198.51.100.1"}, "198.51.100.1:0"},
		{"two proxies", "10.0.0.1:1234", []string{"203.0.113.9,198.51.100.1,10.0.0.2"}, "198.51.100.1:0"},
		{"two proxies, a header each", "10.0.0.1:1234", []string{"203.0.113.9", "198.51.100.1", "10.0.0.2"}, "198.51.100.1:0"},
		{"only proxies", "10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"IPv6", "[2001:db8::1]:1234", []string{"2001:db9::7"}, "[2001:db9::7]:0"},
		{"with ports", "10.0.0.1:1234", []string{"[2001:db9::7]:80, 10.0.0.2:443"}, "[2001:db9::7]:0"},
		{"in brackets", "10.0.0.1:1234", []string{"[2001:db9::7]"}, "[2001:db9::7]:0"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1234", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"IPv4 in IPv6, as it is listed", "172.16.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"a zone", "[fe80::1%eth0]:1234", []string{"198.51.100.1"}, "[fe80::1%eth0]:1234"},
		{"what is no address", "10.0.0.1:1234", []string{"198.51.100.1, unknown"}, "10.0.0.1:0"},
		{"what is no address behind a proxy", "10.0.0.1:1234", []string{"198.51.100.1, unknown, 10.0.0.2"}, "10.0.0.2:0"},
		{"nothing", "10.0.0.1:1234", []string{""}, "10.0.0.1:0"},
		{"nothing behind a comma", "10.0.0.1:1234", []string{"198.51.100.1,"}, "10.0.0.1:0"},
		{"a socket", "@", []string{"198.51.100.1"}, "@"},
	} {
		var headers []string
		for _, value := range test.said {
			headers = append(headers, "X-Forwarded-For", value)
		}
		got := send(t, cfg, test.from, nil, headers...)
		if got.address != test.want {
			t.Errorf("%s: %s, want %s", test.name, got.address, test.want)
		}
		if len(got.header) > 0 {
			t.Errorf("%s: headers %v are still there", test.name, got.header)
		}
	}
}

func TestProxiesThatCannotBeMeantAreRefused(t *testing.T) {
	for name, cfg := range map[string]Config{
		"none":                    {},
		"everybody":               {Proxies: prefixes("10.0.0.0/8", "0.0.0.0/0")},
		"everybody in IPv6":       {Proxies: prefixes("::/0")},
		"everybody, IPv4 in IPv6": {Proxies: prefixes("::ffff:0.0.0.0/96")},
		"an empty prefix":         {Proxies: make([]netip.Prefix, 1)},
		"a header with a colon":   {Proxies: prefixes("10.0.0.0/8"), CertificateHeader: "Client-Cert:"},
		"the header of addresses": {Proxies: prefixes("10.0.0.0/8"), CertificateHeader: "x-forwarded-for"},
		"the header of API keys":  {Proxies: prefixes("10.0.0.0/8"), CertificateHeader: "authorization"},
	} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "proxies: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
