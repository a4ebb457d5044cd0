package issuer

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/keyherald/keyherald/issuer/clientauth"
)

// oauthError is an error answer of the token endpoint (RFC 6749 §5.2).
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`

	status     int
	challenge  bool          // name the Authorization scheme to use
	retryAfter time.Duration // zero: do not say
	reason     string        // for the audit log; empty: the description
}

func (e *oauthError) Error() string { return e.Code + ": " + e.logged() }

func (e *oauthError) logged() string {
	if e.reason != "" {
		return e.reason
	}
	return e.Description
}

// The codes that are not clientauth's: of RFC 6749 §5.2, RFC 8707 §2 and, for what has no code there, RFC 6749 §4.1.2.1.
const (
	codeUnauthorizedClient   = "unauthorized_client"
	codeUnsupportedGrantType = "unsupported_grant_type"
	codeInvalidScope         = "invalid_scope"
	codeInvalidTarget        = "invalid_target"
	codeServerError          = "server_error"
)

func badRequest(code, description string) *oauthError {
	return &oauthError{Code: code, Description: description, status: http.StatusBadRequest}
}

func invalidRequest(description string) *oauthError {
	return badRequest(string(clientauth.InvalidRequest), description)
}

// unavailable is the answer while the node cannot decide or cannot sign.
func unavailable(reason string) *oauthError {
	return &oauthError{
		Code: string(clientauth.Unavailable), Description: "this node cannot answer now: try again", reason: reason,
		status: http.StatusServiceUnavailable, retryAfter: retryAfter,
	}
}

// asOAuthError turns any error into an answer. What it does not know is a fault of ours, and not shown.
func asOAuthError(err error) *oauthError {
	var answer *oauthError
	if errors.As(err, &answer) {
		return answer
	}
	var auth *clientauth.Error
	if !errors.As(err, &auth) {
		return &oauthError{Code: codeServerError, status: http.StatusInternalServerError, reason: err.Error(),
			Description: "the request could not be answered: this is a fault of the server"}
	}
	answer = &oauthError{Code: string(auth.Code), Description: auth.Description, reason: auth.Reason, challenge: auth.Challenge,
		status: http.StatusBadRequest}
	switch auth.Code {
	case clientauth.InvalidClient:
		answer.status = http.StatusUnauthorized
	case clientauth.Unavailable:
		answer.status, answer.retryAfter = http.StatusServiceUnavailable, retryAfter
	}
	return answer
}

// write sends the answer.
func (e *oauthError) write(w http.ResponseWriter, issuer string) {
	if e.challenge && e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+issuer+`", charset="UTF-8"`)
	}
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(e.retryAfter)))
	}
	writeJSON(w, e.status, e)
}
