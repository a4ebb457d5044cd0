package httpauth

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/internal/bearer"
)

// The reasons of this package, beside those of [verifier.Reason].
const (
	ReasonNoToken = bearer.NoToken // there is none
	ReasonScheme  = bearer.Scheme  // there is another scheme than Bearer
	ReasonRequest = bearer.Request // more than one token, or one that is written wrongly
	ReasonScope   = bearer.Scope   // the token is good, and lacks a scope that is required
)

// Error is why a request was not accepted, and the answer to it. Its text and Reason are for logs and metrics, not for the caller (who
// gets that of a 400, which only says how the request is written), and have nothing of the token in them. One Error may be returned many times: it must not be changed.
type Error struct {
	Status     int             // 400, 401, 403 or 503
	Challenge  string          // WWW-Authenticate; empty with 503
	RetryAfter time.Duration   // with 503; else zero
	Reason     verifier.Reason // one of a few words

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

var _ http.Handler = (*Error)(nil)

// ServeHTTP answers the request that was refused.
func (e *Error) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	if e.Challenge != "" {
		header["Www-Authenticate"] = []string{e.Challenge}
	}
	if e.RetryAfter > 0 {
		header["Retry-After"] = []string{strconv.Itoa(int(e.RetryAfter / time.Second))}
	}
	header["Cache-Control"] = []string{"no-store"}
	header["Content-Type"] = []string{"text/plain; charset=utf-8"}
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, e.public())
}

// public is what the caller may know.
func (e *Error) public() string {
	switch e.Status {
	case http.StatusBadRequest:
		return e.text + "\n"
	case http.StatusForbidden:
		return "the token has not the scope that is needed\n"
	case http.StatusServiceUnavailable:
		return "tokens cannot be judged now, try again\n"
	}
	return "a valid access token is needed\n"
}
