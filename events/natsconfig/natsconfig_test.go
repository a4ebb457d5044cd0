package natsconfig_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/events/natsconfig"
)

// plain is a nats-server that knows of the roles what it was configured with.
type plain struct {
	*server.Server
	t    *testing.T
	file string // its configuration
}

func startPlain(t *testing.T, config string) *plain {
	t.Helper()
	p := &plain{t: t, file: filepath.Join(t.TempDir(), "nats.conf")}
	p.configure(config)
	opts, err := server.ProcessConfigFile(p.file)
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	opts.NoSigs, opts.NoLog = true, true
	if p.Server, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() { p.Shutdown(); p.WaitForShutdown() })
	if !p.ReadyForConnections(eventstest.Patience) {
		t.Fatal("the server does not start")
	}
	return p
}

// configure writes the configuration, for the next start or reload.
func (p *plain) configure(config string) {
	p.t.Helper()
	rest := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q, sync_interval: always }\n", filepath.Join(filepath.Dir(p.file), "store"))
	if err := os.WriteFile(p.file, []byte(rest+config), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// people are one of each role, a second verifier and a second operator.
var people = []natsconfig.User{
	{Name: "admin", Role: bus.Admin}, {Name: "deploy", Role: bus.Operator}, {Name: "ops", Role: bus.Operator}, {Name: "node1", Role: bus.Issuer},
	{Name: "billing", Role: bus.Verifier}, {Name: "stock", Role: bus.Verifier},
}

// newPair makes a pair of a kind.
func newPair(t *testing.T, kind nkeys.PrefixByte) (public string, seed []byte) {
	t.Helper()
	pair, err := nkeys.CreatePair(kind)
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	if seed, err = pair.Seed(); err != nil {
		t.Fatal(err)
	}
	return public, seed
}

func writeFile(t *testing.T, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// makeBuckets makes the buckets as an admin, as init does.
func makeBuckets(t *testing.T, cfg bus.Config) {
	t.Helper()
	conn, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.SetUp(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

func TestN_P6_NobodyCanDoMoreThanTheirRoleByNkeys(t *testing.T) {
	t.Parallel()
	var users []natsconfig.User
	var holders []eventstest.Holder
	admin := ""
	for _, u := range people {
		public, seed := newPair(t, nkeys.PrefixByteUser)
		u.Nkey = public
		file := writeFile(t, u.Name, seed)
		login, err := nats.NkeyOptionFromSeed(file)
		if err != nil {
			t.Fatal(err)
		}
		if u.Role == bus.Admin {
			admin = file
		}
		users = append(users, u)
		holders = append(holders, eventstest.Holder{Name: u.Name, Role: u.Role, Login: login, Inbox: bus.InboxPrefix(public)})
	}
	config, err := natsconfig.Nkeys(users)
	if err != nil {
		t.Fatal(err)
	}
	s := startPlain(t, config)
	makeBuckets(t, bus.Config{URL: s.ClientURL(), SeedFile: admin})
	eventstest.Permissions(t, s.ClientURL(), holders)
}

// trusted is a Trust with its seeds, and users' credentials.
type trusted struct {
	*natsconfig.Trust
	t        *testing.T
	seeds    map[string][]byte
	operator string
}

func newTrusted(t *testing.T) *trusted {
	t.Helper()
	tr := &trusted{t: t, seeds: map[string][]byte{}}
	var err error
	tr.Trust, err = natsconfig.OpenTrust(func(k natsconfig.Key) ([]byte, error) {
		_, tr.seeds[k.Name] = newPair(t, k.Kind)
		return tr.seeds[k.Name], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// configuration is a server's, with the account's JWT.
func (tr *trusted) configuration(previous string, revoke ...string) (config, account string) {
	tr.t.Helper()
	account, err := tr.Account(previous, revoke...)
	if err != nil {
		tr.t.Fatal(err)
	}
	if tr.operator, err = tr.Operator(tr.operator); err != nil {
		tr.t.Fatal(err)
	}
	if config, err = tr.Server(tr.operator, account); err != nil {
		tr.t.Fatal(err)
	}
	for name, seed := range tr.seeds {
		if strings.Contains(config, string(seed)) {
			tr.t.Errorf("the seed of %s is in the configuration", name)
		}
	}
	return config, account
}

// creds makes a user's credentials file.
func (tr *trusted) creds(u natsconfig.User) (file, nkey string) {
	tr.t.Helper()
	public, seed := newPair(tr.t, nkeys.PrefixByteUser)
	u.Nkey = public
	text, err := tr.Creds(u, seed)
	if err != nil {
		tr.t.Fatal(err)
	}
	if of, err := natsconfig.NkeyOf(text); err != nil || of != public {
		tr.t.Errorf("the credentials are of %s, %v", of, err)
	}
	return writeFile(tr.t, u.Name+".creds", text), public
}

func TestN_P6_NobodyCanDoMoreThanTheirRoleByJWT(t *testing.T) {
	t.Parallel()
	tr := newTrusted(t)
	config, _ := tr.configuration("")
	s := startPlain(t, config)
	var holders []eventstest.Holder
	for _, u := range people { // the server has been started already, and is told of none of them
		file, nkey := tr.creds(u)
		if u.Role == bus.Admin {
			makeBuckets(t, bus.Config{URL: s.ClientURL(), CredsFile: file})
		}
		holders = append(holders, eventstest.Holder{Name: u.Name, Role: u.Role, Login: nats.UserCredentials(file), Inbox: bus.InboxPrefix(nkey)})
	}
	eventstest.Permissions(t, s.ClientURL(), holders)
}

// TestN_ARevokedJWTIsOutAndOthersStay reloads the server's configuration, with a user revoked in the account's JWT.
func TestN_ARevokedJWTIsOutAndOthersStay(t *testing.T) {
	t.Parallel()
	tr := newTrusted(t)
	config, account := tr.configuration("")
	s := startPlain(t, config)
	admin, _ := tr.creds(natsconfig.User{Name: "admin", Role: bus.Admin})
	makeBuckets(t, bus.Config{URL: s.ClientURL(), CredsFile: admin})
	leaked, leakedKey := tr.creds(natsconfig.User{Name: "billing", Role: bus.Verifier})
	other, otherKey := tr.creds(natsconfig.User{Name: "stock", Role: bus.Verifier})

	closed := make(chan struct{})
	conn, err := nats.Connect(s.ClientURL(), nats.UserCredentials(leaked), nats.CustomInboxPrefix(bus.InboxPrefix(leakedKey)), nats.NoReconnect(), nats.Timeout(eventstest.Patience),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stays, err := nats.Connect(s.ClientURL(), nats.UserCredentials(other), nats.CustomInboxPrefix(bus.InboxPrefix(otherKey)), nats.Timeout(eventstest.Patience))
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()

	config, account = tr.configuration(account, leakedKey)
	s.configure(config)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(eventstest.Patience):
		t.Fatal("the revoked user is still connected")
	}
	if _, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL(), CredsFile: leaked}); !errors.Is(err, bus.ErrPermission) {
		t.Errorf("connects again: %v", err)
	}
	if _, err := stays.Request("$JS.API.STREAM.INFO.KV_KEYS", nil, eventstest.Patience); err != nil || stays.Stats().Reconnects != 0 {
		t.Errorf("another user has lost its connection: %v", err)
	}
	follow(t, bus.Config{URL: s.ClientURL(), CredsFile: other})

	// A later JWT remembers it.
	_, account = tr.configuration(account)
	claims, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		t.Fatal(err)
	}
	if _, revoked := claims.Revocations[leakedKey]; !revoked {
		t.Error("the revocation is forgotten")
	}
}

// follow reads the buckets, as a verifier does.
func follow(t *testing.T, cfg bus.Config) {
	t.Helper()
	conn, err := bus.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	keys := conn.FollowKeys(zerolog.Nop())
	defer keys.Close()
	if err := keys.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestN_AKeyOfARoleVouchesForThisRoleOnly makes JWTs with a signing key that has leaked.
func TestN_AKeyOfARoleVouchesForThisRoleOnly(t *testing.T) {
	t.Parallel()
	tr := newTrusted(t)
	config, account := tr.configuration("")
	s := startPlain(t, config)
	of, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := nkeys.FromSeed(tr.seeds["sign-verifier"])
	if err != nil {
		t.Fatal(err)
	}
	own, err := nkeys.FromSeed(tr.seeds["account"])
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(*jwt.UserClaims)
		by   nkeys.KeyPair
		in   bool
	}{
		"the role's own":        {func(u *jwt.UserClaims) { u.SetScoped(true) }, signer, true},
		"everything":            {func(u *jwt.UserClaims) { u.Pub.Allow.Add(">") }, signer, false},
		"no limits":             {func(*jwt.UserClaims) {}, signer, false},
		"the account's own":     {func(*jwt.UserClaims) {}, own, false},
		"a stranger's":          {func(u *jwt.UserClaims) { u.SetScoped(true) }, stranger, false},
		"that has ended by now": {func(u *jwt.UserClaims) { u.SetScoped(true); u.Expires = time.Now().Add(-time.Minute).Unix() }, signer, false},
	} {
		public, seed := newPair(t, nkeys.PrefixByteUser)
		claims := jwt.NewUserClaims(public)
		claims.IssuerAccount = of.Subject
		c.edit(claims)
		token, err := claims.Encode(c.by)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jwt.FormatUserConfig(token, seed)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := bus.Connect(t.Context(), bus.Config{URL: s.ClientURL(), CredsFile: writeFile(t, "creds", text)})
		if err == nil {
			conn.Close()
		}
		if c.in && err != nil || !c.in && !errors.Is(err, bus.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestN_UsersByJWTAreClientsAndNothingElse: no leaf node, no MQTT, no websocket.
func TestN_UsersByJWTAreClientsAndNothingElse(t *testing.T) {
	t.Parallel()
	_, account := newTrusted(t).configuration("")
	claims, err := jwt.DecodeAccountClaims(account)
	if err != nil {
		t.Fatal(err)
	}
	if n := claims.Limits.LeafNodeConn; n != 0 {
		t.Errorf("%d leaf nodes", n)
	}
	if n := len(claims.SigningKeys); n != len(bus.Roles()) {
		t.Errorf("%d signing keys", n)
	}
	for key := range claims.SigningKeys {
		scope, _ := claims.SigningKeys.GetScope(key)
		user, limited := scope.(*jwt.UserScope)
		if !limited || !slices.Equal(user.Template.AllowedConnectionTypes, jwt.StringList{jwt.ConnectionTypeStandard}) {
			t.Errorf("%s: %+v", key, scope)
		}
	}
}

func TestWhatCannotBeConfiguredIsRefused(t *testing.T) {
	t.Parallel()
	public, seed := newPair(t, nkeys.PrefixByteUser)
	for name, c := range map[string]struct {
		users []natsconfig.User
		says  string
	}{
		"no such role":      {[]natsconfig.User{{Name: "a", Role: "root", Nkey: public}}, `no role "root"`},
		"a name with lines": {[]natsconfig.User{{Name: "a\n}", Role: bus.Verifier, Nkey: public}}, "is not of 1 to 64"},
		"a seed":            {[]natsconfig.User{{Name: "a", Role: bus.Verifier, Nkey: string(seed)}}, "not the public nkey"},
		"an nkey in lines":  {[]natsconfig.User{{Name: "a", Role: bus.Verifier, Nkey: public[:28] + "\r\n" + public[28:]}}, "not the public nkey"},
		"no nkey":           {[]natsconfig.User{{Name: "a", Role: bus.Verifier}}, "no nkey of its own"},
		"an nkey twice":     {[]natsconfig.User{{Name: "a", Role: bus.Verifier, Nkey: public}, {Name: "b", Role: bus.Operator, Nkey: public}}, "no nkey of its own"},
	} {
		if text, err := natsconfig.Nkeys(c.users); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), string(seed)) || text != "" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for name, wrong := range map[string][]byte{"no seed": []byte("SUPERSECRET"), "another kind's": seed} {
		_, err := natsconfig.OpenTrust(func(natsconfig.Key) ([]byte, error) { return wrong, nil })
		if err == nil || !strings.Contains(err.Error(), "the key operator is") || strings.Contains(err.Error(), string(wrong)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tr := newTrusted(t)
	_, others := newTrusted(t).configuration("")
	if _, err := tr.Account(others); err == nil || !strings.Contains(err.Error(), "is of another account") {
		t.Errorf("the JWT of another account: %v", err)
	}
	if _, err := tr.Account("eyJ"); err == nil {
		t.Error("half a JWT was read")
	}
	other := newTrusted(t)
	other.configuration("")
	for name, c := range map[string]struct{ previous, says string }{"of another operator": {other.operator, "is of another operator"}, "half a JWT": {"eyJ", "read the operator's"}} {
		if _, err := tr.Operator(c.previous); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A running server refuses a configuration with another JWT of the operator, be it only a second younger.
func TestTheOperatorsJWTStaysAsItIs(t *testing.T) {
	t.Parallel()
	tr := newTrusted(t)
	tr.configuration("")
	claims, err := jwt.DecodeOperatorClaims(tr.operator)
	if err != nil {
		t.Fatal(err)
	}
	claims.Name = "of another day"
	pair, err := nkeys.FromSeed(tr.seeds["operator"])
	if err != nil {
		t.Fatal(err)
	}
	old, err := claims.Encode(pair)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tr.Operator(old); err != nil || got != old {
		t.Errorf("it was made anew: %v", err)
	}
	claims.StrictSigningKeyUsage = false // as of an operator whose accounts' own keys vouch for users
	lax, err := claims.Encode(pair)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Operator(lax); err == nil || !strings.Contains(err.Error(), "or takes others") {
		t.Errorf("one that is not strict: %v", err)
	}
}
