package embedded_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestDamagedUsersEndAStart(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	list := filepath.Join(dir, "nats", "users", "list.json")
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	good := readFile(t, list)
	for name, c := range map[string]struct{ text, says string }{
		"cut":                 {good[:len(good)/2], "unexpected EOF"},
		"empty":               {"", "EOF"},
		"of a newer version":  {strings.Replace(good, `"name"`, `"until": 5, "name"`, 1), `unknown field "until"`},
		"in other case":       {strings.Replace(good, `"added"`, `"revoked": 5, "Revoked": 0, "added"`, 1), "than keyherald writes"},
		"a member twice":      {strings.Replace(good, `"added"`, `"added": 5, "added"`, 1), "than keyherald writes"},
		"a second document":   {good + `{"users": []}`, "after top-level value"},
		"garbage behind":      {good + "]", "after top-level value"},
		"null":                {"null", "than keyherald writes"},
		"a role too many":     {strings.Replace(good, `"verifier"`, `"admin"`, 1), `cannot have the role "admin"`},
		"a user twice":        {strings.Replace(good, "[", "["+strings.TrimSuffix(strings.SplitAfter(good, "[")[1], "]\n}")+",", 1), "there twice"},
		"a key in two lines":  {strings.Replace(good, billing.Nkey, billing.Nkey[:28]+`\n`+billing.Nkey[28:], 1), "not the public nkey of a user"},
		"a key of a role":     {strings.Replace(good, billing.Nkey, publicKey(t, filepath.Join(dir, "nats", "issuer.nk")), 1), "has the key of the role issuer"},
		"a user without time": {strings.Replace(good, `"added": 1`, `"added": -1`, 1), "no time at which it was added"},
		"a name twice":        {strings.Replace(good, "[", fmt.Sprintf(`[{"name": "billing", "role": "operator", "nkey": %q, "added": 1},`, newPerson(t, "x", bus.Verifier).Nkey), 1), "there twice"},
	} {
		writeFile(t, list, c.text)
		t.Run(name, func(t *testing.T) { mustFail(t, embedded.Config{Dir: dir}, c.says) })
	}
	writeFile(t, list, good)
	if err := os.Chmod(list, 0o660); err != nil {
		t.Fatal(err)
	}
	mustFail(t, embedded.Config{Dir: dir}, "run chmod 0600 "+list)
}

func TestDamagedUsersChangeNothingInARunningServer(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	list := filepath.Join(dir, "nats", "users", "list.json")
	good := readFile(t, list)
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

// TestN_WhereTheUsersAreLostNobodyIsAdded has the list of the users removed, and with it who was revoked.
func TestN_WhereTheUsersAreLostNobodyIsAdded(t *testing.T) {
	t.Parallel()
	dir := usedDirectory(t)
	users := openUsers(t, dir)
	if _, err := users.Add(t.Context(), embedded.User{}); err == nil {
		t.Fatal("nobody was added")
	}
	if list, err := users.List(); err != nil || len(list) != 0 {
		t.Fatalf("before the first user: %v, %v", list, err)
	}
	billing := addUser(t, dir, "billing", bus.Verifier, false)
	revokeUser(t, dir, "billing", false)
	marker := filepath.Join(dir, "nats", "users.known")
	if err := os.Remove(marker); err != nil { // as in a directory of an earlier version, until the next change
		t.Fatal(err)
	}
	addUser(t, dir, "stock", bus.Verifier, false)
	if err := os.RemoveAll(filepath.Join(dir, "nats", "users")); err != nil {
		t.Fatal(err)
	}
	const says = "who was revoked would be forgotten"
	if _, err := users.Add(t.Context(), billing.User); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("a revoked user was added again: %v", err)
	}
	if _, _, err := users.Revoke(t.Context(), "stock", time.Now()); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("revoke: %v", err)
	}
	if list, err := users.List(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("list: %v, %v", list, err)
	}
	s := start(t, embedded.Config{Dir: dir}) // with the keys of the roles
	mustNotEnter(t, s, billing)
	connect(t, s, bus.Operator)
	if err := os.Remove(marker); err != nil { // as the error says
		t.Fatal(err)
	}
	mustEnter(t, s, addUser(t, dir, "stock", bus.Verifier, true))
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
	}), nats.Timeout(patience))
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
		conn, err := nats.Connect(s.URL(), nats.Nkey(public, sign), nats.Timeout(patience))
		if err == nil {
			conn.Close()
			t.Errorf("%s: got in", name)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
