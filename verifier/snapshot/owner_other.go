//go:build !unix

package snapshot

import "os"

func openFile(path string) (*os.File, error) { return os.Open(path) }

// checkOwner does nothing where files have no numeric owner.
func checkOwner(os.FileInfo) error { return nil }

// syncDirectory does nothing where a directory cannot be synced.
func syncDirectory(string) error { return nil }
