package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// secretOut is where a secret goes that is shown once. What a shell makes of > is for all to read, unless the umask is 077.
type secretOut struct {
	Out string `help:"File to write the secret to, for its owner only, instead of standard output. It must not exist." placeholder:"FILE" type:"path"`
}

// hand calls f with where to write the secret that it makes. A file is made before, and is gone again if f fails.
func (s secretOut) hand(a *app, f func(io.Writer) error) error {
	if s.Out == "" {
		return f(a.out)
	}
	file, err := os.OpenFile(s.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return notCreated(s.Out, err)
	}
	err = errors.Join(f(durable{file}), file.Close())
	if err != nil {
		return errors.Join(err, os.Remove(s.Out))
	}
	return nil
}

// where says where the secret went.
func (s secretOut) where() string {
	if s.Out == "" {
		return "printed this once"
	}
	return "in " + s.Out
}

// durable is a file that has on the disk what was written to it.
type durable struct{ file *os.File }

func (d durable) Write(p []byte) (int, error) {
	n, err := d.file.Write(p)
	if err == nil {
		err = d.file.Sync()
	}
	return n, err
}

// notCreated says why a file could not be made, without the name that it had until it was whole.
func notCreated(name string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: choose another name", name)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s cannot be written: there is no directory %s", name, filepath.Dir(name))
	case errors.As(err, &errno):
		return fmt.Errorf("%s cannot be written: %w", name, errno)
	}
	return err
}
