// Package bearer is what the adapters for HTTP and gRPC have in common: how a bearer token stands in authorization, why a request is
// refused, and how that is logged.
package bearer

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// The reasons of adapters, beside those of [verifier.Reason].
const (
	NoToken verifier.Reason = "no_token"
	Scheme  verifier.Reason = "scheme"
	Request verifier.Reason = "invalid_request"
	Scope   verifier.Reason = "insufficient_scope"
	unknown verifier.Reason = "unknown" // an error that is not one of a [verifier.Verifier]
)

const (
	// RetryAfter is when to try again if a token is undecided: a verifier that has lost contact looks for it every few seconds.
	RetryAfter = 5 * time.Second
	// logRate is how many refusals a second are logged, and logBurst how many at once. What was left out is counted in the next line.
	logRate  = 10
	logBurst = 50
)

// Token finds the token in the value of authorization: the scheme in any case, one space or more, and the rest, whose form is not
// checked here. Else it says why there is none.
func Token(authorization string) (string, verifier.Reason) {
	scheme, token, _ := strings.Cut(authorization, " ")
	switch {
	case authorization == "":
		return "", NoToken
	case !strings.EqualFold(scheme, "Bearer"):
		return "", Scheme
	}
	return strings.TrimLeft(token, " "), ""
}

// Refused says why a verifier has not accepted a token. What it does not say to be undecided is refused.
func Refused(err error) (reason verifier.Reason, undecided bool) {
	var e *verifier.Error
	if errors.As(err, &e) {
		return e.Reason, errors.Is(err, verifier.ErrUndecided)
	}
	return unknown, errors.Is(err, verifier.ErrUndecided)
}

// ValidateScopes checks what somebody wants to require: one that is written wrongly is in no token.
func ValidateScopes(scopes []string) error {
	for _, text := range scopes {
		if scope, err := events.ParseScope(text); err != nil || len(scope.Values()) != 1 {
			return fmt.Errorf(`scope %q is not one value of printable ASCII without space, " and \ (RFC 6749 §3.3)`, text)
		}
	}
	return nil
}

// HasScopes reports whether a token has all that is required.
func HasScopes(t *verifier.Token, scopes []string) bool {
	for _, scope := range scopes {
		if !t.Scope.Has(scope) {
			return false
		}
	}
	return true
}

// Log has what was refused: a few lines a second, so that who sends garbage does not fill a disk.
type Log struct {
	logger  zerolog.Logger
	lines   *rate.Limiter
	leftOut atomic.Int64 // lines, since the last one
}

// NewLog returns a log that writes to logger.
func NewLog(logger zerolog.Logger) *Log {
	return &Log{logger: logger, lines: rate.NewLimiter(logRate, logBurst)}
}

// Line begins a line, or returns nil if this one is left out. That there is no token is said at debug level: many a client sends
// one only when it is asked to.
func (l *Log) Line(reason verifier.Reason, err error) *zerolog.Event {
	level := zerolog.InfoLevel
	if reason == NoToken {
		level = zerolog.DebugLevel
	}
	if level < l.logger.GetLevel() {
		return nil
	}
	if !l.lines.Allow() {
		l.leftOut.Add(1)
		return nil
	}
	line := l.logger.WithLevel(level).Str("reason", string(reason)).Str("error", err.Error())
	if n := l.leftOut.Swap(0); n > 0 {
		line.Int64("left_out", n)
	}
	return line
}
