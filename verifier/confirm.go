package verifier

import (
	"crypto/sha256"
	"crypto/x509"
)

// Confirmation is what a token is bound to (cnf, RFC 7800): who has the token and not that is not its holder.
type Confirmation struct {
	// CertificateSHA256 is x5t#S256, the SHA-256 of the DER of the certificate that the holder shows in TLS (RFC 8705 §3.1).
	CertificateSHA256 [sha256.Size]byte
}

// ByCertificate returns a [Request.Confirm] for a caller that showed cert in the TLS handshake, and so proved to have its private
// key. Nil is for a caller that showed none: it confirms nothing.
func ByCertificate(cert *x509.Certificate) func(Confirmation) bool {
	return func(c Confirmation) bool {
		return cert != nil && sha256.Sum256(cert.Raw) == c.CertificateSHA256 // nothing of it is secret
	}
}

// checkConfirmation: a bound token is accepted only with what it is bound to. A binding of another kind, or two at once, cannot be
// confirmed here and is refused.
func (j *judgement) checkConfirmation() error {
	claims := &j.token.Claims
	if claims.Confirmation == nil {
		return nil
	}
	sum, ok := claims.CertificateSHA256()
	if !ok && j.request.Confirm != nil {
		return errBinding
	}
	j.bound = Confirmation{CertificateSHA256: sum}
	return j.request.confirm(j.bound)
}

// confirm asks the caller of a bound token.
func (r *Request) confirm(c Confirmation) error {
	switch {
	case r.Confirm == nil:
		return errBound
	case !r.Confirm(c):
		return errNotHolder
	}
	return nil
}
