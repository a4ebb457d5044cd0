package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
)

// A NATS server that once could not write to a bucket's files refuses every later write to it until it is started again: a disk that was full for
// a moment would take no revocation until somebody sees to it. So the server is started again as soon as there is room: with the same address,
// and all that it has acknowledged, which is on the disk. Its clients lose their connections, and come back as after any other start.
//
// Its JetStream alone could be stopped and started, too. But NATS made that for servers that end: the old one goes on answering beside the new.

const (
	// healthEvery is how often it is looked whether the server still writes.
	healthEvery = 5 * time.Second
	// A server that cannot write again so soon after it was started again was not helped by that. It is tried again later, and later each time:
	// all its clients pay for it.
	soon        = time.Minute
	firstAgain  = 15 * time.Second
	latestAgain = 2 * time.Minute
	// restartTime bounds a start.
	restartTime = 2 * time.Minute
	// room is how many bytes must be free on the disk: for a thousand of the largest records.
	room = 16 << 20
	// trial is how many are written to try it.
	trial = 1 << 20
)

// Unwritable is why the server takes no writes, at least to one of the buckets; nil if it takes them. It is some seconds old, and a server of
// which nobody wanted anything written does not know it yet.
func (s *Server) Unwritable() error {
	if err := s.unwritable.Load(); err != nil {
		return *err
	}
	return nil
}

// keeper starts a server that has stopped writing again. It belongs to one goroutine.
type keeper struct {
	*Server
	restarted time.Time     // the last time
	wait      time.Duration // after which it may be so again
}

// look starts the server again if it does not write, and could. It reports whether it has.
func (k *keeper) look(ctx context.Context) bool {
	if !k.refuses() {
		return false
	}
	since := time.Since(k.restarted)
	switch {
	case k.restarted.IsZero() || since > max(soon, k.wait)+healthEvery: // it has helped, the last time
		k.wait = 0
	case since < k.wait:
		return false
	}
	if err := k.tryRoom(); err != nil {
		return false
	}
	k.wait = min(max(2*k.wait, firstAgain), latestAgain)
	err := k.restart(ctx)
	k.restarted = time.Now()
	if ctx.Err() != nil { // it is to end
		return false
	}
	if err != nil {
		k.unwritable.Store(&err)
		k.log.out.Warn().Err(err).Stringer("next", k.wait).Msg("there is room again, but nats does not start: it is tried again")
		return false
	}
	k.unwritable.Store(nil)
	k.log.out.Warn().Msg("nats was started again, and writes: repeat what was refused")
	return true
}

// refuses reports whether the server takes no writes, and tells of it the first time.
func (s *Server) refuses() bool {
	err, known := s.writeError()
	before := s.Unwritable()
	if err == nil || !known {
		return before != nil // nothing but a start changes it
	}
	s.unwritable.Store(&err)
	if before == nil {
		s.log.out.Warn().Err(err).Str("dir", s.dir.path).Int("need", room).
			Msg("nats cannot write: revocations are refused, like all writes: make room where dir is, for need bytes, and it goes on")
	}
	return true
}

// writeError is what the server says of its health, as far as it is about writing, and whether it says anything.
func (s *Server) writeError() (err error, known bool) {
	health := s.server().Healthz(&server.HealthzOptions{Details: true})
	for _, e := range health.Errors {
		switch {
		case e.Type == server.HealthzErrorConn: // too busy to answer
			return nil, false
		case e.Type == server.HealthzErrorJetStream, e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error"):
			return errors.New(e.Error), true
		}
	}
	return nil, true
}

// tryRoom returns an error if there is no room for what must be written. It takes none that others need meanwhile.
func (s *Server) tryRoom() (err error) {
	if free, known := free(s.dir.path); known && free < room {
		return fmt.Errorf("there are %d bytes", free)
	}
	f, err := os.CreateTemp(s.dir.path, tempPrefix) // of which none stays, see removeLeftovers
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	content := make([]byte, trial)
	_, _ = rand.Read(content) // zeros would need none where files are compressed
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// restart ends the server and starts another one in its place. In between nobody can connect.
func (s *Server) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	s.admission.end()
	s.server().Shutdown()
	s.server().WaitForShutdown()
	var drift *bus.DriftError // with which it was running before, and is better than without
	if err := s.run(ctx); err != nil && !errors.As(err, &drift) {
		return err
	}
	return s.open()
}
