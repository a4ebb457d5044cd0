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
	if c.Listen == "" { // package net would take any port of all addresses
		return nil, usage("--listen is empty: say where the proxy asks, as host:port or unix:PATH")
	}
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
	switch {
	case path == "":
		return nil, usage("--listen unix: is without a path")
	case path[0] == '@':
		return nil, usage("--listen %s: such a socket is in no directory, and any process may write to it: say unix:PATH", c.Listen)
	case len(path) > maxSocketPath:
		return nil, usage("--listen: the path of the socket has %d bytes, more than %d: choose a shorter one", len(path), maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}
	l, err := listenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}
	if err := os.Chmod(path, fs.FileMode(mode)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// maxSocketPath is the length of a socket's path, in bytes: what sun_path holds on Linux, without the zero at its end.
const maxSocketPath = 107

// listenPrivately listens on a socket that is nobody's but its owner's until the caller has changed that: see ownersOnly.
func listenPrivately(path string) (net.Listener, error) {
	listening := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		var err error
		failed := socket.Control(func(fd uintptr) { err = ownersOnly(fd) })
		return errors.Join(failed, err)
	}}
	return listening.Listen(context.Background(), "unix", path)
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
