package jws

// Reason is what was wrong with a token, as one of few words: fit for a metric's label.
type Reason string

// The reasons of an [Error].
const (
	ReasonSize      Reason = "size"      // longer than MaxToken, MaxHeader or MaxSignature
	ReasonForm      Reason = "form"      // not three segments of strict base64url
	ReasonHeader    Reason = "header"    // not strict JSON, or a member is malformed or refused
	ReasonAlgorithm Reason = "algorithm" // alg is missing or none of ours
	ReasonKeyID     Reason = "kid"       // kid is missing or malformed
	ReasonClaims    Reason = "claims"    // not strict JSON, or a claim is malformed
	ReasonKey       Reason = "key"       // the key is not one for the algorithm
	ReasonSignature Reason = "signature" // the signature does not verify
)

// Error is why a token was refused: every error of [Parse] and [Verify] is one. It never holds a part of the token.
type Error struct {
	Reason Reason
	detail string // reads on after "token "
	err    error  // the cause in detail, or nil
}

// Error says which part of the token was wrong, and how.
func (e *Error) Error() string {
	if e.err == nil {
		return "token " + e.detail
	}
	return "token " + e.detail + ": " + e.err.Error()
}

// Unwrap returns the cause, such as a [*strictjson.SyntaxError], or nil.
func (e *Error) Unwrap() error { return e.err }

func refuse(reason Reason, detail string) error {
	return &Error{Reason: reason, detail: detail}
}

func refuseFor(reason Reason, detail string, cause error) error {
	return &Error{Reason: reason, detail: detail, err: cause}
}
