package embedded

import (
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
)

// door decides who gets in, and with which permissions. The server has lists of users of its own, and reads them again only with all of its
// configuration: for a moment it then leaves requests to JetStream without an answer. This one changes, and nobody else notices.
type door struct {
	account *server.Account // in which everybody is

	mu     sync.RWMutex
	guests map[string]guest // by public nkey; guarded by mu
}

// guest is somebody who may come in.
type guest struct {
	role bus.Role
	user *server.User
}

var _ server.Authentication = (*door)(nil)

// Check implements [server.Authentication]: whoever connects has signed the number that the server has sent, with a key that is known.
func (d *door) Check(c server.ClientAuthentication) bool {
	d.mu.RLock() // until the permissions are set: see replace
	defer d.mu.RUnlock()
	opts := c.GetOpts()
	guest, known := d.guests[opts.Nkey]
	if !known || c.Kind() != server.CLIENT || !signed(opts.Nkey, c.GetNonce(), opts.Sig) {
		return false
	}
	c.RegisterUser(guest.user)
	return true
}

// signed reports whether sig is the nonce's signature, in base64 of either kind, as clients have it.
func signed(nkey string, nonce []byte, sig string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		raw, err = base64.StdEncoding.DecodeString(sig)
	}
	if err != nil || len(nonce) == 0 || !bus.IsUserNkey(nkey) {
		return false
	}
	key, err := nkeys.FromPublicKey(nkey)
	return err == nil && key.Verify(nonce, raw) == nil
}

// replace lets in others from now on. It returns the nkeys of those who may no longer be in, or not as they are. Whoever got in before has
// shown its nkey to the server already, and is found by it.
func (d *door) replace(guests map[string]guest) (gone []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for nkey, old := range d.guests {
		if now, stays := guests[nkey]; !stays || now.role != old.role {
			gone = append(gone, nkey)
		}
	}
	d.guests = guests
	return gone
}

// guestsOf are those with the roles' own keys, and the users that were not revoked.
func (d *door) guestsOf(keys map[bus.Role]string, users []User) (map[string]guest, error) {
	guests := make(map[string]guest, len(keys)+len(users))
	for role, nkey := range keys {
		guests[nkey] = d.guest(role, nkey)
	}
	for _, u := range users {
		if other, taken := guests[u.Nkey]; taken {
			return nil, fmt.Errorf("user %s has the key of the role %s: remove that of the role, and it is made anew, or revoke the user", u.Name, other.role)
		}
		if u.Revoked == 0 {
			guests[u.Nkey] = d.guest(u.Role, u.Nkey)
		}
	}
	return guests, nil
}

func (d *door) guest(role bus.Role, nkey string) guest {
	p := role.Permissions(bus.InboxPrefix(nkey))
	return guest{role, &server.User{Account: d.account, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: p.Publish},
		Subscribe: &server.SubjectPermission{Allow: p.Subscribe},
	}}}
}
