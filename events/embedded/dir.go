package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/keyherald/keyherald/events/bus"
)

const (
	subdirectory = "nats"    // of the data directory
	storeDir     = "store"   // JetStream's files
	lockFile     = "lock"    // held by the running server; contains its process id, for messages only
	versionFile  = "VERSION" // of the layout of this directory
	keySuffix    = ".nk"     // <role>.nk: an nkey seed
	tempPrefix   = ".new-"   // a file that is being written

	version = 1
)

// directory is Dir/nats, locked.
type directory struct {
	path string
	lock *flock.Flock
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) keyFile(r bus.Role) string { return d.file(string(r) + keySuffix) }

// openDirectory makes the directory if need be, locks it and checks that it is ours and of a version that we know. Each
// step may be the one after which an earlier start was killed.
func openDirectory(dir string) (_ *directory, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("find data directory: %w", err)
	}
	d := &directory{path: filepath.Join(dir, subdirectory)}
	if err := makeOwned(dir, 0o002); err != nil { // or anybody could move ours away
		return nil, err
	}
	if err := makeOwned(d.path, 0o077); err != nil {
		return nil, err
	}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = d.release()
		}
	}()
	if err := d.checkVersion(); err != nil {
		return nil, err
	}
	if err := d.removeLeftovers(); err != nil {
		return nil, err
	}
	return d, nil
}

// makeOwned makes a directory for our eyes only, or checks one that exists.
func makeOwned(path string, forbidden os.FileMode) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	return checkOwned(path, forbidden)
}

// acquire takes the lock. The system drops it when the process ends, however it ends.
func (d *directory) acquire() error {
	d.lock = flock.New(d.file(lockFile), flock.SetPermissions(0o600))
	locked, err := d.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	if !locked {
		holder := ""
		if pid, err := os.ReadFile(d.file(lockFile)); err == nil && len(pid) > 0 {
			holder = " (process " + strings.TrimSpace(string(pid)) + ")"
		}
		return fmt.Errorf("data directory %s is in use by another keyherald%s: stop that one, or use another directory", d.path, holder)
	}
	if err := os.WriteFile(d.file(lockFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		_ = d.release()
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

func (d *directory) release() error {
	if err := d.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock data directory: %w", err)
	}
	return nil
}

// removeLeftovers removes what a start that was killed has half written.
func (d *directory) removeLeftovers() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(d.file(e.Name())); err != nil {
				return fmt.Errorf("remove leftover: %w", err)
			}
		}
	}
	return nil
}

// checkVersion reads VERSION, or writes it into a new directory. It is written before anything else, so a directory
// that has files and no VERSION was made by something else.
func (d *directory) checkVersion() error {
	text, err := os.ReadFile(d.file(versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return d.writeVersion()
	}
	if err != nil {
		return fmt.Errorf("read version of data directory: %w", err)
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil || have < 1:
		return fmt.Errorf("data directory %s: %s holds no version number: restore it from a backup, or write %d into it", d.path, versionFile, version)
	case have > version:
		return fmt.Errorf("data directory %s has version %d, made by a newer keyherald; this one knows up to %d: use the newer one", d.path, have, version)
	}
	return nil
}

func (d *directory) writeVersion() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("read data directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockFile && !strings.HasPrefix(e.Name(), tempPrefix) {
			return fmt.Errorf("%s was not made by keyherald: it contains %s and no %s: use another data directory", d.path, e.Name(), versionFile)
		}
	}
	return writeFile(d.file(versionFile), []byte(strconv.Itoa(version)+"\n"))
}

// writeFile makes a file of mode 0600 that is either complete and on the disk or not there.
func writeFile(path string, content []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix) // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
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
		_ = os.Remove(f.Name())
		return err
	}
	return syncDirectory(filepath.Dir(path))
}
