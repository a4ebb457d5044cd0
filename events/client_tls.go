package events

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/keyherald/keyherald/events/strictjson"
)

// TLS says with which certificates a client may authenticate (RFC 8705 §2): with one of those in Certificates, or with any of an accepted
// authority that has the one subject which is set. Exactly one field is.
type TLS struct {
	// Certificates is x5t#S256: the SHA-256 of the DER of each certificate.
	Certificates [][sha256.Size]byte
	// The rest is a subject, as RFC 8705 §2.1.2 has it.
	SubjectDN string // subject_dn, a text as RFC 4514 has it
	DNS       string // san_dns
	URI       string // san_uri
	IP        string // san_ip, in its canonical text form
	Email     string // san_email
	Extra     Extra
}

// subjects lists the members of a subject.
func (t *TLS) subjects() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{"subject_dn", &t.SubjectDN}, {"san_dns", &t.DNS}, {"san_uri", &t.URI}, {"san_ip", &t.IP}, {"san_email", &t.Email},
	}
}

// Subject returns the member that is set to a subject, such as san_dns, and its value; both are empty if there is none.
func (t *TLS) Subject() (member, value string) {
	for _, s := range t.subjects() {
		if *s.value != "" {
			return s.name, *s.value
		}
	}
	return "", ""
}

func parseTLS(data []byte) (*TLS, error) {
	var m members
	t := new(TLS)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		if string(name) == "x5t#S256" {
			return true, strictjson.Elements(value, MaxSecrets, func(element []byte) error {
				sum, err := certificateDigest(element)
				t.Certificates = append(t.Certificates, sum)
				return err
			})
		}
		for _, s := range t.subjects() {
			if s.name == string(name) {
				*s.value, err = strictjson.String(value)
				return true, err
			}
		}
		return false, nil
	})
	t.Extra = m.extra
	return t, err
}

func certificateDigest(value []byte) (sum [sha256.Size]byte, err error) {
	text, err := strictjson.String(value)
	if err != nil {
		return sum, err
	}
	raw, err := decodeBase64(text)
	if err != nil || len(raw) != sha256.Size {
		return sum, errors.New("not the base64url of a SHA-256: 43 characters")
	}
	return [sha256.Size]byte(raw), nil
}

func (t *TLS) validate() error {
	if t == nil {
		return nil
	}
	set := 0
	if len(t.Certificates) > 0 {
		set++
	}
	if len(t.Certificates) > MaxSecrets {
		return fmt.Errorf("more than %d certificates", MaxSecrets)
	}
	for i, sum := range t.Certificates {
		if slices.Contains(t.Certificates[:i], sum) {
			return errors.New("a certificate is there twice")
		}
	}
	for _, s := range t.subjects() {
		if *s.value == "" {
			continue
		}
		set++
		if len(*s.value) > MaxURI || !isText(*s.value) {
			return fmt.Errorf("%s is not text of 1 to %d bytes without control characters", s.name, MaxURI)
		}
	}
	if set != 1 {
		return errors.New("it must have exactly one of x5t#S256, subject_dn, san_dns, san_uri, san_ip and san_email")
	}
	if t.IP != "" {
		if ip, err := netip.ParseAddr(t.IP); err != nil || ip.String() != t.IP || ip.Zone() != "" {
			return fmt.Errorf("san_ip %s is not an IP address in its canonical form", quote(t.IP))
		}
	}
	return nil
}

func (t *TLS) encode() []byte {
	var b builder
	elements(&b, "x5t#S256", t.Certificates, func(sum [sha256.Size]byte) []byte {
		return []byte(`"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`)
	})
	for _, s := range t.subjects() {
		b.str(s.name, *s.value)
	}
	b.extra(t.Extra)
	return b.object()
}

// Matches reports whether a certificate is one that the record names. For one that is named by its subject the caller must have checked
// that an accepted authority has signed it, and that it is within its time; for one that is named by its digest nobody need have signed
// it (RFC 8705 §2.2).
func (t *TLS) Matches(cert *x509.Certificate) bool {
	switch {
	case t == nil || cert == nil:
		return false
	case len(t.Certificates) > 0:
		return slices.Contains(t.Certificates, sha256.Sum256(cert.Raw))
	case t.SubjectDN != "":
		return subjectOf(cert) == t.SubjectDN
	case t.DNS != "":
		return slices.Contains(cert.DNSNames, t.DNS)
	case t.IP != "":
		ip, err := netip.ParseAddr(t.IP)
		return err == nil && slices.ContainsFunc(cert.IPAddresses, func(have net.IP) bool { return have.Equal(ip.AsSlice()) })
	case t.Email != "":
		return slices.Contains(cert.EmailAddresses, t.Email)
	}
	for _, uri := range cert.URIs {
		if t.URI != "" && uri.String() == t.URI {
			return true
		}
	}
	return false
}

// subjectOf is the subject as it stands in the certificate, every part of it and in its order: the library's own struct has the last of
// several common names, and makes an order of its own.
func subjectOf(cert *x509.Certificate) string {
	var parts pkix.RDNSequence
	if rest, err := asn1.Unmarshal(cert.RawSubject, &parts); err != nil || len(rest) > 0 {
		return ""
	}
	return parts.String()
}
