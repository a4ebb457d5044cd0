package mint

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/keyherald/keyherald/issuer/internal/claims"
)

const (
	// assertionTTL is the life of a client assertion. It is used at once, and once.
	assertionTTL = 60 * time.Second
	// assertionType is the client_assertion_type of RFC 7523 §2.2.
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// Assertion makes a client assertion for private_key_jwt (RFC 7523 §3), to be used once, within a minute. The audience is
// the issuer identifier of the authorization server, not the URL of its token endpoint; empty: the platform's.
func (m *Minter) Assertion(audience string) (string, error) {
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
	return m.sign("client-authentication+jwt", &c)
}

var _ Credential = (*Minter)(nil)

// authenticate adds a client assertion to a token request. One for another server than the minter's own is refused: a
// registered key is for one server.
func (m *Minter) authenticate(issuer string, form url.Values, _ http.Header) error {
	if issuer != m.platform {
		return errors.New("the minter is for another issuer than the requester")
	}
	assertion, err := m.Assertion(issuer)
	if err != nil {
		return err
	}
	form.Set("client_id", m.client)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}
