package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/keyherald/keyherald/events/bus"
)

// The exit codes. 0 is success.
const (
	exitFailed    = 1 // it could not be done; for token verify: the token is refused; for doctor: something is unsafe
	exitUsage     = 2 // the command line is wrong
	exitUndecided = 3 // token verify and doctor only: not known now
)

// exitError carries an exit code other than exitFailed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func exitCode(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

// hinted is an error that knows what to do about it.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// complain prints an error, and what to do about it.
func complain(w io.Writer, err error) {
	fmt.Fprintln(w, "keyherald:", oneLine(err))
	if hint := hint(err); hint != "" {
		fmt.Fprintln(w, "keyherald: hint:", hint)
	}
}

// hint says what to do about an error, if that is not in it already.
func hint(err error) string {
	var known *hinted
	var request *url.Error
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &known):
		return known.hint
	case errors.Is(err, bus.ErrUntrusted):
		return "give the file with the authority that has signed the NATS server's certificate with --nats-tls-ca, and connect by a name that is in it"
	case errors.Is(err, bus.ErrNoLeader):
		return "see which servers are down, or cut off, with keyherald doctor; nothing was written"
	case errors.Is(err, bus.ErrUnreachable):
		return "start keyherald serve, or give the server with --nats and a credential with --nkey or --creds"
	case errors.Is(err, bus.ErrPermission):
		return "use the operator's credential (DIR/nats/operator.nk) for writing, and the verifier's for reading only"
	case errors.Is(err, bus.ErrTooManyConsumers):
		return "use fewer verifiers, or raise the limit of the stream, the account (max_consumers) or the server"
	case errors.As(err, &untrusted):
		return "if an authority of your own has signed the token service's certificate, give the file with that authority with --tls-ca, or in SSL_CERT_FILE"
	case errors.As(err, &request):
		return "is --issuer (KEYHERALD_ISSUER) the URL of a token service that is running?"
	}
	return ""
}
