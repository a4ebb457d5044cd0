package mint

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/keyherald/keyherald/issuer/internal/claims"
)

const (
	// assertionType is the client_assertion_type of RFC 7523 §2.2.
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// jwtBearer is the grant_type of RFC 7523 §2.1.
	jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Assertion makes a client assertion for private_key_jwt (RFC 7523 §3), to be used once, within a minute. The audience is
// the issuer identifier of the authorization server, not the URL of its token endpoint; empty: the platform's.
func (m *Minter) Assertion(audience string) (string, error) {
	return m.assertion("client-authentication+jwt", audience)
}

// GrantAssertion makes the assertion of a jwt-bearer grant (RFC 7523 §2.1), to be used once, within a minute. The audience is as for
// [Minter.Assertion]; here the URL of the token endpoint would do, too. Neither passes for the other.
func (m *Minter) GrantAssertion(audience string) (string, error) {
	return m.assertion("JWT", audience)
}

func (m *Minter) assertion(typ, audience string) (string, error) {
	if audience == "" {
		audience = m.platform
	}
	iat := time.Now().Unix()
	var c claims.Builder
	c.String("iss", m.client)
	c.String("sub", m.client)
	c.Audience([]string{audience})
	c.String("jti", claims.NewID())
	c.Int("iat", iat)
	c.Int("exp", iat+int64(assertionTTL/time.Second))
	return m.sign(typ, &c)
}

var _ Credential = (*Minter)(nil)

func (m *Minter) check(issuer string) error {
	if issuer != m.platform { // a registered key is for one server
		return errors.New("the minter is for another issuer than the requester")
	}
	return nil
}

// authenticate adds a client assertion to a token request.
func (m *Minter) authenticate(_ context.Context, issuer string, form url.Values, _ http.Header) error {
	assertion, err := m.Assertion(issuer)
	if err != nil {
		return err
	}
	form.Set("client_id", m.client)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

// JWTBearer returns the credential that is itself the grant (RFC 7523 §2.1): an assertion of the minter's client about itself, where
// the minter as a credential authenticates the client for the grant client_credentials. What comes of it is the same; it
// is for token services that have this way only.
func JWTBearer(m *Minter) Credential { return grant{m} }

type grant struct{ minter *Minter }

func (g grant) check(issuer string) error {
	if g.minter == nil {
		return errors.New("no minter for the grant jwt-bearer")
	}
	return g.minter.check(issuer)
}

// authenticate puts the assertion where the grant is.
func (g grant) authenticate(_ context.Context, issuer string, form url.Values, _ http.Header) error {
	assertion, err := g.minter.GrantAssertion(issuer)
	if err != nil {
		return err
	}
	form.Set("grant_type", jwtBearer)
	form.Set("assertion", assertion)
	return nil
}
