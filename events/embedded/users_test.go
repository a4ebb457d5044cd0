package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// person is a user with its seed.
type person struct {
	embedded.User
	seed string
}

func newPerson(t *testing.T, name string, role bus.Role) person {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return person{embedded.User{Name: name, Role: role, Nkey: public, Added: time.Now().Unix()}, string(seed)}
}

// file is a file with the seed.
func (p person) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), p.Name+".nk")
	writeFile(t, path, p.seed)
	return path
}

func openUsers(t *testing.T, dir string) *embedded.Users {
	t.Helper()
	users, err := embedded.OpenUsers(dir)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// addUser adds a new user, and checks whether a server has said that it knows.
func addUser(t *testing.T, dir, name string, role bus.Role, running bool) person {
	t.Helper()
	p := newPerson(t, name, role)
	applied, err := openUsers(t, dir).Add(t.Context(), p.User)
	if err != nil || applied != running {
		t.Fatalf("add %s: applied %t, %v", name, applied, err)
	}
	return p
}

func revokeUser(t *testing.T, dir, name string, running bool) {
	t.Helper()
	user, applied, err := openUsers(t, dir).Revoke(t.Context(), name, time.Now())
	if err != nil || applied != running || user.Name != name || user.Revoked == 0 {
		t.Fatalf("revoke %s: %+v, applied %t, %v", name, user, applied, err)
	}
}

func (p person) connect(t *testing.T, s *embedded.Server, more ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	credential, err := nats.NkeyOptionFromSeed(p.file(t))
	if err != nil {
		t.Fatal(err)
	}
	return nats.Connect(s.URL(), append(more, credential, nats.CustomInboxPrefix(bus.InboxPrefix(p.Nkey)), nats.Timeout(patience))...)
}

func mustEnter(t *testing.T, s *embedded.Server, p person) {
	t.Helper()
	conn, err := p.connect(t, s)
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	defer conn.Close()
	if _, err := conn.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, patience); err != nil {
		t.Errorf("%s: %v", p.Name, err)
	}
}

func mustNotEnter(t *testing.T, s *embedded.Server, p person) {
	t.Helper()
	conn, err := p.connect(t, s)
	if err == nil {
		conn.Close()
		t.Fatalf("%s got in", p.Name)
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("%s: %v", p.Name, err)
	}
}

// bystander is a user who is connected all the time, follows the keys, and asks the server one thing after the other.
type bystander struct {
	keys  *bus.KeySet
	asks  *nats.Conn
	wrong atomicErrors
	stop  func()
}

func (p person) standBy(t *testing.T, s *embedded.Server) *bystander {
	t.Helper()
	conn, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), SeedFile: p.file(t)})
	if err != nil {
		t.Fatal(err)
	}
	b := &bystander{keys: conn.FollowKeys(zerolog.Nop())}
	t.Cleanup(func() { b.keys.Close(); conn.Close() })
	if err := b.keys.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.asks, err = p.connect(t, s, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.wrong.add(fmt.Errorf("disconnected: %w", err)) })); err != nil {
		t.Fatal(err)
	}
	asking, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for asking.Err() == nil {
			if _, err := b.asks.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, patience); err != nil {
				b.wrong.add(err)
			}
		}
	})
	b.stop = func() { stop(); done.Wait() }
	return b
}

// mustHaveNoticedNothing ends it.
func (b *bystander) mustHaveNoticedNothing(t *testing.T) {
	t.Helper()
	if err := b.keys.Sync(t.Context()); err != nil { // it has all that was written
		t.Error(err)
	}
	b.stop()
	if n := b.asks.Stats().Reconnects; n != 0 || len(b.wrong.all()) > 0 {
		t.Errorf("somebody else has noticed: %d times connected again, %v", n, b.wrong.all())
	}
	b.asks.SetDisconnectErrHandler(nil)
	b.asks.Close()
}

// TestN_AUserIsRevokedAloneAndAtOnceAndNobodyElseNotices adds and revokes users of a running server beside a verifier of another user.
func TestN_AUserIsRevokedAloneAndAtOnceAndNobodyElseNotices(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	stock := addUser(t, dir, "stock", bus.Verifier, true)
	other := stock.standBy(t, s)
	operator := connect(t, s, bus.Operator)
	for i := range 5 {
		name := fmt.Sprintf("billing%d", i)
		billing := addUser(t, dir, name, bus.Verifier, true)
		mustEnter(t, s, billing)
		closed := make(chan struct{})
		if _, err := billing.connect(t, s, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) })); err != nil {
			t.Fatal(err)
		}
		revokeUser(t, dir, name, true)
		select {
		case <-closed: // the server had closed it when Revoke returned
		case <-time.After(patience):
			t.Fatal("a revoked user is still connected")
		}
		mustNotEnter(t, s, billing)
		operator.put(t, bus.Keys, "issuer.orders", fmt.Sprintf(`{"n":%d}`, i))
	}
	other.mustHaveNoticedNothing(t)
	mustEnter(t, s, stock)
}

// atomicErrors collects errors of several goroutines.
type atomicErrors struct {
	mu   sync.Mutex
	errs []error
}

func (a *atomicErrors) add(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs = append(a.errs, err)
}

func (a *atomicErrors) all() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.errs
}

func TestN_UsersAreKeptAndRevocationsRememberedOverARestart(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	stock := addUser(t, dir, "stock", bus.Operator, false)
	s := start(t, embedded.Config{Dir: dir})
	mustEnter(t, s, billing)
	mustEnter(t, s, stock)
	revokeUser(t, dir, "stock", true)
	again := addUser(t, dir, "stock", bus.Issuer, true) // of the same name, with another key
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	revokeUser(t, dir, "billing", false)
	s = start(t, embedded.Config{Dir: dir})
	mustNotEnter(t, s, billing)
	mustNotEnter(t, s, stock)
	mustEnter(t, s, again)
	for _, role := range bus.Roles() { // their own keys go on working
		connect(t, s, role)
	}

	users, err := openUsers(t, dir).List()
	if err != nil || len(users) != 3 || users[0].Name != "billing" || users[1].Revoked == 0 || users[2].Revoked != 0 || users[2].Role != bus.Issuer {
		t.Errorf("list: %+v, %v", users, err)
	}
	list := filepath.Join(dir, "nats", "users", "list.json")
	for path, want := range map[string]os.FileMode{list: 0o600, filepath.Dir(list): 0o700} {
		if mode := stat(t, path).Mode().Perm(); mode != want {
			t.Errorf("%s has mode %04o", path, mode)
		}
	}
	if err := filepath.WalkDir(filepath.Join(dir, "nats"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "store") {
			return err
		}
		for _, p := range []person{billing, stock, again} {
			if strings.Contains(readFile(t, path), p.seed) {
				t.Errorf("%s holds the seed of %s", path, p.Name)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestN_UsersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	users := openUsers(t, dir)
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	gone := addUser(t, dir, "gone", bus.Verifier, false)
	revokeUser(t, dir, "gone", false)
	fresh := newPerson(t, "fresh", bus.Verifier)
	own, err := nkeys.FromSeed([]byte(strings.TrimSpace(readFile(t, filepath.Join(dir, "nats", "operator.nk")))))
	if err != nil {
		t.Fatal(err)
	}
	operatorKey, err := own.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(*embedded.User)
		says string
	}{
		"no name":                  {func(u *embedded.User) { u.Name = "" }, "is not of 1 to 64"},
		"a name with a path":       {func(u *embedded.User) { u.Name = "../x" }, "is not of 1 to 64"},
		"a name with a line":       {func(u *embedded.User) { u.Name = "a\n" }, "is not of 1 to 64"},
		"a name that is too long":  {func(u *embedded.User) { u.Name = strings.Repeat("a", 65) }, "is not of 1 to 64"},
		"a role's name":            {func(u *embedded.User) { u.Name = "verifier" }, "is that of a role"},
		"the role admin":           {func(u *embedded.User) { u.Role = bus.Admin }, `cannot have the role "admin"`},
		"no role":                  {func(u *embedded.User) { u.Role = "" }, `cannot have the role ""`},
		"a seed for an nkey":       {func(u *embedded.User) { u.Nkey = fresh.seed }, "not the public nkey of a user"},
		"no nkey":                  {func(u *embedded.User) { u.Nkey = "" }, "not the public nkey of a user"},
		"a name that is taken":     {func(u *embedded.User) { u.Name = "billing" }, "there is a user billing already, of the role verifier"},
		"a key that is taken":      {func(u *embedded.User) { u.Nkey = billing.Nkey }, "is that of user billing"},
		"a key that was revoked":   {func(u *embedded.User) { u.Nkey = gone.Nkey }, "was revoked, as that of gone on 20"},
		"a revoked key and a line": {func(u *embedded.User) { u.Nkey = inTwoLines(gone.Nkey) }, "not the public nkey of a user"},
		"a taken key and a line":   {func(u *embedded.User) { u.Nkey = billing.Nkey + "\r" }, "not the public nkey of a user"},
		"a role's key and a line":  {func(u *embedded.User) { u.Nkey = "\n" + operatorKey }, "not the public nkey of a user"},
		"a key in small letters":   {func(u *embedded.User) { u.Nkey = strings.ToLower(fresh.Nkey) }, "not the public nkey of a user"},
		"the key of a role":        {func(u *embedded.User) { u.Nkey = operatorKey }, "is the one of operator.nk"},
	} {
		user := fresh.User
		c.edit(&user)
		if _, err := users.Add(t.Context(), user); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), fresh.seed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, says := range map[string]string{"nobody": `there is no user "nobody"`, "gone": "user gone was revoked already, on 20"} {
		if _, _, err := users.Revoke(t.Context(), name, time.Now()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("revoke %s: %v", name, err)
		}
	}
	if list, err := users.List(); err != nil || len(list) != 2 {
		t.Errorf("list: %v, %v", list, err)
	}
	if _, err := embedded.OpenUsers(t.TempDir()); err == nil || !strings.Contains(err.Error(), "start the server once") {
		t.Errorf("a directory of nobody: %v", err)
	}
}

// inTwoLines is an nkey as no other text of it compares, and as base32 is read nevertheless.
func inTwoLines(nkey string) string { return nkey[:28] + "\n" + nkey[28:] }

func TestUsersThatAreAddedAtOnceAreAllThere(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	start(t, embedded.Config{Dir: dir})
	const n = 8
	var adding sync.WaitGroup
	var failed atomicErrors
	for i := range n {
		p := newPerson(t, fmt.Sprint("u", i), bus.Verifier)
		adding.Go(func() {
			users, err := embedded.OpenUsers(dir)
			if err == nil {
				_, err = users.Add(t.Context(), p.User)
			}
			if err != nil {
				failed.add(err)
			}
		})
	}
	adding.Wait()
	list, err := openUsers(t, dir).List()
	if err != nil || len(list) != n || len(failed.all()) > 0 {
		t.Errorf("%d of %d users: %v, %v", len(list), n, err, failed.all())
	}
}

func TestAChangeThatNoServerConfirmsIsSaid(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	writeFile(t, filepath.Join(dir, "nats", "users.applied"), "of a server that was killed")
	users, billing := openUsers(t, dir), newPerson(t, "billing", bus.Verifier)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := users.Add(ctx, billing.User); !errors.Is(err, embedded.ErrNotApplied) {
		t.Errorf("error is %v", err)
	}
	s := start(t, embedded.Config{Dir: dir})
	addUser(t, dir, "stock", bus.Verifier, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	addUser(t, dir, "orders", bus.Verifier, false)
}
