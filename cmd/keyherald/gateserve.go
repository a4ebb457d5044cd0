package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// listen listens on the address of --listen.
func (c *gateCmd) listen() (net.Listener, error) {
	path, socket := strings.CutPrefix(c.Listen, "unix:")
	if !socket {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("listening for the proxy: %w (choose another address with --listen)", err)
		}
		return l, nil
	}
	mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
	if err != nil || mode > 0o777 {
		return nil, usage("--socket-mode %q is not of the form 0660", c.SocketMode)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}
	if err := os.Chmod(path, fs.FileMode(mode)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that a process has left behind that was killed. What is in use, or something else, stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and is no socket: remove it, or choose another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use by another process", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// serveGate answers until the process is told to stop, or what is done beside fails. Close is called when the last request is answered.
func serveGate(ctx context.Context, a *app, server *http.Server, l net.Listener, beside func(context.Context) error, close func()) error {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, 2)
	var running sync.WaitGroup
	running.Go(func() {
		if err := beside(working); err != nil {
			failed <- err
		}
	})
	running.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("http: %w", err)
		}
	})
	var err error
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.err, "keyherald: stopping; again to abort")
	case err = <-failed:
	}
	stop, stopCancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stopCancel()
	if err := server.Shutdown(stop); err != nil {
		a.log.Warn().Err(err).Msg("stopping http")
		server.Close()
	}
	cancel()
	running.Wait()
	close()
	return err
}
