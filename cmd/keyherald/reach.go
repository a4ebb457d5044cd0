package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// place says where the buckets are.
type place struct {
	Data  string `group:"records" help:"Data directory of a keyherald serve on this machine." default:"data" placeholder:"DIR" type:"path"`
	NATS  string `group:"records" name:"nats" help:"NATS server to use instead, such as nats://host:4222." placeholder:"URL"`
	Nkey  string `group:"records" help:"File with the nkey seed for --nats." placeholder:"FILE" type:"path" xor:"credential"`
	Creds string `group:"records" help:"File with the credentials (user JWT and seed) for --nats." placeholder:"FILE" type:"path" xor:"credential"`

	natsTrust `group:"records"`
}

// reach says how a command gets to the buckets.
type reach struct {
	place
	Timeout time.Duration `group:"records" help:"How long the whole command may take to reach and read or write them." default:"15s" placeholder:"DURATION"`
}

// startPatience is how long a command waits for a serve that was started just before it. The first start of one writes some forty files and
// messages to the disk, one after the other.
const startPatience = 10 * time.Second

// config returns how to connect as a role.
func (r place) config(a *app, role bus.Role) (bus.Config, error) {
	if r.NATS != "" {
		return bus.Config{URL: r.NATS, SeedFile: r.Nkey, CredsFile: r.Creds, CAFile: r.NATSTLSCA, Logger: a.log}, nil
	}
	if r.Nkey != "" || r.Creds != "" {
		return bus.Config{}, usage("--nkey and --creds go with --nats")
	}
	at, err := readAddress(r.Data)
	if err != nil {
		return bus.Config{}, err
	}
	return bus.Config{
		URL: at.NATS, SeedFile: filepath.Join(r.Data, "nats", string(role)+".nk"), CAFile: cmp.Or(r.NATSTLSCA, at.NATSCA), ServerName: at.NATSName,
		Logger: a.log,
	}, nil
}

// explain says what to do when no credential was given and one is needed.
func (r place) explain(err error) error {
	if errors.Is(err, bus.ErrPermission) && r.NATS != "" && r.Nkey == "" && r.Creds == "" {
		return &hinted{err, "give a credential with --nkey or --creds"}
	}
	return err
}

// connect connects as a role. The context that it returns ends with the command's time.
func (r reach) connect(ctx context.Context, a *app, role bus.Role) (context.Context, *bus.Conn, func(), error) {
	if r.Timeout <= 0 {
		return nil, nil, nil, usage("--timeout %s leaves no time", r.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	conn, err := r.dial(ctx, a, role)
	if err != nil {
		cancel()
		return nil, nil, nil, err
	}
	return ctx, conn, func() { conn.Close(); cancel() }, nil
}

// dial connects once, and a little longer to a serve that may be just starting.
func (r reach) dial(ctx context.Context, a *app, role bus.Role) (*bus.Conn, error) {
	connect := func() (*bus.Conn, error) {
		cfg, err := r.config(a, role)
		if err != nil {
			return nil, err
		}
		cfg.Impatient = true
		conn, err := bus.Connect(ctx, cfg)
		return conn, r.explain(err)
	}
	conn, err := connect()
	if !notStarted(err) {
		return conn, err
	}
	patience := min(startPatience, r.Timeout)
	fmt.Fprintf(a.err, "keyherald: waiting up to %s for keyherald serve: %s\n", patience, oneLine(err))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for notStarted(err) {
		select {
		case <-again.C:
			conn, err = connect()
		case <-ctx.Done():
			return nil, err
		}
	}
	return conn, err
}

// notStarted reports whether an error is one that goes away when serve has started.
func notStarted(err error) bool {
	return errors.Is(err, errNoAddress) || errors.Is(err, bus.ErrUnreachable)
}

// office is a connected registry.
type office struct {
	*registry.Registry
	keys *bus.KeySet
	conn *bus.Conn // as operator
}

// withRegistry calls f with a registry over a complete live set, and the context of the command's time.
func (r reach) withRegistry(ctx context.Context, a *app, f func(context.Context, office) error) error {
	ctx, conn, done, err := r.connect(ctx, a, bus.Operator)
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
	return f(ctx, office{reg, keys, conn})
}

// address is where a serve can be reached. It is written for other commands on the same machine.
type address struct {
	NATS     string `json:"nats"`
	NATSCA   string `json:"nats_ca,omitempty"`   // file with the authorities of the server's certificate, if not those of the system
	NATSName string `json:"nats_name,omitempty"` // the server's name in it, if not that of the URL
	Issuer   string `json:"issuer"`
	HTTP     string `json:"http"`
	// SyncAlways says that the NATS server has each write on the disk before it acknowledges it: nobody else can read that.
	SyncAlways bool `json:"sync_always,omitempty"`
}

func addressFile(dir string) string { return filepath.Join(dir, "serve.json") }

// errNoAddress: no serve has written its address.
var errNoAddress = errors.New("no keyherald serve has started there yet")

func readAddress(dir string) (address, error) {
	var at address
	text, err := os.ReadFile(addressFile(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return at, &hinted{fmt.Errorf("data directory %s: %w", dir, errNoAddress),
			"is --data (KEYHERALD_DATA) the directory of a keyherald serve on this machine?"}
	case err != nil:
		return at, fmt.Errorf("looking up the NATS server of data directory %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &at); err != nil || at.NATS == "" {
		return at, fmt.Errorf("file %s does not say where the NATS server is: remove it, keyherald serve writes it when it starts", addressFile(dir))
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
func replaceFile(name string, text []byte) error { return writeFile(name, text, os.Rename) }

// createFile does so if there is none of that name; otherwise the error is fs.ErrExist.
func createFile(name string, text []byte) error { return writeFile(name, text, os.Link) }

func writeFile(name string, text []byte, place func(from, to string) error) error {
	return fillFile(name, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}, place)
}

// fillFile has a file filled under another name, and puts it in its place when it is on the disk. The place survives a power loss, too.
func fillFile(name string, fill func(io.Writer) error, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // is gone already if all went well
	if err = fill(f); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory survive a power loss. Windows has no such call.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
