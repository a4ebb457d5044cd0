package issuer

import (
	"github.com/keyherald/keyherald/issuer/clientauth"
)

// grantClientCredentials is the grant of a client that acts for itself (RFC 6749 §4.4).
const grantClientCredentials = "client_credentials"

// clientCredentials finds out who asks: client authentication is all that this grant needs.
func (n *Node) clientCredentials(c *call, r *tokenRequest) (*clientauth.Client, error) {
	return n.authenticate(c, &r.auth)
}
