package registry

import (
	"errors"
	"fmt"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// The reasons for which an operation is refused. The errors that are returned say more, and test as these with errors.Is; those of
// package bus (unreachable, unknown outcome, …) come through as they are.
var (
	// ErrInvalid: the input cannot be a record, or a part of one.
	ErrInvalid = errors.New("invalid input")
	// ErrPrivateKey: a private or symmetric key was given as a public one.
	ErrPrivateKey = errors.New("private key in place of a public one")
	// ErrNotFound: there is no such client, issuer, key or secret.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name, kid or iss belongs to somebody already, or the client has what is to be registered in another way.
	ErrExists = errors.New("exists already")
	// ErrDisabled: the client or issuer is disabled.
	ErrDisabled = errors.New("disabled")
	// ErrKeyTaken: the public key is registered already.
	ErrKeyTaken = errors.New("public key is registered already")
	// ErrKeyDead: the key is revoked or expired.
	ErrKeyDead = errors.New("key is dead")
	// ErrTooManyKeys: the client has as many keys as it may have.
	ErrTooManyKeys = errors.New("too many keys")
	// ErrTooManySecrets: the client has as many API keys or certificates as it may have.
	ErrTooManySecrets = errors.New("too many secrets")
	// ErrTooManyClients: there are as many clients as callers with an Authority may create.
	ErrTooManyClients = errors.New("too many clients")
	// ErrNeedsForce: tokens that are valid now would be refused.
	ErrNeedsForce = errors.New("needs force")
	// ErrForbidden: the caller's token is not good for it. The error is a [*Forbidden].
	ErrForbidden = errors.New("forbidden")
	// ErrChanged: the record is not any more the one that the change was meant for.
	ErrChanged = errors.New("record was changed")
	// ErrOtherPlatform: the registry was made for another issuer URL.
	ErrOtherPlatform = errors.New("registry of another platform")
)

// refusal is an error of one of the kinds above. Its message stands alone.
type refusal struct{ kind, err error }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Errorf(format, args...)}
}

func (r *refusal) Error() string   { return r.err.Error() }
func (r *refusal) Unwrap() []error { return []error{r.kind, r.err} }

// UnfinishedRotation is the error of a rotation that has registered the new key and could not give all old keys their end. Nothing is
// lost: the new key is trusted and the old ones still are.
type UnfinishedRotation struct {
	New  NewKey         // is good: its access key is nowhere else
	Open []events.KeyID // the old keys whose end was not, or perhaps not, written
	Err  error          // why
}

func (e *UnfinishedRotation) Error() string {
	return fmt.Sprintf("rotate keys of client %s: key %s is registered and trusted, but the end of %v may not be written: %v: give each its end with key retire, or rotate again",
		e.New.Issuer, e.New.KeyID, e.Open, e.Err)
}

func (e *UnfinishedRotation) Unwrap() error { return e.Err }

// unsure adds to an unknown outcome what to look for.
func unsure(err error, format string, args ...any) error {
	if errors.Is(err, bus.ErrUnknownOutcome) {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	return err
}
