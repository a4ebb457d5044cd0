package clientauth

import (
	"errors"

	"github.com/keyherald/keyherald/events"
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
