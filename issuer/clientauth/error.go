package clientauth

import (
	"errors"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Code is what kind of refusal an [Error] is.
type Code string

// The codes. The first three are those of RFC 6749 §5.2.
const (
	InvalidRequest Code = "invalid_request"         // the request is not well-formed
	InvalidClient  Code = "invalid_client"          // the client has not proved itself
	InvalidGrant   Code = "invalid_grant"           // the assertion of a jwt-bearer grant is not good
	Unavailable    Code = "temporarily_unavailable" // it could not be decided
)

// Error is why a client was not authenticated. Neither text ever has a part of a credential.
type Error struct {
	Code        Code
	Description string // for the caller; the same for everything that the caller has no right to tell apart
	Reason      string // for the log
	// Claimed is who the request says it comes from, if that is a name. Nothing is proved.
	Claimed events.Name
	// KeyID and AssertionID are the kid and jti of the assertion that was sent, for the log; empty if there are none, or what is there is more
	// than a name. Nothing is proved.
	KeyID       string
	AssertionID string
	// Method is what was tried, by the name that [Client.Method] would have, or empty.
	Method string
	// Challenge says that credentials came in an Authorization header, so that the answer must name the scheme to use
	// (RFC 6749 §5.2).
	Challenge bool

	err error
}

// Error is the reason, for the log.
func (e *Error) Error() string { return "client authentication: " + e.Reason }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

// failed is the one message for all that would tell which clients and keys exist.
const failed = "client authentication failed: the client is unknown or not active, or the credential is not one of its valid ones"

func refuse(client events.Name, reason string) *Error {
	return &Error{Code: InvalidClient, Description: failed, Reason: reason, Claimed: client}
}

// ofAssertion adds to a refusal which assertion it was.
func ofAssertion(err error, t *jws.Token) error {
	var e *Error
	if errors.As(err, &e) {
		e.KeyID, e.AssertionID = loggable(t.Header.KeyID), loggable(t.Claims.ID)
	}
	return err
}

// loggable is a text of a stranger, if it is short and plain.
func loggable(s string) string {
	const most = 128
	if len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}

func invalidRequest(description string) *Error {
	return &Error{Code: InvalidRequest, Description: description, Reason: description}
}

// asError makes sure that what a method returns is an [*Error].
func asError(err error, method string) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: Unavailable, Description: "client authentication could not be decided: try again later", Reason: err.Error(), err: err}
	}
	if e.Method == "" {
		e.Method = method
	}
	return e
}
