package issuer

import (
	"errors"
	"net/http"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/issuer/clientauth"
)

// audit is the log for what is decided about a request.
func (n *Node) audit(r *http.Request) zerolog.Logger {
	return n.cfg.Logger.With().Str("address", remoteHost(r)).Logger()
}

// refuse answers a request with an error, and writes its audit line.
func (n *Node) refuse(w http.ResponseWriter, audit zerolog.Logger, message string, err error) {
	answer := asOAuthError(err)
	logRefusal(audit, message, answer, err)
	answer.write(w, n.cfg.Issuer)
}

// logRefusal writes the audit line of a request that did not get what it asked for. Of what the caller sent it has only names that are
// well-formed, never a credential. A client that has not proved itself is called claimed_client.
func logRefusal(log zerolog.Logger, message string, answer *oauthError, err error) {
	level := zerolog.InfoLevel
	if answer.status >= http.StatusInternalServerError {
		level = zerolog.WarnLevel
	}
	line := log.WithLevel(level).Str("error", answer.Code).Str("reason", answer.logged())
	var known *refusal
	var auth *clientauth.Error
	switch {
	case errors.As(err, &known):
		line = line.Str("client", string(known.client.Name)).Str("method", known.client.Method).Str("credential", known.client.Credential)
	case errors.As(err, &auth):
		line = line.Str("claimed_client", string(auth.Claimed)).Str("method", auth.Method)
	}
	line.Msg(message)
}
