package registry

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
)

// A client authenticates with certificates in one of two ways (RFC 8705 §2): with any that an accepted authority has signed for the one
// subject that is registered, or with one of those that are registered themselves. From one way to the other it goes by
// [Registry.ClearCertificates], so that nobody is changed over by a slip. Whose certificate it is, is not looked up: a client says
// who it is beside showing one, so that one certificate under two names lets nobody be somebody else.

// AddCertificate registers a certificate, whoever has signed it, and returns the record's revision. A client may have several, so that
// they can be replaced one by one. One that is registered already is left as it is. The errors are [ErrInvalid], [ErrNotFound],
// [ErrDisabled], [ErrExists] (a subject is registered) and [ErrTooManySecrets].
func (r *Registry) AddCertificate(ctx context.Context, caller Caller, name events.Name, cert *x509.Certificate) (uint64, error) {
	sum := sha256.Sum256(cert.Raw)
	return r.changeTLS(ctx, caller, "certificate add", name, line{certificate: Thumbprint(sum)}, activeIn, func(tls *events.TLS) (*events.TLS, error) {
		if !r.now().Before(cert.NotAfter) {
			return nil, refuse(ErrInvalid, "the certificate has expired at %s: make a new one", cert.NotAfter.UTC().Format(time.RFC3339))
		}
		next := events.TLS{}
		if tls != nil {
			next = *tls
		}
		switch member, subject := next.Subject(); {
		case member != "":
			return nil, refuse(ErrExists, "client %s is registered by the subject %s %q: clear that first", name, member, subject)
		case slices.Contains(next.Certificates, sum):
			return tls, nil
		case len(next.Certificates) >= events.MaxSecrets:
			return nil, refuse(ErrTooManySecrets, "client %s has %d certificates already: remove one that is not in use", name, len(next.Certificates))
		}
		next.Certificates = append(slices.Clone(next.Certificates), sum)
		return &next, nil
	})
}

// SetCertificateSubject registers the subject of a client's certificates, in place of another one if there is one. The
// errors are [ErrInvalid], [ErrNotFound], [ErrDisabled] and [ErrExists] (certificates are registered).
func (r *Registry) SetCertificateSubject(ctx context.Context, caller Caller, name events.Name, subject events.TLS) (uint64, error) {
	member, value := subject.Subject()
	l := line{certificateSubject: member + " " + value}
	if !isPrintable(value) || len(value) > events.MaxURI { // it is refused; not for a log
		l.certificateSubject = member
	}
	return r.changeTLS(ctx, caller, "certificate subject", name, l, activeIn, func(tls *events.TLS) (*events.TLS, error) {
		if member == "" || len(subject.Certificates) > 0 {
			return nil, refuse(ErrInvalid, "no subject of certificates was given")
		}
		if tls == nil {
			return &subject, nil
		}
		if n := len(tls.Certificates); n > 0 {
			return nil, refuse(ErrExists, "client %s has %d registered certificates: clear them first", name, n)
		}
		if was, before := tls.Subject(); was == member && before == value {
			return tls, nil
		}
		next := subject
		next.Extra = tls.Extra
		return &next, nil
	})
}

// RemoveCertificate removes a certificate: it is refused from then on. The client may be disabled. The error is [ErrNotFound] if the
// client has it not.
func (r *Registry) RemoveCertificate(ctx context.Context, caller Caller, name events.Name, sum [sha256.Size]byte) (uint64, error) {
	return r.changeTLS(ctx, caller, "certificate remove", name, line{certificate: Thumbprint(sum)}, issuerIn, func(tls *events.TLS) (*events.TLS, error) {
		if tls == nil || !slices.Contains(tls.Certificates, sum) {
			return nil, refuse(ErrNotFound, "client %s has no certificate %s: see cert list", name, Thumbprint(sum))
		}
		next := *tls
		next.Certificates = slices.DeleteFunc(slices.Clone(tls.Certificates), func(s [sha256.Size]byte) bool { return s == sum })
		if len(next.Certificates) == 0 {
			return nil, nil
		}
		return &next, nil
	})
}

// ClearCertificates removes all certificates of a client, or their subject: it authenticates with none from then on. The client may be disabled.
func (r *Registry) ClearCertificates(ctx context.Context, caller Caller, name events.Name) (uint64, error) {
	return r.changeTLS(ctx, caller, "certificate clear", name, line{}, issuerIn, func(*events.TLS) (*events.TLS, error) { return nil, nil })
}

// Certificates returns what is registered of a client's certificates; nil: nothing.
func (r *Registry) Certificates(ctx context.Context, name events.Name) (*events.TLS, error) {
	c, err := r.credentials(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.TLS, nil
}

// finder returns a client that may be changed: issuerIn, or activeIn.
type finder func(*events.Set, events.Name, ...events.IssuerType) (*events.IssuerEntry, error)

// changeTLS lets change say what a client's tls is to be; what it gets must not be changed, and to return it changes nothing.
func (r *Registry) changeTLS(ctx context.Context, caller Caller, op string, name events.Name, l line, find finder, change func(*events.TLS) (*events.TLS, error)) (revision uint64, err error) {
	l.issuer = name
	err = r.audited(caller, op, l, func(l *line) error {
		set, err := r.live(ctx)
		if err != nil {
			return err
		}
		if _, err := find(set, name, events.TypeClient); err != nil {
			return err
		}
		revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			next, err := change(c.TLS)
			l.outcome = outcomeDone
			if err == nil && next == c.TLS {
				l.outcome = outcomeUnchanged
			}
			c.TLS = next
			return err
		})
		l.revision = revision
		return unsure(err, "the certificates of client %s may or may not be changed: see cert list", name)
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// Thumbprint is the SHA-256 of a certificate as records have it (x5t#S256, RFC 8705 §3.1).
func Thumbprint(sum [sha256.Size]byte) string { return base64.RawURLEncoding.EncodeToString(sum[:]) }
