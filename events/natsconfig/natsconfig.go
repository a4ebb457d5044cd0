// Package natsconfig says to a nats-server that is not ours what the roles may do. What that is, package bus knows; here it is put into the
// two forms in which a server takes it:
//
//   - [Nkeys]: an account in the server's configuration, with a list of users by their public nkeys. To add or revoke one is to change the
//     configuration of every server and to reload it. Reloading lets requests to JetStream wait for a moment;
//   - [Trust]: an operator who vouches for an account, whose signing keys vouch for users: one key for each role, which can make users of this
//     role and nothing else. A new user needs no change of any server. A new version of keyherald changes what all users of a role may do
//     with one new account JWT, and one is revoked by naming it there. A [Register] remembers what there is to name.
//
// Both make one account that has JetStream and is for keyherald alone: see [bus.Role.Permissions] for why.
//
// The private keys of a Trust are worth as much as all records: with them anybody may write anything. Servers do not need them: what is
// in a server's configuration is public, and so is what this package returns, but for [Trust.Creds] and what OpenTrust is given.
package natsconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyherald/keyherald/events/bus"
)

// account is the name of the account with the buckets.
const account = "KEYHERALD"

// User is one who may connect.
type User struct {
	Name string // of 1 to 64 of A-Z a-z 0-9 _ -
	Role bus.Role
	Nkey string // public
}

// Check validates a user. The nkey may be missing where it is yet to be made.
func (u User) Check() error {
	switch {
	case !bus.IsUserName(u.Name):
		return fmt.Errorf("user name %q is not of 1 to 64 of A-Z a-z 0-9 _ -", u.Name)
	case !slices.Contains(bus.Roles(), u.Role):
		return fmt.Errorf("there is no role %q: take admin, operator, issuer or verifier", string(u.Role))
	case u.Nkey != "" && !bus.IsUserNkey(u.Nkey): // nor is it shown: it may be a seed
		return fmt.Errorf("what is given for %s is not the public nkey of a user (U…)", u.Name)
	}
	return nil
}

// Nkeys is the configuration of an account whose users the server knows by their nkeys.
func Nkeys(users []User) (string, error) {
	seen := map[string]bool{}
	var b strings.Builder
	b.WriteString(`# For a nats-server that has JetStream: jetstream { store_dir: …, sync_interval: always }
accounts {
  ` + account + ` {
    jetstream: enabled
    users: [
`)
	for _, u := range users {
		if err := u.Check(); err != nil {
			return "", err
		}
		if u.Nkey == "" || seen[u.Nkey] {
			return "", fmt.Errorf("user %s has no nkey of its own", u.Name)
		}
		seen[u.Nkey] = true
		may := u.Role.Permissions(bus.InboxPrefix(u.Nkey))
		fmt.Fprintf(&b, "      # %s: %s\n      { nkey: %s, permissions: {\n", u.Name, u.Role, u.Nkey)
		fmt.Fprintf(&b, "        publish: { allow: %s }\n        subscribe: { allow: %s }\n      } }\n", subjects(may.Publish), subjects(may.Subscribe))
	}
	b.WriteString("    ]\n  }\n}\n")
	return b.String(), nil
}

func subjects(list []string) string {
	var b strings.Builder
	b.WriteString("[\n")
	for _, s := range list {
		fmt.Fprintf(&b, "          %q\n", s)
	}
	b.WriteString("        ]")
	return b.String()
}
