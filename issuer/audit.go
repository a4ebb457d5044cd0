package issuer

import (
	"errors"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/issuer/clientauth"
)

// refused are the messages of the audit log, by endpoint.
var refused = map[string]string{endpointToken: "token refused", endpointIntrospect: "introspection refused", endpointRevoke: "revocation refused"}

// logRefusal writes the audit line of a request that did not get what it asked for. Of what the caller sent it has only names that are
// well-formed, never a credential. A client that has not proved itself is called claimed_client; kid and jti are then what its assertion says.
func (n *Node) logRefusal(c *call, answer *oauthError, err error) {
	level := zerolog.InfoLevel
	if answer.status >= http.StatusInternalServerError {
		level = zerolog.WarnLevel
	}
	line := n.cfg.Logger.WithLevel(level).Str("address", c.address).Str("error", answer.Code).Str("reason", answer.logged())
	var known *refusal
	var auth *clientauth.Error
	switch {
	case errors.As(err, &known):
		line = line.Str("client", string(known.client.Name)).Str("method", known.client.Method).Str("credential", known.client.Credential)
	case errors.As(err, &auth):
		line = line.Str("claimed_client", string(auth.Claimed)).Str("method", auth.Method)
		if auth.KeyID != "" || auth.AssertionID != "" {
			line = line.Str("kid", auth.KeyID).Str("jti", auth.AssertionID)
		}
	}
	line.Msg(refused[c.endpoint])
}
