//go:build !unix

package embedded

import "os"

// checkOwned does nothing where files have neither a numeric owner nor permission bits.
func checkOwned(string, os.FileMode) error { return nil }

// syncDirectory does nothing where a directory cannot be synced.
func syncDirectory(string) error { return nil }
