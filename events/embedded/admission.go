package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// lookEvery is how often the server looks whether the users have changed.
const lookEvery = 200 * time.Millisecond

// admission lets in whom the users' file names, as it changes.
type admission struct {
	server *Server
	path   string // of the users' file
	log    zerolog.Logger

	seen   fs.FileInfo // of the file when it was read last; nil: there was none
	failed string      // why it could not be read; empty: it could
	gone   []string    // nkeys of whom connections are yet to be closed
	stop   context.CancelFunc
	done   chan struct{}
}

// admit reads the users for the first time. What is wrong with them ends the start.
func (s *Server) admit(log zerolog.Logger) error {
	a := &admission{server: s, path: filepath.Join(s.dir.file(usersDir), usersFile), log: log, done: make(chan struct{})}
	a.seen = a.stat()
	if err := a.apply(); err != nil {
		return err
	}
	s.admission = a
	return nil
}

// follow applies changes until end is called.
func (a *admission) follow() {
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() {
		defer close(a.done)
		again := time.NewTicker(lookEvery)
		defer again.Stop()
		for {
			select {
			case <-again.C:
				a.look()
			case <-ctx.Done():
				return
			}
		}
	}()
}

// end returns when nothing is applied any more.
func (a *admission) end() {
	if a.stop != nil {
		a.stop()
		<-a.done
	}
}

// leave tells those who change the users that no server runs.
func (a *admission) leave() error {
	if err := os.Remove(a.server.dir.file(appliedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// look applies the file if it has changed, or could not be read the last time. What cannot be read changes nothing.
func (a *admission) look() {
	now := a.stat() // before it is read: what changes meanwhile is seen the next time
	if same(now, a.seen) && a.failed == "" {
		return
	}
	a.seen = now
	if err := a.apply(); err == nil {
		a.failed = ""
	} else if err.Error() != a.failed {
		a.log.Error().Err(err).Msg("the users have changed and cannot be read: those who were known before may come in")
		a.failed = err.Error()
	}
}

// stat describes the file, which need not be there.
func (a *admission) stat() fs.FileInfo {
	info, err := os.Stat(a.path)
	if err != nil {
		return nil
	}
	return info
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// apply lets in whom the file names, closes the connections of all others, and says so to whoever waits for it.
func (a *admission) apply() error {
	s := a.server
	users, digest, err := readUsers(a.path)
	if err != nil {
		return err
	}
	guests, err := s.door.guestsOf(s.keys, users)
	if err != nil {
		return err
	}
	for a.gone = append(a.gone, s.door.replace(guests)...); len(a.gone) > 0; a.gone = a.gone[1:] {
		closed, err := s.disconnect(a.gone[0])
		if err != nil {
			return err
		}
		a.log.Warn().Str("nkey", a.gone[0]).Int("connections", closed).Msg("a user was revoked, and its connections are closed")
	}
	return writeFile(s.dir.file(appliedFile), []byte(digest))
}

// disconnect closes the connections of an nkey.
func (s *Server) disconnect(nkey string) (closed int, err error) {
	conns, err := s.server().Connz(&server.ConnzOptions{User: nkey, Limit: 1 << 30})
	if err != nil {
		return 0, fmt.Errorf("find the connections of a revoked user: %w", err)
	}
	for _, c := range conns.Conns {
		if s.server().DisconnectClientByID(c.Cid) == nil { // else it is closed already
			closed++
		}
	}
	return closed, nil
}
