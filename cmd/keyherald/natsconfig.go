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

type natsJWTCmd struct {
	Dir    string   `help:"Directory with the private keys (keys/*.nk), operator and account (operator.jwt, account.jwt) and the users' credentials (NAME.creds). What is not there is made, the rest stays. Keep it away from the servers." required:"" placeholder:"DIR" type:"path"`
	Revoke []string `help:"User to revoke for ever; may be repeated. It counts when the servers have reloaded the configuration." placeholder:"NAME" sep:"none"`
	Users  []string `arg:"" name:"user" optional:"" help:"Whom to make credentials, as [NAME:]ROLE; the roles are admin, operator, issuer and verifier."`
}

// Help is what to know of the files.
func (*natsJWTCmd) Help() string {
	return `Users can be added at any time: their credentials are signed by a key of their role, and servers need not be told. After --revoke, or with a newer keyherald, whose roles may do other things, put what is printed into the configuration of every server, and reload it (nats-server --signal reload).

Who has keys/ may make users of any role, and so write every record. A user that is revoked stays so, and its name is not given again as long as NAME.creds is there.`
}

func (c *natsJWTCmd) Run(a *app) error {
	users, err := parseNATSUsers(c.Users)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Nkey != "" {
			return usage("the nkey of %s is made here: leave it out", u.Name)
		}
	}
	trust, err := c.open()
	if err != nil {
		return err
	}
	operator, err := c.keep("operator.jwt", trust.Operator)
	if err != nil {
		return err
	}
	account, err := c.account(trust)
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := c.credentials(a, trust, u); err != nil {
			return err
		}
	}
	text, err := trust.Server(operator, account)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.out, text)
	return err
}

func (c *natsJWTCmd) file(name string) string { return filepath.Join(c.Dir, name) }

// open reads the private keys, or makes them.
func (c *natsJWTCmd) open() (*natsconfig.Trust, error) {
	return natsconfig.OpenTrust(func(key natsconfig.Key) ([]byte, error) {
		_, seed, err := keepNkey(filepath.Join(c.Dir, "keys", key.Name+".nk"), key.Kind)
		return seed, err
	})
}

// account makes the account's JWT anew, with all revocations that there were.
func (c *natsJWTCmd) account(trust *natsconfig.Trust) (string, error) {
	var revoked []string
	for _, name := range c.Revoke {
		creds, err := os.ReadFile(c.file(name + ".creds"))
		if err != nil {
			return "", fmt.Errorf("looking up user %s: %w", name, err)
		}
		nkey, err := natsconfig.NkeyOf(creds)
		if err != nil {
			return "", fmt.Errorf("file %s: %w", c.file(name+".creds"), err)
		}
		revoked = append(revoked, nkey)
	}
	return c.keep("account.jwt", func(previous string) (string, error) { return trust.Account(previous, revoked...) })
}

// keep writes a JWT that is made of the previous one, which is empty the first time.
func (c *natsJWTCmd) keep(name string, from func(previous string) (string, error)) (string, error) {
	previous, err := os.ReadFile(c.file(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	text, err := from(strings.TrimSpace(string(previous)))
	if err != nil {
		return "", fmt.Errorf("file %s: %w", c.file(name), err)
	}
	return text, replaceFile(c.file(name), []byte(text+"\n"))
}

// credentials makes a user's, if there are none of that name.
func (c *natsJWTCmd) credentials(a *app, trust *natsconfig.Trust, u natsconfig.User) error {
	file := c.file(u.Name + ".creds")
	if _, err := os.Stat(file); err == nil {
		fmt.Fprintf(a.err, "keyherald: %s is there already and stays as it is\n", file)
		return nil
	}
	nkey, seed, err := newNkey(nkeys.PrefixByteUser)
	if err != nil {
		return err
	}
	defer clear(seed)
	u.Nkey = nkey
	creds, err := trust.Creds(u, seed)
	if err != nil {
		return err
	}
	return createFile(file, creds)
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
		return public, seed, createFile(file, seed)
	}
	if err != nil {
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
