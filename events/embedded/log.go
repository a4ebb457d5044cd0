package embedded

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// serverLog passes the server's log on, and remembers what it calls fatal: a server of its own process would exit then,
// this one goes on and has to be stopped.
type serverLog struct {
	out   zerolog.Logger
	first atomic.Pointer[string] // the first fatal message
}

var _ server.Logger = (*serverLog)(nil)

// fatal is the first fatal message as an error, or nil.
func (l *serverLog) fatal() error {
	if msg := l.first.Load(); msg != nil {
		return errors.New(*msg)
	}
	return nil
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(zerolog.DebugLevel, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(zerolog.WarnLevel, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.write(zerolog.WarnLevel, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(zerolog.DebugLevel, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(zerolog.TraceLevel, format, v) }

func (l *serverLog) Fatalf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.first.CompareAndSwap(nil, &msg)
	l.write(zerolog.WarnLevel, format, v)
}

func (l *serverLog) write(level zerolog.Level, format string, v []any) {
	l.out.WithLevel(level).Str("component", "nats-server").Msgf(format, v...)
}
