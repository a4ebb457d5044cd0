package events

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"net"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

const thumbprint = `"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg0"`

func TestClientCertificates(t *testing.T) {
	for _, record := range []string{
		`{"tls":{"x5t#S256":[` + thumbprint + `]}}`,
		`{"tls":{"san_dns":"orders.example.com"}}`, `{"tls":{"san_uri":"spiffe://acme/orders"}}`, `{"tls":{"san_ip":"2001:db8::1"}}`,
		`{"tls":{"san_email":"orders@example.com"}}`, `{"tls":{"subject_dn":"CN=orders,O=Acme"}}`, `{"tls":{"san_dns":"a","label":{"b":[1]}}}`,
	} {
		c, err := ParseClient([]byte(record))
		if err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		out, err := c.Encode()
		if err != nil {
			t.Errorf("%s: %v", record, err)
			continue
		}
		if back, err := ParseClient(out); err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s reads back from %s (%v)", record, out, err)
		}
	}
	for _, c := range []struct{ name, tls, want string }{
		{"a list", `[]`, "not an object"},
		{"nothing", `{}`, "exactly one"},
		{"two ways", `{"san_dns":"a","san_uri":"spiffe://a"}`, "exactly one"},
		{"a subject and a certificate", `{"san_dns":"a","x5t#S256":[` + thumbprint + `]}`, "exactly one"},
		{"no certificates", `{"x5t#S256":[]}`, "exactly one"},
		{"a certificate that is no list", `{"x5t#S256":` + thumbprint + `}`, "not an array"},
		{"a certificate twice", `{"x5t#S256":[` + thumbprint + `,` + thumbprint + `]}`, "twice"},
		{"17 certificates", `{"x5t#S256":[` + strings.Repeat(thumbprint+",", 16) + thumbprint + `]}`, "more than 16"},
		{"a digest of hexadecimal digits", `{"x5t#S256":["` + strings.Repeat("ab", 32) + `"]}`, "43 characters"},
		{"a padded digest", `{"x5t#S256":[` + thumbprint[:len(thumbprint)-1] + `="]}`, "43 characters"},
		{"a number", `{"san_dns":1}`, "not a string"},
		{"a control character", `{"san_dns":"a\n"}`, "san_dns is not text"},
		{"an address that is none", `{"san_ip":"10.0.0"}`, "canonical"},
		{"an address in another form", `{"san_ip":"2001:DB8::1"}`, "canonical"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			_, err := ParseClient([]byte(`{"tls":` + c.tls + `}`))
			checkRefused(t, err, c.want)
		})
	}
}

func TestTheSubjectIsTheMemberThatIsSet(t *testing.T) {
	for member, tls := range map[string]TLS{
		"san_dns": {DNS: "a"}, "san_uri": {URI: "a"}, "san_ip": {IP: "a"}, "san_email": {Email: "a"}, "subject_dn": {SubjectDN: "a"},
	} {
		if got, value := tls.Subject(); got != member || value != "a" {
			t.Errorf("%s %q, want %s", got, value, member)
		}
	}
	for _, tls := range []TLS{{}, {Certificates: make([][32]byte, 1)}} {
		if member, value := tls.Subject(); member != "" || value != "" {
			t.Errorf("%+v has the subject %s %q", tls, member, value)
		}
	}
}

func TestACertificateMatchesByTheOneThingThatIsRegistered(t *testing.T) {
	uri, err := url.Parse("spiffe://acme/orders")
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		Raw: []byte("der"), RawSubject: rawSubject(t, "O=Acme", "CN=orders"), DNSNames: []string{"other.example", "orders.example"},
		URIs: []*url.URL{uri}, IPAddresses: []net.IP{net.ParseIP("10.0.0.1")}, EmailAddresses: []string{"orders@example.com"},
	}
	for _, c := range []struct {
		tls  *TLS
		want bool
	}{
		{nil, false}, {&TLS{}, false},
		{&TLS{Certificates: [][sha256.Size]byte{sha256.Sum256([]byte("other")), sha256.Sum256([]byte("der"))}}, true},
		{&TLS{Certificates: [][sha256.Size]byte{sha256.Sum256([]byte("other"))}}, false},
		{&TLS{SubjectDN: "CN=orders,O=Acme"}, true}, {&TLS{SubjectDN: "CN=orders"}, false},
		{&TLS{DNS: "orders.example"}, true}, {&TLS{DNS: "*.example"}, false}, {&TLS{DNS: "orders"}, false},
		{&TLS{URI: "spiffe://acme/orders"}, true}, {&TLS{URI: "spiffe://acme/order"}, false},
		{&TLS{IP: "10.0.0.1"}, true}, {&TLS{IP: "10.0.0.2"}, false},
		{&TLS{Email: "orders@example.com"}, true}, {&TLS{Email: "Orders@example.com"}, false},
	} {
		if got := c.tls.Matches(cert); got != c.want {
			t.Errorf("%+v matches: %v", c.tls, got)
		}
	}
	if (&TLS{DNS: "a"}).Matches(nil) || (&TLS{URI: "spiffe://a"}).Matches(&x509.Certificate{}) {
		t.Error("nothing matches")
	}
	if sum := sha256.Sum256(nil); len(base64.RawURLEncoding.EncodeToString(sum[:])) != 43 {
		t.Error("the length that the error names is wrong")
	}
}

// rawSubject is the DER of a name of one value each, in this order.
func rawSubject(t *testing.T, parts ...string) []byte {
	t.Helper()
	oids := map[string]asn1.ObjectIdentifier{"CN": {2, 5, 4, 3}, "O": {2, 5, 4, 10}}
	var name pkix.RDNSequence
	for _, part := range parts {
		var set pkix.RelativeDistinguishedNameSET
		for value := range strings.SplitSeq(part, "+") {
			attribute, text, _ := strings.Cut(value, "=")
			set = append(set, pkix.AttributeTypeAndValue{Type: oids[attribute], Value: text})
		}
		name = append(name, set)
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestASubjectIsComparedAsItStandsInTheCertificate(t *testing.T) {
	registered := &TLS{SubjectDN: "CN=orders,O=Acme"}
	if !registered.Matches(&x509.Certificate{RawSubject: rawSubject(t, "O=Acme", "CN=orders")}) {
		t.Error("its own subject does not match")
	}
	for name, der := range map[string][]byte{
		"two common names": rawSubject(t, "O=Acme", "CN=evil", "CN=orders"), "another order": rawSubject(t, "CN=orders", "O=Acme"),
		"parts of one": rawSubject(t, "O=Acme+CN=orders"), "nothing": nil, "more behind": append(rawSubject(t, "O=Acme", "CN=orders"), 0),
	} {
		cert := &x509.Certificate{RawSubject: der, Subject: pkix.Name{CommonName: "orders", Organization: []string{"Acme"}}}
		if registered.Matches(cert) {
			t.Errorf("%s matches", name)
		}
	}
}
