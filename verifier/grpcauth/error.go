package grpcauth

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/keyherald/keyherald/verifier"
)

// The reasons of this package, beside those of [verifier.Reason].
const (
	ReasonNoToken verifier.Reason = "no_token"           // there is none
	ReasonScheme  verifier.Reason = "scheme"             // there is another scheme than Bearer
	ReasonRequest verifier.Reason = "invalid_request"    // authorization is there more than once
	ReasonScope   verifier.Reason = "insufficient_scope" // the token is good, and lacks a scope that is required
	ReasonMethod  verifier.Reason = "method"             // Config.Methods does not say who may call it
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

// asError is what becomes of an error of the verifier. What it does not say to be undecided is refused.
func asError(err error) *Error {
	e := &Error{Code: codes.Unauthenticated, Reason: "unknown", cause: err}
	if errors.Is(err, verifier.ErrUndecided) {
		e.Code = codes.Unavailable
	}
	var cause *verifier.Error
	if errors.As(err, &cause) {
		e.Reason = cause.Reason
	}
	return e
}

// retryAfter is when to try again: a verifier that has lost contact looks for it every few seconds.
const retryAfter = 5 * time.Second

// status is the answer: what the caller may know. It is no method of an Error that grpc knows, because that would also send the text
// of an Error which somebody has wrapped.
func (e *Error) status() error {
	switch e.Code {
	case codes.PermissionDenied:
		return status.Error(e.Code, "the token does not allow this")
	case codes.Unavailable:
		s := status.New(e.Code, "tokens cannot be judged now, try again")
		if detailed, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); err == nil {
			s = detailed
		}
		return s.Err()
	}
	return status.Error(codes.Unauthenticated, "a valid access token is needed")
}
