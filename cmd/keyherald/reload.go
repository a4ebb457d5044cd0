package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// reloadEvery is how often files are looked at. Whoever renews a certificate does so days before the old one ends.
const reloadEvery = 5 * time.Second

// reloaded is a value that is made from files, and made again when one of them changes. What cannot be read does not replace what could.
type reloaded[T any] struct {
	what  string // for the log
	files []string
	read  func() (*T, error)
	value atomic.Pointer[T]

	seen   []fileState // when read was called last; of the goroutine that looks
	failed string      // why it could not be read; empty: it could
}

// fileState is what changes when a file does. A file that is replaced through a symbolic link, as Kubernetes does, has another one, too.
type fileState struct {
	modified time.Time
	size     int64
}

func newReloaded[T any](what string, read func() (*T, error), files ...string) (*reloaded[T], error) {
	r := &reloaded[T]{what: what, files: files, read: read, seen: stateOf(files)}
	value, err := read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	r.value.Store(value)
	return r, nil
}

// stateOf describes files. One that is not there has no state, and is missed by whoever reads it.
func stateOf(files []string) []fileState {
	states := make([]fileState, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			states[i] = fileState{info.ModTime(), info.Size()}
		}
	}
	return states
}

// look reads the files again if they have changed, or could not be read the last time: of two files that belong together, one changes first.
func (r *reloaded[T]) look(log zerolog.Logger) {
	now := stateOf(r.files) // before they are read: what changes meanwhile is seen the next time
	if slices.Equal(now, r.seen) && r.failed == "" {
		return
	}
	value, err := r.read()
	switch {
	case err == nil:
		r.value.Store(value)
		log.Info().Str("what", r.what).Strs("files", r.files).Msg("files read again")
		r.failed = ""
	case err.Error() != r.failed || !slices.Equal(now, r.seen):
		log.Error().Str("what", r.what).Strs("files", r.files).Str("reason", err.Error()).Msg("files have changed and cannot be used: what was read before stays in use")
		r.failed = err.Error()
	}
	r.seen = now
}

// every looks again and again until ctx is done.
func every(ctx context.Context, d time.Duration, look func()) error {
	again := time.NewTicker(d)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			look()
		case <-ctx.Done():
			return nil
		}
	}
}
