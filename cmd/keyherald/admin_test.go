package main

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
)

// adminDesk is a registry with a platform, and a data directory.
type adminDesk struct {
	t       *testing.T
	reg     *registry.Registry
	keys    *bus.KeySet
	account string
	file    string
}

func newAdminDesk(t *testing.T) *adminDesk {
	t.Helper()
	conn := eventstest.Server(t).Connect(bus.Operator)
	d := &adminDesk{t: t, keys: conn.FollowKeys(zerolog.Nop()), file: filepath.Join(t.TempDir(), "d", "admin.key")}
	t.Cleanup(d.keys.Close)
	if err := d.keys.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.reg, err = registry.New(registry.Config{Store: conn, Keys: d.keys}); err != nil {
		t.Fatal(err)
	}
	platform, err := d.reg.EnsurePlatform(t.Context(), registry.Caller{Name: "test"}, "https://auth.example.com")
	if err != nil {
		t.Fatal(err)
	}
	d.account = platform.Account
	return d
}

// start is the part of a start that makes the admin.
func (d *adminDesk) start() bool {
	d.t.Helper()
	if err := d.keys.Sync(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
	made, err := makeAdmin(d.t.Context(), d.reg, registry.Caller{Name: "test"}, d.keys.Keys(), d.file, &events.Issuer{Account: d.account, Iss: "https://auth.example.com"})
	if err != nil {
		d.t.Fatal(err)
	}
	return made
}

// leave writes an access key as a start that was cut off has left it behind.
func (d *adminDesk) leave(file string) events.AccessKey {
	d.t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := events.NewAccessKey(adminName, adminKeyID, d.account, private)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(key.Reveal()), 0o600)); err != nil {
		d.t.Fatal(err)
	}
	return key
}

// registered is the one key of the admin.
func (d *adminDesk) registered() ed25519.PublicKey {
	d.t.Helper()
	keys, err := d.reg.Keys(d.t.Context(), adminName)
	if err != nil || len(keys) != 1 {
		d.t.Fatalf("the admin has the keys %v (%v), want one", keys, err)
	}
	return keys[0].Record.Public.(ed25519.PublicKey)
}

// holds reports whether the file has the key that is registered. There must be no other file.
func (d *adminDesk) holds() bool {
	d.t.Helper()
	if _, err := os.Stat(d.file + ".new"); !errors.Is(err, fs.ErrNotExist) {
		d.t.Errorf("the key that was not settled is still there: %v", err)
	}
	text, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	key, keyErr := events.ParseAccessKey(strings.TrimSpace(string(text)))
	if err := errors.Join(err, keyErr); err != nil {
		d.t.Fatal(err)
	}
	if !d.registered().Equal(key.Private().Public()) {
		d.t.Error("the file has a key that is not the registered one")
	}
	return true
}

func TestAFirstStartThatWasCutOffIsCompletedByTheNext(t *testing.T) {
	for name, test := range map[string]struct {
		happened func(d *adminDesk) // before the start
		made     bool
	}{
		"nothing":                          {func(d *adminDesk) {}, true},
		"cut off before the registration":  {func(d *adminDesk) { d.leave(d.file + ".new") }, true},
		"cut off so by an earlier version": {func(d *adminDesk) { d.leave(d.file) }, true},
		"cut off after the registration": {func(d *adminDesk) {
			d.start()
			if err := os.Rename(d.file, d.file+".new"); err != nil {
				d.t.Fatal(err)
			}
		}, true},
		"done": {func(d *adminDesk) { d.start() }, false},
		"done, and the key was moved elsewhere": {func(d *adminDesk) {
			d.start()
			if err := os.Remove(d.file); err != nil {
				d.t.Fatal(err)
			}
		}, false},
		"another node was faster":                       {func(d *adminDesk) { d.elsewhere() }, false},
		"another node was faster, and this was cut off": {func(d *adminDesk) { d.elsewhere(); d.leave(d.file + ".new") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newAdminDesk(t)
			test.happened(d)
			if made := d.start(); made != test.made {
				t.Errorf("made the admin: %v, want %v", made, test.made)
			}
			if holds := d.holds(); holds != (test.made || name == "done") {
				t.Errorf("the directory has the key: %v", holds)
			}
			before := d.registered()
			if d.start() || !d.registered().Equal(before) {
				t.Error("one more start has made another admin")
			}
		})
	}
}

// elsewhere is a first start of another node, with another directory.
func (d *adminDesk) elsewhere() {
	d.t.Helper()
	other := *d
	other.file = filepath.Join(d.t.TempDir(), "admin.key")
	if !other.start() {
		d.t.Fatal("the other node made no admin")
	}
}

func TestAnAdminKeyOfAnotherRegistryIsNotTakenForThisOnes(t *testing.T) {
	d := newAdminDesk(t)
	other := *d
	other.account = "acc-somebodyelse"
	key := other.leave(d.file)
	_, err := makeAdmin(t.Context(), d.reg, registry.Caller{}, d.keys.Keys(), d.file, &events.Issuer{Account: d.account, Iss: "https://auth.example.com"})
	if err == nil || !strings.Contains(err.Error(), "move it away") || strings.Contains(err.Error(), key.Reveal()) {
		t.Errorf("error %v", err)
	}
}

func TestOfManyFirstStartsAtOnceOneMakesTheAdmin(t *testing.T) {
	server := eventstest.Server(t)
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	var desks []*adminDesk
	for i := range 6 { // two in each directory
		conn := server.Connect(bus.Operator)
		d := &adminDesk{t: t, keys: conn.FollowKeys(zerolog.Nop()), file: filepath.Join(dirs[i%3], "admin.key")}
		t.Cleanup(d.keys.Close)
		var err error
		if d.reg, err = registry.New(registry.Config{Store: conn, Keys: d.keys}); err != nil {
			t.Fatal(err)
		}
		if err := d.keys.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		desks = append(desks, d)
	}
	var starting sync.WaitGroup
	accounts := make([]string, len(desks))
	for i, d := range desks {
		starting.Go(func() {
			platform, err := d.reg.EnsurePlatform(t.Context(), registry.Caller{Name: "test"}, "https://auth.example.com")
			if err != nil {
				t.Error(err)
				return
			}
			accounts[i] = platform.Account
			if _, err := makeAdmin(t.Context(), d.reg, registry.Caller{Name: "test"}, d.keys.Keys(), d.file, platform); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if accounts = slices.Compact(accounts); len(accounts) != 1 {
		t.Errorf("there are the accounts %v", accounts)
	}
	holders := 0
	for _, d := range desks[:3] {
		if d.holds() {
			holders++
		}
	}
	if holders != 1 {
		t.Errorf("%d directories have the admin's key, want one", holders)
	}
}
