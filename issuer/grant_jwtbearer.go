package issuer

import (
	"time"

	"github.com/keyherald/keyherald/issuer/clientauth"
)

// grantJWTBearer is the grant of a client that has signed an assertion about itself (RFC 7523 §2.1). What it gets is what the other
// grant would give it.
const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// jwtBearer finds out who asks. Client authentication is optional beside the assertion (RFC 7521 §4.1); if there is any, it must be
// good and of the same client, which then counts as it was authenticated.
func (n *Node) jwtBearer(c *call, r *tokenRequest) (*clientauth.Client, error) {
	if r.assertion == "" {
		return nil, invalidRequest("assertion is missing: the grant jwt-bearer needs one (RFC 7523 section 2.1)")
	}
	if !n.auth.Tried(&r.auth) {
		if err := n.checkAddress(c.address, time.Now()); err != nil {
			return nil, err
		}
		client, err := n.assertions.Grant(c.r.Context(), r.assertion, r.auth.ClientID)
		return n.proved(c, client, err)
	}
	client, err := n.authenticate(c, &r.auth)
	if err != nil {
		return nil, err
	}
	if _, err := n.assertions.Grant(c.r.Context(), r.assertion, string(client.Name)); err != nil {
		return nil, &refusal{client, err}
	}
	return client, nil
}
