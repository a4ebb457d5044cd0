package verifiertest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

// TokenOption says something of one token.
type TokenOption interface{ token(*draft) error }

// Grant says what a record grants, of a client or an external issuer, or what one token asks for.
type Grant interface {
	TokenOption
	record(*events.Issuer) error
}

// Scope is a record's or a token's scope. Of what a token says, a verifier takes what the record grants. Without values there is none.
func Scope(values ...string) Grant { return scope(strings.Join(values, " ")) }

type scope string

func (s scope) record(r *events.Issuer) (err error) {
	r.Scope, err = events.ParseScope(string(s))
	return err
}

func (s scope) token(d *draft) error {
	d.claims["scope"] = string(s)
	return nil
}

// Audience is the audiences that a record allows, or that a token is for, instead of the kit's.
func Audience(audiences ...string) Grant { return audience(audiences) }

type audience []string

func (a audience) record(r *events.Issuer) error {
	r.Audience = a
	return nil
}

func (a audience) token(d *draft) error {
	d.claims["aud"] = []string(a)
	return nil
}

type option func(*draft) error

func (o option) token(d *draft) error { return o(d) }

// TTL is the life of a token, in whole seconds. Records here allow an hour.
func TTL(ttl time.Duration) TokenOption {
	return option(func(d *draft) error {
		if ttl < time.Second || ttl%time.Second != 0 {
			return fmt.Errorf("a life of %s is not whole seconds from one on (see Expired)", ttl)
		}
		d.ttl = ttl
		return nil
	})
}

// Expired makes a token that has ended an hour ago.
func Expired() TokenOption { return shift(-aside) }

// NotYetValid makes a token that begins in an hour.
func NotYetValid() TokenOption { return shift(aside) }

func shift(by time.Duration) TokenOption {
	return option(func(d *draft) error {
		d.shift = by
		return nil
	})
}

// BoundTo binds a token to a certificate (cnf, RFC 8705 §3.1): who does not show that certificate is refused. It is the one that a
// client shows in TLS, such as [crypto/tls.Certificate].Leaf.
func BoundTo(cert *x509.Certificate) TokenOption {
	return option(func(d *draft) error {
		if cert == nil {
			return errors.New("there is no certificate to bind it to")
		}
		sum := sha256.Sum256(cert.Raw)
		d.claims["cnf"] = map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
		return nil
	})
}

// Claim gives a token any claim, such as one that your handler reads from [verifier.Token.Claims], or instead of one that the kit
// makes. The value is what [encoding/json] makes of it; nil leaves the claim out.
func Claim(name string, value any) TokenOption {
	return option(func(d *draft) error {
		d.last[name] = value
		return nil
	})
}
