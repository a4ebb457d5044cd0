package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
)

// openKeys reads the credential of every role, and makes those that are not there. It returns their public keys. To
// replace a credential that has leaked, remove its file and start again.
func (d *directory) openKeys() (map[bus.Role]string, error) {
	keys := make(map[bus.Role]string)
	owners := make(map[string]bus.Role)
	for _, role := range bus.Roles() {
		path := d.keyFile(role)
		public, err := readKey(path)
		if errors.Is(err, fs.ErrNotExist) {
			public, err = makeKey(path)
		}
		if err != nil {
			return nil, err
		}
		if other, taken := owners[public]; taken {
			return nil, fmt.Errorf("%s and %s hold the same key, and a key has one role: remove one of the files, and it is made anew", d.keyFile(other), path)
		}
		owners[public] = role
		keys[role] = public
	}
	return keys, nil
}

// readKey checks the seed in a file and returns its public key.
func readKey(path string) (string, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read key file: %w", err)
	}
	defer clear(seed)
	if err := checkOwned(path, 0o077); err != nil {
		return "", err
	}
	// The library's errors are not passed on: this is about a secret.
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", fmt.Errorf("key file %s does not hold an nkey seed: restore it, or remove it to have a new one made", path)
	}
	defer pair.Wipe()
	public, err := pair.PublicKey()
	if err != nil || !bus.IsUserNkey(public) {
		return "", fmt.Errorf("key file %s holds an nkey that is not a user's (SU…): restore it, or remove it to have a new one made", path)
	}
	return public, nil
}

func makeKey(path string) (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	defer clear(seed)
	if err := writeFile(path, append(bytes.Clone(seed), '\n')); err != nil {
		return "", err
	}
	return pair.PublicKey()
}
