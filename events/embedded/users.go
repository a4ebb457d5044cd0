package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/internal/ownfile"
)

// User is a credential beside those of the roles: that of one service, so that it can be revoked alone. Its inbox prefix is
// [bus.InboxPrefix] of its nkey, so that no other user reads what it is answered.
type User struct {
	Name    string   `json:"name"` // of 1 to 64 of A-Z a-z 0-9 _ -, and no role's
	Role    bus.Role `json:"role"` // one of UserRoles
	Nkey    string   `json:"nkey"` // public: the seed is the user's own, and not kept here
	Added   int64    `json:"added"`
	Revoked int64    `json:"revoked,omitempty"` // for ever; zero: it is not. The name may be given again, the nkey never
}

// UserRoles are the roles that a user may have. The buckets themselves are changed with the one admin.nk, on the server's machine.
func UserRoles() []bus.Role { return []bus.Role{bus.Verifier, bus.Issuer, bus.Operator} }

const (
	usersDir     = "users"         // of the nats directory; written by those who change users, and by the server never
	usersFile    = "list.json"     // in it: all users, also those that were revoked
	usersMarker  = "users.known"   // is there once there was a user, so that a list that is lost is not begun anew
	appliedFile  = "users.applied" // digest of the users that the running server lets in; not there when none runs
	maxUsersFile = 16 << 20        // bytes: some 80,000 users

	// applyPatience is how long a change waits for the running server to have applied it.
	applyPatience = 10 * time.Second
)

// ErrNotApplied says that a change of the users is written, and that the server which seems to run has not confirmed it.
var ErrNotApplied = errors.New("the change is written, and the server has not confirmed it: is it running, and does its log say why?")

// Users are the users of a data directory. The server need not run; if it does, it lets in whom they say within a second, and nobody
// else's connection notices.
type Users struct {
	nats string // Dir/nats
}

// OpenUsers opens the users of a data directory that a server has been started on.
func OpenUsers(dir string) (*Users, error) {
	u := &Users{nats: filepath.Join(dir, subdirectory)}
	if _, err := os.Stat(filepath.Join(u.nats, versionFile)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not the data directory of an embedded server: start the server once, it makes the directory", dir)
		}
		return nil, fmt.Errorf("open users: %w", err)
	}
	if err := checkOwned(u.nats, 0o077); err != nil {
		return nil, err
	}
	return u, nil
}

// List lists the users in the order in which they were added.
func (u *Users) List() ([]User, error) {
	users, _, err := readUsers(u.list())
	if err == nil && users == nil {
		err = u.checkNotLost()
	}
	return users, err
}

// checkNotLost tells the list that is lost from the one that was never there.
func (u *Users) checkNotLost() error {
	marker := filepath.Join(u.nats, usersMarker)
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for users: %w", err)
	}
	return fmt.Errorf("%s is not there, and there were users: who was revoked would be forgotten: restore it from a backup, or remove %s to begin anew without them", u.list(), marker)
}

// Add adds a user, Added being set. It reports whether a running server lets the user in now.
func (u *Users) Add(ctx context.Context, user User) (applied bool, err error) {
	if err := user.check(); err != nil {
		return false, err
	}
	for _, role := range bus.Roles() {
		public, err := readKey(filepath.Join(u.nats, string(role)+keySuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if public == user.Nkey {
			return false, fmt.Errorf("nkey %s is the one of %s%s: a user needs one of its own", user.Nkey, role, keySuffix)
		}
	}
	return u.change(ctx, func(users []User) ([]User, error) {
		for _, other := range users {
			switch {
			case other.Nkey == user.Nkey && other.Revoked != 0:
				return nil, fmt.Errorf("nkey %s was revoked, as that of %s on %s: it stays so for ever", user.Nkey, other.Name, utc(other.Revoked))
			case other.Nkey == user.Nkey:
				return nil, fmt.Errorf("nkey %s is that of user %s", user.Nkey, other.Name)
			case other.Name == user.Name && other.Revoked == 0:
				return nil, fmt.Errorf("there is a user %s already, of the role %s: revoke that one first, or take another name", user.Name, other.Role)
			}
		}
		return append(users, user), nil
	})
}

// Revoke refuses a user from now on, for ever. It reports whether a running server has closed the user's connections.
func (u *Users) Revoke(ctx context.Context, name string, at time.Time) (user User, applied bool, err error) {
	applied, err = u.change(ctx, func(users []User) ([]User, error) {
		i := slices.IndexFunc(users, func(u User) bool { return u.Name == name && u.Revoked == 0 })
		if i < 0 {
			return nil, notThere(users, name)
		}
		users[i].Revoked = at.Unix()
		user = users[i]
		return users, nil
	})
	return user, applied, err
}

func notThere(users []User, name string) error {
	for _, u := range slices.Backward(users) {
		if u.Name == name {
			return fmt.Errorf("user %s was revoked already, on %s", name, utc(u.Revoked))
		}
	}
	return fmt.Errorf("there is no user %q", name)
}

func utc(numericDate int64) string { return time.Unix(numericDate, 0).UTC().Format(time.RFC3339) }

// check validates a user, to be added or read from the file.
func (u User) check() error {
	switch {
	case !bus.IsUserName(u.Name):
		return fmt.Errorf("user name %q is not of 1 to 64 of A-Z a-z 0-9 _ -", u.Name)
	case slices.Contains(bus.Roles(), bus.Role(u.Name)):
		return fmt.Errorf("user name %q is that of a role: say what the user is, such as billing-%s", u.Name, u.Name)
	case !slices.Contains(UserRoles(), u.Role):
		return fmt.Errorf("user %s cannot have the role %q: take verifier, issuer or operator", u.Name, u.Role)
	case !bus.IsUserNkey(u.Nkey): // nor is it shown: it may be a seed
		return fmt.Errorf("what is given as the nkey of user %s is not the public nkey of a user (U…)", u.Name)
	case u.Added <= 0 || u.Revoked < 0:
		return fmt.Errorf("user %s has no time at which it was added, or a wrong one at which it was revoked", u.Name)
	}
	return nil
}

func (u *Users) list() string { return filepath.Join(u.nats, usersDir, usersFile) }

// change writes what edit makes of the users, one process after the other, and waits for the server, if one runs.
func (u *Users) change(ctx context.Context, edit func([]User) ([]User, error)) (applied bool, err error) {
	dir := filepath.Join(u.nats, usersDir)
	if err := makeOwned(dir, 0o077); err != nil {
		return false, err
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return false, fmt.Errorf("wait for another process that changes the users: %w", err)
	}
	defer lock.Unlock()
	if err := (&directory{path: dir}).removeLeftovers(); err != nil {
		return false, err
	}
	users, err := u.List()
	if err != nil {
		return false, err
	}
	if users, err = edit(users); err != nil {
		return false, err
	}
	text, err := json.MarshalIndent(usersList{users}, "", "  ")
	if err != nil {
		return false, err
	}
	if err := writeFile(u.list(), text); err != nil {
		return false, err
	}
	if err := writeFile(filepath.Join(u.nats, usersMarker), nil); err != nil {
		return false, err
	}
	return u.await(ctx, digest(text))
}

// await waits until the server has applied the users of a digest. It reports false if there is no server.
func (u *Users) await(ctx context.Context, want string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, applyPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		text, err := os.ReadFile(filepath.Join(u.nats, appliedFile))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("%w (%w)", ErrNotApplied, err)
		case string(text) == want:
			return true, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return false, ErrNotApplied
		}
	}
}

// usersList is what is in the file.
type usersList struct {
	Users []User `json:"users"`
}

// readUsers reads the file, which need not be there, and checks all that is in it.
func readUsers(path string) ([]User, string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, digest(nil), nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read users: %w", err)
	}
	if err := checkOwned(path, 0o077); err != nil {
		return nil, "", err
	}
	users, err := parseUsers(text)
	if err != nil {
		return nil, "", fmt.Errorf("users in %s: %w", path, err)
	}
	return users, digest(text), nil
}

func parseUsers(text []byte) ([]User, error) {
	if len(text) > maxUsersFile {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), maxUsersFile)
	}
	var list usersList
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields() // a newer version may mean by one that the user may not come in
	if err := in.Decode(&list); err != nil {
		return nil, fmt.Errorf("%w: restore it from a backup, or use the newer keyherald that wrote it", err)
	}
	if err := ownfile.Check(text, list); err != nil {
		return nil, fmt.Errorf("%w: restore it from a backup", err)
	}
	nkeys, names := map[string]bool{}, map[string]bool{}
	for _, u := range list.Users {
		if err := u.check(); err != nil {
			return nil, err
		}
		if nkeys[u.Nkey] || u.Revoked == 0 && names[u.Name] {
			return nil, fmt.Errorf("user %s, or its nkey, is there twice", u.Name)
		}
		nkeys[u.Nkey] = true
		names[u.Name] = names[u.Name] || u.Revoked == 0
	}
	return list.Users, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
