package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nkeys"
)

// users of NATS, by role.
type users map[string]user

type user struct {
	seed   []byte
	public string
}

// openUsers reads the seeds of an earlier start, and makes those that are missing.
func openUsers(dir string) (users, error) {
	all := users{}
	for _, role := range []string{"admin", "operator", "issuer", "verifier"} {
		u, err := openUser(filepath.Join(dir, role+".nk"))
		if err != nil {
			return nil, err
		}
		all[role] = u
	}
	return all, nil
}

func openUser(file string) (user, error) {
	seed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return user{}, err
		}
		if seed, err = pair.Seed(); err != nil {
			return user{}, err
		}
		if err := create(file, seed); err != nil {
			return user{}, err
		}
	} else if err != nil {
		return user{}, err
	}
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return user{}, fmt.Errorf("file %s: %w", file, err)
	}
	public, err := pair.PublicKey()
	return user{seed, public}, err
}

// config returns the part of a NATS server's configuration that says what the users may do.
func (all users) config(keyherald string) ([]byte, error) {
	var list []string
	for _, role := range slices.Sorted(maps.Keys(all)) {
		list = append(list, role+"="+all[role].public)
	}
	cmd := exec.Command(keyherald, "init", "--print-roles", strings.Join(list, ","))
	cmd.Stderr = os.Stderr
	config, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s what the roles may do: %w", keyherald, err)
	}
	return config, nil
}
