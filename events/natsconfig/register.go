package natsconfig

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/internal/ownfile"
)

// Register remembers for whom a [Trust] has vouched. A JWT is valid wherever its file has gone, so that only a register of all nkeys
// that there ever were tells what to revoke. Its loss costs that: users then can be revoked by their nkeys alone.
type Register struct {
	Users []Issued `json:"users"` // in the order in which they were made
}

// Issued is a user for whom a JWT was made.
type Issued struct {
	Name    string   `json:"name,omitempty"` // empty if it was made elsewhere, and revoked by its nkey
	Role    bus.Role `json:"role,omitempty"`
	Nkey    string   `json:"nkey"`
	Made    int64    `json:"made"`
	Revoked int64    `json:"revoked,omitempty"` // for ever; zero: it is not. The name may be given again, the nkey never
}

// check validates what was read.
func (u Issued) check() error {
	known := u.Name != "" || u.Role != ""
	if err := (User{u.Name, u.Role, u.Nkey}).Check(); known && err != nil {
		return err
	}
	if !bus.IsUserNkey(u.Nkey) || u.Made <= 0 || u.Revoked < 0 || !known && u.Revoked == 0 {
		return fmt.Errorf("user %q lacks its nkey, the time at which it was made or the one at which it was revoked", u.Name)
	}
	return nil
}

// ParseRegister reads what [Register.Text] has written, and nothing else: what is read differently by others might be a revocation.
func ParseRegister(text []byte) (*Register, error) {
	r := &Register{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	if err := ownfile.Check(text, r); err != nil {
		return nil, err
	}
	nkeys, names := map[string]bool{}, map[string]bool{}
	for _, u := range r.Users {
		if err := u.check(); err != nil {
			return nil, err
		}
		if nkeys[u.Nkey] || u.Revoked == 0 && names[u.Name] {
			return nil, fmt.Errorf("user %q, or its nkey, is there twice", u.Name)
		}
		nkeys[u.Nkey] = true
		names[u.Name] = names[u.Name] || u.Revoked == 0
	}
	return r, nil
}

// Text is what to keep.
func (r *Register) Text() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Find returns the user of a name: the last one to whom it was given.
func (r *Register) Find(name string) (Issued, bool) {
	for _, u := range slices.Backward(r.Users) {
		if u.Name == name {
			return u, true
		}
	}
	return Issued{}, false
}

// Add takes note of a user before its JWT is made. The name of one that is not revoked is not given again.
func (r *Register) Add(u User, at time.Time) error {
	if err := u.Check(); err != nil {
		return err
	}
	if known, found := r.Find(u.Name); found && known.Revoked == 0 {
		return fmt.Errorf("there is a user %s already, with the nkey %s: revoke that one first, or take another name", u.Name, known.Nkey)
	}
	r.Users = append(r.Users, Issued{Name: u.Name, Role: u.Role, Nkey: u.Nkey, Made: at.Unix()})
	return nil
}

// Revoke revokes every nkey of a name, or one nkey, be it of nobody whom the register knows. It reports whom it was.
func (r *Register) Revoke(who string, at time.Time) (revoked []Issued, err error) {
	for i := range r.Users {
		if u := &r.Users[i]; who != "" && (u.Name == who || u.Nkey == who) {
			if u.Revoked == 0 {
				u.Revoked = at.Unix()
			}
			revoked = append(revoked, *u)
		}
	}
	if len(revoked) == 0 && bus.IsUserNkey(who) { // CRC and all: it is no slip of the keyboard
		revoked = []Issued{{Nkey: who, Made: at.Unix(), Revoked: at.Unix()}}
		r.Users = append(r.Users, revoked...)
	}
	if len(revoked) == 0 {
		return nil, fmt.Errorf("there is no user %q: a user is revoked by its name or its public nkey (U…)", who)
	}
	return revoked, nil
}

// Revoked are the nkeys that the account's JWT must name as revoked.
func (r *Register) Revoked() []string {
	var nkeys []string
	for _, u := range r.Users {
		if u.Revoked != 0 {
			nkeys = append(nkeys, u.Nkey)
		}
	}
	return nkeys
}
