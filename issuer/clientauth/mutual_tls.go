package clientauth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
)

// The names of the two ways to authenticate with a certificate (RFC 8705 §2.1.1, §2.2.1).
const (
	TLSClientAuth           = "tls_client_auth"
	SelfSignedTLSClientAuth = "self_signed_tls_client_auth"
)

// MutualTLS is tls_client_auth and self_signed_tls_client_auth (RFC 8705 §2): the client shows a certificate in the TLS handshake and
// says by client_id who it is. Which of the two it is, the client's record decides: by a subject, an accepted authority must have signed
// the certificate; by its digest, nobody need have. One Method is both, so that a refusal does not tell which.
//
// A certificate alone is no attempt to authenticate: in a service mesh each connection has one, whatever the client uses. So
// it counts only when client_id comes with it and no other credential does; with an API key or an assertion, that of the grant jwt-bearer
// included, it means nothing, and the token is not bound to it.
type MutualTLS struct {
	keys        KeySet
	clients     ClientSource
	authorities func() *x509.CertPool
}

var _ Method = (*MutualTLS)(nil)

// NewMutualTLS returns the method. authorities returns those that are accepted now; nil: there are none, and certificates are
// accepted by their digest alone.
func NewMutualTLS(keys KeySet, clients ClientSource, authorities func() *x509.CertPool) *MutualTLS {
	return &MutualTLS{keys, clients, authorities}
}

// Name is tls_client_auth, which also stands for both.
func (*MutualTLS) Name() string { return TLSClientAuth }

// Names lists what is offered, for the metadata.
func (m *MutualTLS) Names() []string {
	if m.authorities == nil {
		return []string{SelfSignedTLSClientAuth}
	}
	return []string{TLSClientAuth, SelfSignedTLSClientAuth}
}

// Presented reports whether there is a certificate with a client_id, and nothing else to authenticate with.
func (*MutualTLS) Presented(r *Request) bool {
	return len(r.Certificates) > 0 && r.ClientID != "" && len(r.Authorization) == 0 && r.Secret == "" && r.Assertion == "" && r.AssertionType == ""
}

// Authenticate checks the certificate: first what it shows by itself, then whom it belongs to. What it costs does not depend on
// whether the client exists or how it is registered.
func (m *MutualTLS) Authenticate(_ context.Context, r *Request) (*Client, error) {
	cert, name, now := r.Certificates[0], claimed(r.ClientID), time.Now()
	if problem := checkPeriod(cert, now); problem != "" {
		return nil, &Error{Code: InvalidClient, Claimed: name, Reason: "certificate: " + problem, Description: "the client certificate was refused: " + problem}
	}
	untrusted := m.checkChain(r.Certificates, now) // also when nobody asks for it
	var registered *events.TLS
	if credentials := m.clients.Client(name); credentials != nil {
		registered = credentials.TLS
	}
	record, reason := activeClient(m.keys.Keys(), name)
	method := TLSClientAuth
	if registered != nil && len(registered.Certificates) > 0 {
		method, untrusted = SelfSignedTLSClientAuth, ""
	}
	switch {
	case record == nil:
	case registered == nil:
		reason = "no certificate registered"
	case untrusted != "":
		reason = untrusted
	case !registered.Matches(cert):
		reason = "not a registered certificate"
	}
	if reason != "" {
		return nil, refuse(name, reason) // under the one name of both: metrics are public
	}
	sum := sha256.Sum256(cert.Raw)
	thumbprint := base64.RawURLEncoding.EncodeToString(sum[:])
	return &Client{Name: name, Record: record, Method: method, Credential: thumbprint, Certificate: thumbprint}, nil
}

// checkPeriod returns why the certificate is not good at a time, or "". There is no leeway: its issuer chose the times for everybody.
func checkPeriod(cert *x509.Certificate, now time.Time) string {
	switch {
	case now.After(cert.NotAfter):
		return "it has expired"
	case now.Before(cert.NotBefore):
		return "it is not valid yet"
	}
	return ""
}

// checkChain returns why no accepted authority vouches for the first certificate as that of a client, or "".
func (m *MutualTLS) checkChain(chain []*x509.Certificate, now time.Time) string {
	if m.authorities == nil {
		return "certificates by subject are not offered: no authority is configured"
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:min(len(chain), 1+maxIntermediates)] {
		intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		// Not nil, which would mean the system's: the whole web would be an authority.
		Roots: orEmpty(m.authorities()), Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, // or none, or any: RFC 5280 §4.2.1.12
	})
	return describeChain(err)
}

func orEmpty(pool *x509.CertPool) *x509.CertPool {
	if pool == nil {
		return x509.NewCertPool()
	}
	return pool
}

// describeChain is why a chain does not verify, without what is written in certificates: strangers wrote it.
func describeChain(err error) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &unknown):
		return "certificate of an unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "certificate not for client authentication"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate of an authority that is out of its time"
	}
	return "certificate that does not verify"
}
