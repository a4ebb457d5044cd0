package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
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

// TestN_AUserIsRevokedAloneAndAtOnceAndNobodyElseNotices adds and revokes users of a running server while a verifier of another user follows
// it, and asks it for something all the time.
func TestN_AUserIsRevokedAloneAndAtOnceAndNobodyElseNotices(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, embedded.Config{Dir: dir})
	stock := addUser(t, dir, "stock", bus.Verifier, true)
	bystander, err := bus.Connect(t.Context(), bus.Config{URL: s.URL(), SeedFile: stock.file(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer bystander.Close()
	keys := bystander.FollowKeys(zerolog.Nop())
	defer keys.Close()
	if err := keys.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	var disturbed atomicErrors
	asking, stop := context.WithCancel(t.Context())
	var asks sync.WaitGroup
	uninterrupted, err := stock.connect(t, s, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { disturbed.add(fmt.Errorf("disconnected: %w", err)) }))
	if err != nil {
		t.Fatal(err)
	}
	asks.Go(func() {
		for asking.Err() == nil {
			if _, err := uninterrupted.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, patience); err != nil {
				disturbed.add(err)
			}
		}
	})

	operator := connect(t, s, bus.Operator)
	for i := range 5 {
		name := fmt.Sprintf("billing%d", i)
		billing := addUser(t, dir, name, bus.Verifier, true)
		mustEnter(t, s, billing)
		closed := make(chan struct{})
		conn, err := billing.connect(t, s, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		revokeUser(t, dir, name, true)
		took := time.Since(began)
		select {
		case <-closed: // the server had closed it when Revoke returned
		case <-time.After(patience):
			t.Fatal("a revoked user is still connected")
		}
		if took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		if !errors.Is(conn.LastError(), nats.ErrAuthorization) && conn.IsConnected() {
			t.Errorf("closed with %v", conn.LastError())
		}
		mustNotEnter(t, s, billing)
		operator.put(t, bus.Keys, "issuer.orders", fmt.Sprintf(`{"n":%d}`, i))
	}
	if err := keys.Sync(t.Context()); err != nil { // it has all of that
		t.Error(err)
	}
	stop()
	asks.Wait()
	if n := uninterrupted.Stats().Reconnects; n != 0 || len(disturbed.all()) > 0 {
		t.Errorf("somebody else has noticed: %d times connected again, %v", n, disturbed.all())
	}
	uninterrupted.SetDisconnectErrHandler(nil)
	uninterrupted.Close()
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
		"no name":                 {func(u *embedded.User) { u.Name = "" }, "is not of 1 to 64"},
		"a name with a path":      {func(u *embedded.User) { u.Name = "../x" }, "is not of 1 to 64"},
		"a name with a line":      {func(u *embedded.User) { u.Name = "a\n" }, "is not of 1 to 64"},
		"a name that is too long": {func(u *embedded.User) { u.Name = strings.Repeat("a", 65) }, "is not of 1 to 64"},
		"a role's name":           {func(u *embedded.User) { u.Name = "verifier" }, "is that of a role"},
		"the role admin":          {func(u *embedded.User) { u.Role = bus.Admin }, `cannot have the role "admin"`},
		"no role":                 {func(u *embedded.User) { u.Role = "" }, `cannot have the role ""`},
		"a seed for an nkey":      {func(u *embedded.User) { u.Nkey = fresh.seed }, "not the public nkey of a user"},
		"no nkey":                 {func(u *embedded.User) { u.Nkey = "" }, "not the public nkey of a user"},
		"a name that is taken":    {func(u *embedded.User) { u.Name = "billing" }, "there is a user billing already, of the role verifier"},
		"a key that is taken":     {func(u *embedded.User) { u.Nkey = billing.Nkey }, "is that of user billing"},
		"a key that was revoked":  {func(u *embedded.User) { u.Nkey = gone.Nkey }, "was revoked, as that of gone on 20"},
		"the key of a role":       {func(u *embedded.User) { u.Nkey = operatorKey }, "is the one of operator.nk"},
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
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := openUsers(t, dir).Add(ctx, newPerson(t, "billing", bus.Verifier).User); !errors.Is(err, embedded.ErrNotApplied) {
		t.Errorf("error is %v", err)
	}
	s := start(t, embedded.Config{Dir: dir})
	addUser(t, dir, "stock", bus.Verifier, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	addUser(t, dir, "orders", bus.Verifier, false)
}

func TestDamagedUsersEndAStartAndChangeNothingInARunningServer(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	list := filepath.Join(dir, "nats", "users", "list.json")
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	good := readFile(t, list)
	for name, c := range map[string]struct{ text, says string }{
		"cut":                 {good[:len(good)/2], "unexpected EOF"},
		"empty":               {"", "EOF"},
		"of a newer version":  {strings.Replace(good, `"name"`, `"until": 5, "name"`, 1), `unknown field "until"`},
		"a role too many":     {strings.Replace(good, `"verifier"`, `"admin"`, 1), `cannot have the role "admin"`},
		"a user twice":        {strings.Replace(good, "[", "["+strings.TrimSuffix(strings.SplitAfter(good, "[")[1], "]\n}")+",", 1), "there twice"},
		"a key of a role":     {strings.Replace(good, billing.Nkey, publicKey(t, filepath.Join(dir, "nats", "issuer.nk")), 1), "has the key of the role issuer"},
		"a user without time": {strings.Replace(good, `"added": 1`, `"added": -1`, 1), "no time at which it was added"},
	} {
		writeFile(t, list, c.text)
		t.Run(name, func(t *testing.T) { mustFail(t, embedded.Config{Dir: dir}, c.says) })
	}
	writeFile(t, list, good)
	if err := os.Chmod(list, 0o660); err != nil {
		t.Fatal(err)
	}
	mustFail(t, embedded.Config{Dir: dir}, "run chmod 0600 "+list)
	if err := os.Chmod(list, 0o600); err != nil {
		t.Fatal(err)
	}

	var log eventstest.Log
	s := start(t, embedded.Config{Dir: dir, Logger: zerolog.New(&log)})
	conn, err := billing.connect(t, s)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	writeFile(t, list, "not json")
	eventstest.Eventually(t, "the damage is logged", func() bool { return strings.Contains(log.String(), "the users have changed and cannot be read") })
	if _, err := conn.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, patience); err != nil || conn.Stats().Reconnects != 0 {
		t.Errorf("a user was turned out: %v", err)
	}
	if _, err := openUsers(t, dir).Add(t.Context(), newPerson(t, "stock", bus.Verifier).User); err == nil {
		t.Error("a user was added to what cannot be read")
	}
	writeFile(t, list, good)
	addUser(t, dir, "orders", bus.Verifier, true)
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	revokeUser(t, dir, "orders", true)
	if !strings.Contains(log.String(), "a user was revoked, and its connections are closed") {
		t.Errorf("the log lacks the revocation:\n%s", log.String())
	}
}

func publicKey(t *testing.T, file string) string {
	t.Helper()
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(readFile(t, file))))
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// TestN_WhoCannotSignIsNotLetIn presents the public nkey of a user who is known.
func TestN_WhoCannotSignIsNotLetIn(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(readFile(t, s.KeyFile(bus.Operator)))))
	if err != nil {
		t.Fatal(err)
	}
	public := publicKey(t, s.KeyFile(bus.Operator))
	stranger, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	var recorded []byte
	good, err := nats.Connect(s.URL(), nats.Nkey(public, func(nonce []byte) ([]byte, error) {
		sig, err := pair.Sign(nonce)
		recorded = slices.Clone(sig)
		return sig, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	good.Close()
	for name, sign := range map[string]nats.SignatureHandler{
		"another's signature":          stranger.Sign,
		"the signature of before":      func([]byte) ([]byte, error) { return recorded, nil },
		"a signature of something":     func([]byte) ([]byte, error) { return pair.Sign([]byte("something")) },
		"a signature of nothing":       func([]byte) ([]byte, error) { return pair.Sign(nil) },
		"no signature":                 func([]byte) ([]byte, error) { return nil, nil },
		"half a signature":             func(nonce []byte) ([]byte, error) { sig, err := pair.Sign(nonce); return sig[:32], err },
		"a signature with a bit wrong": func(nonce []byte) ([]byte, error) { sig, err := pair.Sign(nonce); sig[0] ^= 1; return sig, err },
	} {
		conn, err := nats.Connect(s.URL(), nats.Nkey(public, sign))
		if err == nil {
			conn.Close()
			t.Errorf("%s: got in", name)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
