package snapshot

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

const (
	// maxFile is the size of a snapshot, in bytes: a million clients with a key each take 280 MB.
	maxFile = 1 << 30
	// maxConfirmed is the size of what says when a snapshot was confirmed.
	maxConfirmed = 1 << 10
	// leftoverAge is how long after it was last written to a file that is being written is nobody's any more.
	leftoverAge = 10 * time.Minute

	confirmedSuffix = ".confirmed"
	tempInfix       = ".new-"
)

// file is the snapshot on the disk.
type file struct{ path string }

// read reads the snapshot, with the later of the two times at which it is said to have been confirmed. The error is fs.ErrNotExist
// if there is none.
func (f file) read() (*events.Snapshot, events.Digest, error) {
	data, err := readOwned(f.path, maxFile)
	if err != nil {
		return nil, events.Digest{}, err
	}
	s, digest, err := events.DecodeSnapshot(data)
	if err != nil {
		return nil, events.Digest{}, err
	}
	at, err := f.confirmed(digest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, events.Digest{}, err
	}
	if at.After(s.Confirmed) {
		s.Confirmed = at
	}
	return s, digest, nil
}

// write makes the snapshot the one on the disk.
func (f file) write(s *events.Snapshot) (digest events.Digest, err error) {
	err = replace(f.path, func(w io.Writer) (err error) {
		digest, err = s.Encode(&limited{w, maxFile})
		return err
	})
	return digest, err
}

// confirm notes that the snapshot with the given digest was complete at a later time.
func (f file) confirm(digest events.Digest, at time.Time) error {
	return replace(f.path+confirmedSuffix, func(w io.Writer) error {
		_, err := io.WriteString(w, confirmedText(digest, at.Unix()))
		return err
	})
}

// confirmed is when the snapshot with the given digest was complete, or zero if that is not known. A file that is damaged, or stands for
// another snapshot, says nothing.
func (f file) confirmed(digest events.Digest) (time.Time, error) {
	data, err := readOwned(f.path+confirmedSuffix, maxConfirmed)
	if err != nil {
		return time.Time{}, err
	}
	var at int64
	if _, err := fmt.Sscanf(string(data), confirmedFormat, &at); err != nil || string(data) != confirmedText(digest, at) {
		return time.Time{}, nil
	}
	return time.Unix(at, 0), nil
}

const confirmedFormat = "keyherald snapshot 1 confirmed %d"

// confirmedText is the whole content of FILE.confirmed. The digest of the snapshot stands for what was confirmed, and a digest over both
// for that nothing is damaged.
func confirmedText(digest events.Digest, at int64) string {
	text := fmt.Sprintf(confirmedFormat+" %x", at, digest)
	return fmt.Sprintf("%s %x\n", text, sha256.Sum256([]byte(text)))
}

// clean removes what processes that were killed have half written.
func (f file) clean(now time.Time) error {
	dir, base := filepath.Split(f.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), base)
		if rest = strings.TrimPrefix(rest, confirmedSuffix); !ok || !strings.HasPrefix(rest, tempInfix) {
			continue
		}
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < leftoverAge {
			continue // gone, or being written
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// readOwned reads a file that only this user can have written.
func readOwned(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file but %s", path, info.Mode().Type())
	}
	if err := checkOwner(info); err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so that others can write it: find out who has, then run chmod 0600 %s", path, mode, path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), limit)
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	return data, err
}

// replace puts a file of mode 0600 in the place of path. It is complete and on the disk before it is there, and not there if anything fails.
func replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+tempInfix) // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// limited is a writer that takes so many bytes.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, fmt.Errorf("the key set needs more than %d bytes", maxFile)
	}
	return l.w.Write(p)
}
