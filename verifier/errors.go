package verifier

import (
	"errors"
	"slices"

	"github.com/keyherald/keyherald/verifier/jws"
)

// The two ways in which Verify fails; every error that it returns is one of them by errors.Is.
var (
	// ErrInvalid: the token is refused (401).
	ErrInvalid = errors.New("token is not valid")
	// ErrUndecided: the verifier does not know enough now (503, try again).
	ErrUndecided = errors.New("token can be neither accepted nor refused now")
)

// Reason says why a token was not accepted. There are few, so that they can be labels of a metric.
type Reason string

// The reasons.
const (
	ReasonMalformed Reason = "malformed"      // not a token of the accepted form, or a claim of the wrong form
	ReasonIssuer    Reason = "issuer"         // iss unknown, disabled or not accepted here
	ReasonKey       Reason = "key"            // kid unknown
	ReasonKeyState  Reason = "key_state"      // the key is pending, expired or revoked
	ReasonAlgorithm Reason = "algorithm"      // not the key's algorithm
	ReasonSignature Reason = "signature"      // the signature does not verify
	ReasonType      Reason = "type"           // typ is not one of an access token of this issuer
	ReasonClaims    Reason = "claims"         // a required claim is missing
	ReasonAudience  Reason = "audience"       // not for this service, or not allowed for this client
	ReasonExpired   Reason = "expired"        // after exp
	ReasonTooEarly  Reason = "too_early"      // before nbf or iat
	ReasonLifetime  Reason = "lifetime"       // valid for longer than the issuer's tokens may be
	ReasonSubject   Reason = "subject"        // a client speaks for somebody else, or may not mint tokens
	ReasonClient    Reason = "client"         // the client is unknown or disabled
	ReasonCutOff    Reason = "cut_off"        // issued at or before not_before
	ReasonRevoked   Reason = "revoked"        // this token was revoked
	ReasonBound     Reason = "bound"          // bound to a key or certificate that was not shown
	ReasonStale     Reason = "stale"          // undecided: the set is older than MaxStaleness
	ReasonBehind    Reason = "not_up_to_date" // undecided: not in the set, which may be behind
)

// reasons are all of them.
var reasons = [...]Reason{
	ReasonMalformed, ReasonIssuer, ReasonKey, ReasonKeyState, ReasonAlgorithm, ReasonSignature, ReasonType, ReasonClaims, ReasonAudience, ReasonExpired,
	ReasonTooEarly, ReasonLifetime, ReasonSubject, ReasonClient, ReasonCutOff, ReasonRevoked, ReasonBound, ReasonStale, ReasonBehind,
}

// Reasons returns all reasons.
func Reasons() []Reason { return slices.Clone(reasons[:]) }

// Undecided reports whether r is a reason of the verifier's and not of the token: then the error is [ErrUndecided], and else [ErrInvalid].
func (r Reason) Undecided() bool { return r == ReasonStale || r == ReasonBehind }

// Error is why a token was not accepted. Its text is for logs: the caller who sent the token learns only that it was
// not accepted (RFC 6750 §3.1). It never contains a part of the token. One Error may be returned many times: it must not be changed.
type Error struct {
	Reason Reason

	text  string     // empty: the cause's
	cause *jws.Error // of the parser and the check of the signature
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.text
}

// Is makes an Error match ErrInvalid or ErrUndecided.
func (e *Error) Is(target error) bool {
	undecided := e.Reason.Undecided()
	return target == ErrUndecided && undecided || target == ErrInvalid && !undecided
}

// Unwrap returns the parser's [*jws.Error], if it was the parser who refused the token.
func (e *Error) Unwrap() error {
	if e.cause != nil {
		return e.cause
	}
	return nil
}

func refuse(reason Reason, text string) error { return &Error{Reason: reason, text: text} }

// malformed takes over what the parser or the signature's check says: each of their errors is a *jws.Error.
func malformed(err error) error {
	cause := err.(*jws.Error)
	switch cause.Reason {
	case jws.ReasonAlgorithm:
		return &Error{Reason: ReasonAlgorithm, cause: cause}
	case jws.ReasonSignature:
		return &Error{Reason: ReasonSignature, cause: cause}
	}
	return &Error{Reason: ReasonMalformed, cause: cause}
}
