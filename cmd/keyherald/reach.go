package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// reach says how a command gets to the buckets.
type reach struct {
	Data    string        `help:"Data directory of a keyherald serve on this machine." default:"data" placeholder:"DIR"`
	NATS    string        `name:"nats" help:"NATS server to use instead, such as nats://host:4222." placeholder:"URL"`
	Nkey    string        `help:"File with the nkey seed for --nats." placeholder:"FILE" type:"path"`
	Creds   string        `help:"File with the credentials (user JWT and seed) for --nats." placeholder:"FILE" type:"path"`
	Timeout time.Duration `help:"How long to try." default:"15s"`
}

// config returns how to connect as a role.
func (r reach) config(a *app, role bus.Role) (bus.Config, error) {
	if r.NATS != "" {
		return bus.Config{URL: r.NATS, SeedFile: r.Nkey, CredsFile: r.Creds, Logger: a.log}, nil
	}
	if r.Nkey != "" || r.Creds != "" {
		return bus.Config{}, &exitError{exitUsage, errors.New("--nkey and --creds go with --nats")}
	}
	at, err := readAddress(r.Data)
	if err != nil {
		return bus.Config{}, err
	}
	return bus.Config{URL: at.NATS, SeedFile: filepath.Join(r.Data, "nats", string(role)+".nk"), Logger: a.log}, nil
}

// connect connects as a role. The context that it returns ends with the command's time.
func (r reach) connect(a *app, role bus.Role) (context.Context, *bus.Conn, func(), error) {
	ctx, cancel := context.WithTimeout(a.ctx, r.Timeout)
	cfg, err := r.config(a, role)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	conn, err := bus.Connect(ctx, cfg)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, conn, func() { conn.Close(); cancel() }, nil
}

// office is a connected registry.
type office struct {
	*registry.Registry
	ctx  context.Context
	keys *bus.KeySet
	conn *bus.Conn
}

// withRegistry calls f with a registry over a complete live set.
func (r reach) withRegistry(a *app, f func(office) error) error {
	ctx, conn, done, err := r.connect(a, bus.Operator)
	if err != nil {
		return err
	}
	defer done()
	keys := conn.FollowKeys(a.log)
	defer keys.Close()
	if err := keys.Wait(ctx); err != nil {
		return err
	}
	reg, err := registry.New(registry.Config{Store: conn, Keys: keys, Logger: a.log})
	if err != nil {
		return err
	}
	return f(office{reg, ctx, keys, conn})
}

// address is where a serve can be reached. It is written for other commands on the same machine.
type address struct {
	NATS   string `json:"nats"`
	Issuer string `json:"issuer"`
	HTTP   string `json:"http"`
}

func addressFile(dir string) string { return filepath.Join(dir, "serve.json") }

func readAddress(dir string) (address, error) {
	var at address
	text, err := os.ReadFile(addressFile(dir))
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return at, fmt.Errorf("looking up the NATS server of data directory %s: %w", dir, err)
	}
	return at, nil
}

func writeAddress(dir string, at address) error {
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return replaceFile(addressFile(dir), append(text, '\n'))
}

// replaceFile writes a file whole or not at all, for its owner only.
func replaceFile(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // is gone already if all went well
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
