package grpcauth

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/internal/bearer"
)

// The reasons of this package, beside those of [verifier.Reason].
const (
	ReasonNoToken                 = bearer.NoToken // there is none
	ReasonScheme                  = bearer.Scheme  // there is another scheme than Bearer
	ReasonRequest                 = bearer.Request // authorization is there more than once
	ReasonScope                   = bearer.Scope   // the token is good, and lacks a scope that is required
	ReasonMethod  verifier.Reason = "method"       // Config.Methods does not say who may call it
)

// Error is why a call was not accepted. Its text and Reason are for logs and metrics, not for the caller, and have nothing of
// the token in them. One Error may be reported many times: it must not be changed.
type Error struct {
	Code   codes.Code      // Unauthenticated, PermissionDenied or Unavailable
	Reason verifier.Reason // one of a few words

	text  string
	cause error // the verifier's
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.text
}

// Unwrap returns what the verifier said, a [*verifier.Error], if it was asked.
func (e *Error) Unwrap() error { return e.cause }

// The refusals that are always the same.
var (
	errNoToken = &Error{Code: codes.Unauthenticated, Reason: ReasonNoToken, text: "there is no token"}
	errScheme  = &Error{Code: codes.Unauthenticated, Reason: ReasonScheme, text: "the scheme of authorization is not Bearer"}
	errTwice   = &Error{Code: codes.Unauthenticated, Reason: ReasonRequest, text: "authorization is there more than once"}
	errScope   = &Error{Code: codes.PermissionDenied, Reason: ReasonScope, text: "the token lacks a scope that is required"}
	errMethod  = &Error{Code: codes.PermissionDenied, Reason: ReasonMethod,
		text: "Methods does not say who may call this method: name it there, as Open or with what it requires"}
)

// asError is what becomes of an error of the verifier.
func asError(err error) *Error {
	reason, undecided := bearer.Refused(err)
	if undecided {
		return &Error{Code: codes.Unavailable, Reason: reason, cause: err}
	}
	return &Error{Code: codes.Unauthenticated, Reason: reason, cause: err}
}

// status is the answer: what the caller may know. It is no method of an Error that grpc knows, because that would also send the text
// of an Error which somebody has wrapped.
func (e *Error) status() error {
	switch e.Code {
	case codes.PermissionDenied:
		return status.Error(e.Code, "the token does not allow this")
	case codes.Unavailable:
		s := status.New(e.Code, "tokens cannot be judged now, try again")
		if detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(bearer.RetryAfter)}); err == nil {
			s = detailed
		}
		return s.Err()
	}
	return status.Error(codes.Unauthenticated, "a valid access token is needed")
}
