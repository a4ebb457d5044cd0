package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

const (
	adminName  events.Name  = "sc_admin"
	adminKeyID events.KeyID = "admin1"
	adminScope              = registry.ScopeClientsRead + " " + registry.ScopeClientsWrite + " " + registry.ScopeKeysWrite
)

// makeAdmin registers the first admin, whose access key goes to file, and tells whether it did. A registry whose admin has, or ever had,
// a key is left as it is.
//
// The private half is on disk, as file.new, before the key is registered, and gets its name after that. So a start that is cut off anywhere is
// completed by the next one in the same directory. The kid is fixed and registering is a compare-and-set: of several nodes that start at the same
// time on an empty registry, each in its own directory, one has the key that counts, and the others throw theirs away. If that directory is lost,
// nobody else has the key; an operator replaces it with key rotate.
//
// An admin may call the registry's API, by an offline token for the account or the platform, or an online one. What else it may hand on to other
// clients, an operator has to give it.
func makeAdmin(ctx context.Context, reg *registry.Registry, caller registry.Caller, set *events.Set, file string, platform *events.Issuer) (bool, error) {
	made, err := registerAdmin(ctx, reg, caller, set, file, platform)
	if err != nil {
		return false, fmt.Errorf("making the first admin: %w", err)
	}
	return made, nil
}

func registerAdmin(ctx context.Context, reg *registry.Registry, caller registry.Caller, set *events.Set, file string, platform *events.Issuer) (bool, error) {
	pending := file + ".new"
	if len(set.Keys(adminName)) > 0 {
		key, err := readAdminKey(pending, platform.Account)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		return keepAdminKey(set.Keys(adminName), key, file, pending) // of a start that was cut off
	}
	key, err := pendingAdminKey(file, pending, platform.Account)
	if err != nil {
		return false, err
	}
	scope, err := events.ParseScope(adminScope)
	if err != nil {
		return false, err
	}
	_, err = reg.CreateClient(ctx, caller, adminName, registry.ClientSpec{
		Scope: scope, Audience: []string{events.AccountAudience(platform.Account), platform.Iss}, Offline: true,
	})
	if err != nil && !errors.Is(err, registry.ErrExists) {
		return false, err
	}
	_, err = reg.AddKey(ctx, caller, adminName, registry.KeySpec{KeyID: key.KeyID, Public: key.Private().Public()})
	if err != nil && !errors.Is(err, registry.ErrExists) && !errors.Is(err, registry.ErrKeyTaken) {
		return false, err
	}
	keys, err := reg.Keys(ctx, adminName) // from a set that is brought up to date
	if err != nil {
		return false, err
	}
	return keepAdminKey(keys, key, file, pending)
}

// keepAdminKey gives the access key its file, if it is the one that was registered, and throws it away otherwise.
func keepAdminKey(keys []*events.KeyEntry, key events.AccessKey, file, pending string) (bool, error) {
	public := key.Private().Public().(ed25519.PublicKey)
	registered := slices.ContainsFunc(keys, func(e *events.KeyEntry) bool { return e.Record != nil && public.Equal(e.Record.Public) })
	if registered {
		if err := replaceFile(file, []byte(key.Reveal()+"\n")); err != nil {
			return false, err
		}
	}
	if err := os.Remove(pending); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return registered, nil
}

// pendingAdminKey reads the access key that an earlier start has left behind, or makes one and writes it down.
func pendingAdminKey(file, pending, account string) (events.AccessKey, error) {
	for _, name := range []string{file, pending} {
		if key, err := readAdminKey(name, account); !errors.Is(err, fs.ErrNotExist) {
			return key, err
		}
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return events.AccessKey{}, err
	}
	key, err := events.NewAccessKey(adminName, adminKeyID, account, private)
	if err != nil {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return key, err
	}
	err = createFile(pending, []byte(key.Reveal()+"\n"))
	if errors.Is(err, fs.ErrExist) { // another process in the same directory, which may be done by now
		return pendingAdminKey(file, pending, account)
	}
	return key, err
}

func readAdminKey(file, account string) (events.AccessKey, error) {
	text, err := readSecret(file)
	if err != nil {
		return events.AccessKey{}, err
	}
	key, err := events.ParseAccessKey(text)
	if err != nil || key.Client != adminName || key.Account != account {
		return key, fmt.Errorf("file %s is not an access key of this registry's admin: move it away", file)
	}
	return key, nil
}
