package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/natsconfig"
)

type natsJWTCmd struct {
	Dir    string   `help:"Directory with the private keys (keys/*.nk), operator and account (operator.jwt, account.jwt), the list of all users (users.json) and their credentials (NAME.creds). What is not there is made, the rest stays. Keep it away from the servers." required:"" placeholder:"DIR" type:"path"`
	Revoke []string `help:"User to revoke for ever, by its name or public nkey (U…); may be repeated. It counts when the servers have reloaded the configuration." placeholder:"NAME" sep:"none"`
	Users  []string `arg:"" name:"user" optional:"" help:"Whom to make credentials, as [NAME:]ROLE; the roles are admin, operator, issuer and verifier."`
}

// Help is what to know of the files.
func (*natsJWTCmd) Help() string {
	return `Users can be added at any time: their credentials are signed by a key of their role, and servers need not be told. After --revoke, or with a newer keyherald, whose roles may do other things, put what is printed into the configuration of every server, and reload it (nats-server --signal reload).

Who has keys/ may make users of any role, and so write every record. Move NAME.creds to whom it is for: users.json remembers its nkey. A user that is revoked stays so; its name may be given again once NAME.creds is gone. Back up the directory: without account.jwt or users.json nobody knows who was revoked, and nothing more is done.`
}

// natsJWT is a directory of nats-config jwt, locked, with what is yet to be written there.
type natsJWT struct {
	dir     string
	users   *natsconfig.Register
	account string // the previous JWT; empty the first time
	made    []natsMade
}

// natsMade is a user whose credentials are yet to be written.
type natsMade struct {
	natsconfig.User
	seed []byte
}

func (c *natsJWTCmd) Run(ctx context.Context, a *app) error {
	users, err := parseNATSUsers(c.Users)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.Nkey != "" {
			return usage("the nkey of %s is made here: leave it out", u.Name)
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockDir(ctx, c.Dir, 10*time.Second)
	if err != nil {
		return err
	}
	defer unlock()
	d := &natsJWT{dir: c.Dir}
	if err := d.read(); err != nil {
		return err
	}
	var revoked []natsconfig.Issued
	for _, who := range c.Revoke {
		whom, err := d.users.Revoke(who, time.Now())
		if err != nil {
			return err
		}
		revoked = append(revoked, whom...)
	}
	for _, u := range users {
		if err := d.add(a, u); err != nil {
			return err
		}
	}
	text, err := d.write()
	if err != nil {
		return err
	}
	sayRevoked(a, revoked)
	_, err = io.WriteString(a.out, text)
	return err
}

// lockDir has one process after the other work on a directory.
func lockDir(ctx context.Context, dir string, patience time.Duration) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return nil, fmt.Errorf("waiting for another keyherald that works on %s: %w", dir, err)
	}
	return lock.Unlock, nil
}

func (d *natsJWT) file(name string) string { return filepath.Join(d.dir, name) }

// read reads who there is and who was revoked. Neither is begun anew where there was one before: revocations would be forgotten.
func (d *natsJWT) read() error {
	_, err := os.Stat(d.file("keys/account.nk"))
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(d.file("account.jwt"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(d.file("users.json"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.users = &natsconfig.Register{}
		return nil
	}
	if err != nil {
		return err
	}
	if d.account, err = d.must("account.jwt"); err != nil {
		return err
	}
	text, err := d.must("users.json")
	if err != nil {
		return err
	}
	if d.users, err = natsconfig.ParseRegister([]byte(text)); err != nil {
		return &hinted{fmt.Errorf("file %s: %w", d.file("users.json"), err), "restore it from a backup"}
	}
	return nil
}

// must reads a file of a directory that was in use before.
func (d *natsJWT) must(name string) (string, error) {
	raw, err := os.ReadFile(d.file(name))
	text, what := strings.TrimSpace(string(raw)), "is empty"
	if errors.Is(err, fs.ErrNotExist) {
		what = "is not there"
	} else if err != nil {
		return "", err
	}
	if text == "" {
		return "", &hinted{fmt.Errorf("%s %s, and %s was in use before: who was revoked would be forgotten", d.file(name), what, d.dir),
			"restore it from a backup; if no server was ever configured from here, remove the directory"}
	}
	return text, nil
}

func sayRevoked(a *app, revoked []natsconfig.Issued) {
	for _, u := range revoked {
		if u.Name == "" {
			fmt.Fprintf(a.err, "keyherald: %s is revoked, and of nobody who is known here\n", u.Nkey)
		} else {
			fmt.Fprintf(a.err, "keyherald: %s %s is revoked, nkey %s\n", u.Role, u.Name, u.Nkey)
		}
	}
}

// add makes a user, unless there are credentials of that name and role.
func (d *natsJWT) add(a *app, u natsconfig.User) error {
	file := d.file(u.Name + ".creds")
	switch _, err := os.Stat(file); {
	case err == nil:
		before, known := d.users.Find(u.Name)
		switch {
		case !known:
			return fmt.Errorf("%s is there, and users.json knows no user %s: move the file away, or take another name", file, u.Name)
		case before.Revoked != 0:
			return fmt.Errorf("user %s was revoked on %s: remove %s to have credentials with a new nkey made, or take another name", u.Name, day(before.Revoked), file)
		case before.Role != u.Role:
			return fmt.Errorf("user %s is a %s: revoke that one first, or take another name", u.Name, before.Role)
		}
		fmt.Fprintf(a.err, "keyherald: %s is there already and stays as it is\n", file)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	nkey, seed, err := newNkey(nkeys.PrefixByteUser)
	if err != nil {
		return err
	}
	u.Nkey = nkey
	d.made = append(d.made, natsMade{u, seed})
	return d.users.Add(u, time.Now())
}

// write writes all that there is, and returns the configuration of a server. Whatever a killed process has not written, nobody gets
// credentials whom users.json does not know, and the next account.jwt revokes all who are revoked there.
func (d *natsJWT) write() (config string, err error) {
	trust, err := natsconfig.OpenTrust(func(key natsconfig.Key) ([]byte, error) {
		_, seed, err := keepNkey(filepath.Join(d.dir, "keys", key.Name+".nk"), key.Kind)
		return seed, err
	})
	if err != nil {
		return "", err
	}
	previous, err := os.ReadFile(d.file("operator.jwt"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	operator, err := trust.Operator(strings.TrimSpace(string(previous)))
	if err != nil {
		return "", fmt.Errorf("file %s: %w", d.file("operator.jwt"), err)
	}
	account, err := trust.Account(d.account, d.users.Revoked()...)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", d.file("account.jwt"), err)
	}
	if config, err = trust.Server(operator, account); err != nil {
		return "", err
	}
	users, err := d.users.Text()
	if err != nil {
		return "", err
	}
	// One after the other, also through a power loss.
	for _, f := range []struct{ name, text string }{{"users.json", string(users)}, {"operator.jwt", operator}, {"account.jwt", account}} {
		if err := replaceFile(d.file(f.name), []byte(f.text+"\n")); err != nil {
			return "", err
		}
	}
	for _, u := range d.made {
		if err := d.hand(trust, u); err != nil {
			return "", err
		}
	}
	return config, nil
}

// hand writes the credentials of a new user.
func (d *natsJWT) hand(trust *natsconfig.Trust, u natsMade) error {
	defer clear(u.seed)
	creds, err := trust.Creds(u.User, u.seed)
	if err != nil {
		return err
	}
	return createFile(d.file(u.Name+".creds"), creds)
}
