//go:build unix

package embedded

import (
	"fmt"
	"os"
	"syscall"
)

// checkOwned refuses a path that belongs to another user, or that has one of the permission bits of forbidden.
func checkOwned(path string, forbidden os.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("check owner and mode: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d and this process runs as user %d: run it as that user, or use another data directory", path, stat.Uid, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%s has mode %04o, open to other users: run chmod %04o %s", path, mode, mode&^forbidden, path)
	}
	return nil
}

// syncDirectory makes a rename in the directory survive a power failure.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
