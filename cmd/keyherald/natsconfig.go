package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/natsconfig"
)

// natsConfigCmd says to a NATS server that is not ours what the roles may do. Nothing is connected.
type natsConfigCmd struct {
	Nkeys natsNkeysCmd `cmd:"" help:"Print an account with users by their nkeys, for the configuration of a NATS server."`
	JWT   natsJWTCmd   `cmd:"" name:"jwt" help:"Make an operator, an account and users by JWT, and print the configuration of a NATS server that trusts them."`
}

type natsNkeysCmd struct {
	Seeds string   `help:"Directory with the seeds (NAME.nk) of the users that are given without a public nkey. Those that are not there are made." placeholder:"DIR" type:"path"`
	Users []string `arg:"" name:"user" help:"Who may connect, as [NAME:]ROLE[=NKEY]; the roles are admin, operator, issuer and verifier."`
}

func (c *natsNkeysCmd) Run(a *app) error {
	users, err := parseNATSUsers(c.Users)
	if err != nil {
		return err
	}
	for i, u := range users {
		if u.Nkey != "" {
			continue
		}
		if c.Seeds == "" {
			return usage("there is no nkey of %s: give its public nkey, as %s:%s=U…, or a directory for its seed with --seeds", u.Name, u.Name, u.Role)
		}
		if users[i].Nkey, _, err = keepNkey(filepath.Join(c.Seeds, u.Name+".nk"), nkeys.PrefixByteUser); err != nil {
			return err
		}
	}
	text, err := natsconfig.Nkeys(users)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	_, err = io.WriteString(a.out, text)
	return err
}

// parseNATSUsers reads users as the command line has them: [NAME:]ROLE[=NKEY]. The name of one without is that of the role.
func parseNATSUsers(args []string) ([]natsconfig.User, error) {
	var users []natsconfig.User
	names := map[string]bool{}
	for _, arg := range args {
		who, nkey, given := strings.Cut(arg, "=")
		name, role, named := strings.Cut(who, ":")
		if !named {
			role = name
		}
		u := natsconfig.User{Name: name, Role: bus.Role(role), Nkey: nkey}
		if err := u.Check(); err != nil {
			return nil, &exitError{exitUsage, err}
		}
		if given && nkey == "" {
			return nil, usage("the nkey of %s is empty: is a variable not set?", name)
		}
		if names[name] {
			return nil, usage("there are two users %s: give them names, as billing:%s", name, role)
		}
		names[name] = true
		users = append(users, u)
	}
	return users, nil
}

// keepNkey returns the pair whose seed is in a file, and makes both if there is no file.
func keepNkey(file string, kind nkeys.PrefixByte) (public string, seed []byte, err error) {
	seed, err = os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", nil, err
		}
		if public, seed, err = newNkey(kind); err != nil {
			return "", nil, err
		}
		if err := createFile(file, seed); err != nil {
			return "", nil, err
		}
		return public, seed, nil
	}
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", nil, err
	}
	if err := checkSecretMode(file, info, "whoever has it acts as whom it is of"); err != nil {
		return "", nil, err
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "", nil, fmt.Errorf("file %s has no nkey seed in it", file)
	}
	public, err = pair.PublicKey()
	if err != nil || nkeys.Prefix(public) != kind {
		return "", nil, fmt.Errorf("file %s has an nkey of the kind %s in it, not %s", file, nkeys.Prefix(public), kind)
	}
	return public, seed, nil
}
