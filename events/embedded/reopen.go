package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A NATS server that once could not write to a bucket's files refuses every later write to it, until it opens them anew: a disk that was full for
// a moment would take no revocation until somebody restarts the process. So the files are opened anew as soon as there is room again. Everything
// that was acknowledged is on the disk; who follows a bucket notices that its consumer is gone, and goes on.

const (
	// healthEvery is how often it is looked whether the server still writes.
	healthEvery = 5 * time.Second
	// reopenAgain and longestAgain are the times between two attempts, the first and, after each was twice the one before, the last: there may be
	// room for what tries it and then none, or the disk may be broken, and each attempt ends all subscriptions.
	reopenAgain  = 20 * time.Second
	longestAgain = 10 * time.Minute
	// roomFile is written to try it. It is in the directory of the store, which may be a disk of its own.
	roomFile = ".room"
	// room is how many bytes there must be: for some hundreds of the largest records.
	room = 8 << 20
)

// Unwritable is why the server takes no writes, at least to one of the buckets; nil if it takes them. It is some seconds old, and a server of
// which nobody wanted anything written does not know it yet.
func (s *Server) Unwritable() error {
	if err := s.unwritable.Load(); err != nil {
		return *err
	}
	return nil
}

// keepWritable opens the files of a server that has stopped writing anew as soon as there is room, until ctx ends.
func (s *Server) keepWritable(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	var reopened time.Time
	again := reopenAgain
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		since := time.Since(reopened)
		if s.lookWhetherItWrites() == nil {
			if since > longestAgain {
				again = reopenAgain
			}
			continue
		}
		if !reopened.IsZero() && since < again || s.tryRoom() != nil {
			continue
		}
		reopened, again = time.Now(), min(2*again, longestAgain)
		if err := s.reopen(); err != nil {
			s.log.out.Warn().Err(err).Msg("there is room again, but nats does not open its files anew: restart the process")
			continue
		}
		s.lookWhetherItWrites()
	}
}

// lookWhetherItWrites asks the server, and tells when the answer is another one than before.
func (s *Server) lookWhetherItWrites() error {
	err := s.writeError()
	before := s.Unwritable()
	switch {
	case err == nil:
		s.unwritable.Store(nil)
		if before != nil {
			s.log.out.Warn().Msg("nats writes again: repeat what was refused")
		}
	default:
		s.unwritable.Store(&err)
		if before == nil {
			s.log.out.Warn().Err(err).Str("dir", s.dir.file(storeDir)).
				Msg("nats cannot write: revocations are refused, like all writes: make room where dir is, and it goes on")
		}
	}
	return err
}

// writeError is what the server says of its health, as far as it is about writing. Files that it cannot read are not better when they are read again.
func (s *Server) writeError() error {
	health := s.nats.Healthz(&server.HealthzOptions{Details: true})
	for _, e := range health.Errors {
		if e.Type == server.HealthzErrorJetStream || e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error") {
			return errors.New(e.Error)
		}
	}
	return nil
}

// tryRoom returns an error if as much as room cannot be written.
func (s *Server) tryRoom() (err error) {
	path := filepath.Join(s.dir.file(storeDir), roomFile)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	content := make([]byte, room)
	_, _ = rand.Read(content) // zeros would need none where files are compressed
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// reopen lets JetStream end and begin anew, as at a start of the server, while connections stay.
func (s *Server) reopen() error {
	noted, err := s.dir.readRevisions()
	if err != nil {
		return err
	}
	if err := s.nats.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop jetstream: %w", err)
	}
	cfg := s.jetStream
	if err := s.nats.EnableJetStream(&cfg); err != nil {
		return fmt.Errorf("start jetstream: %w", err)
	}
	now, err := s.revisions()
	if err != nil {
		return err
	}
	s.warnLosses(noted, now)
	return nil
}
