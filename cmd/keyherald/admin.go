package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

const (
	adminName  events.Name  = "sc_admin"
	adminKeyID events.KeyID = "admin1"
	adminScope              = "clients:read clients:write keys:write"
)

// makeAdmin registers the first admin, whose access key goes to a file, and tells whether it did. The file comes before the
// registration: a start that is cut off anywhere is completed by the next one. A registry whose admin has, or ever had,
// a key is left as it is.
func makeAdmin(ctx context.Context, reg *registry.Registry, caller registry.Caller, set *events.Set, file, account string) (bool, error) {
	if len(set.Keys(adminName)) > 0 {
		return false, nil
	}
	key, err := adminKey(file, account)
	if err != nil {
		return false, fmt.Errorf("making the first admin: %w", err)
	}
	scope, err := events.ParseScope(adminScope)
	if err != nil {
		return false, err
	}
	_, err = reg.CreateClient(ctx, caller, adminName, registry.ClientSpec{
		Scope: scope, Audience: []string{account + ".accounts.authress.io"}, Offline: true,
	})
	if err != nil && !errors.Is(err, registry.ErrExists) {
		return false, fmt.Errorf("making the first admin: %w", err)
	}
	if _, err := reg.AddKey(ctx, caller, adminName, registry.KeySpec{KeyID: key.KeyID, Public: key.Private().Public()}); err != nil {
		return false, fmt.Errorf("making the first admin: %w", err)
	}
	return true, nil
}

// adminKey reads the admin's access key, or makes one and writes it down.
func adminKey(file, account string) (events.AccessKey, error) {
	text, err := readSecret(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return events.AccessKey{}, err
	default:
		key, err := events.ParseAccessKey(text)
		if err != nil || key.Client != adminName || key.Account != account {
			return key, fmt.Errorf("file %s is not an access key of this registry's admin: move it away", file)
		}
		return key, nil
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return events.AccessKey{}, err
	}
	key, err := events.NewAccessKey(adminName, adminKeyID, account, private)
	if err != nil {
		return key, err
	}
	return key, replaceFile(file, []byte(key.Reveal()+"\n"))
}
