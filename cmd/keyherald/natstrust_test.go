package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/keyherald/keyherald/events/natsconfig"
)

// jwtDir is a directory of nats-config jwt.
type jwtDir struct {
	t   *testing.T
	dir string
}

func newJWTDir(t *testing.T) jwtDir { return jwtDir{t, filepath.Join(t.TempDir(), "trust")} }

func (d jwtDir) file(name string) string { return filepath.Join(d.dir, name) }

func (d jwtDir) run(args ...string) (errs string, err error) {
	_, errs, err = runCLI("", append([]string{"nats-config", "jwt", "--dir", d.dir}, args...)...)
	return errs, err
}

func (d jwtDir) must(args ...string) {
	d.t.Helper()
	if errs, err := d.run(args...); err != nil {
		d.t.Fatalf("%s: %v\n%s", args, err, errs)
	}
}

// refuses checks that a command fails and changes neither who is revoked nor who there is.
func (d jwtDir) refuses(says string, args ...string) {
	d.t.Helper()
	before := d.state()
	if errs, err := d.run(args...); err == nil || !strings.Contains(errs, says) {
		d.t.Errorf("%s: %v, want %q in\n%s", args, err, says, errs)
	}
	if after := d.state(); after != before {
		d.t.Errorf("%s: changed from\n%s\nto\n%s", args, before, after)
	}
}

func (d jwtDir) state() string {
	var all strings.Builder
	for _, name := range []string{"account.jwt", "users.json"} {
		text, err := os.ReadFile(d.file(name))
		fmt.Fprintln(&all, name, string(text), err != nil)
	}
	files, err := filepath.Glob(d.file("*.creds"))
	fmt.Fprintln(&all, files, err)
	return all.String()
}

func (d jwtDir) nkey(name string) string {
	d.t.Helper()
	nkey, err := natsconfig.NkeyOf([]byte(readText(d.t, d.file(name+".creds"))))
	if err != nil {
		d.t.Fatal(err)
	}
	return nkey
}

// revoked are the nkeys that the account's JWT revokes.
func (d jwtDir) revoked() map[string]bool {
	d.t.Helper()
	claims, err := jwt.DecodeAccountClaims(strings.TrimSpace(readText(d.t, d.file("account.jwt"))))
	if err != nil {
		d.t.Fatal(err)
	}
	revoked := map[string]bool{}
	for nkey := range claims.Revocations {
		revoked[nkey] = true
	}
	return revoked
}

func (d jwtDir) remove(names ...string) {
	d.t.Helper()
	for _, name := range names {
		if err := os.Remove(d.file(name)); err != nil {
			d.t.Fatal(err)
		}
	}
}

// TestN_CredentialsThatHaveMovedAreRevokedByTheirName has the one file with a JWT moved to its service, as is its purpose.
func TestN_CredentialsThatHaveMovedAreRevokedByTheirName(t *testing.T) {
	t.Parallel()
	d := newJWTDir(t)
	d.must("admin", "billing:verifier", "stock:verifier")
	first, stock := d.nkey("billing"), d.nkey("stock")
	d.remove("billing.creds")
	d.refuses("there is a user billing already, with the nkey "+first, "billing:verifier")
	d.refuses("stock is a verifier", "stock:operator")
	d.must("--revoke", "billing")
	if got := d.revoked(); !got[first] || len(got) != 1 {
		t.Errorf("revoked are %v, want %s", got, first)
	}

	d.must("billing:verifier") // the name is free again
	second := d.nkey("billing")
	d.must("--revoke", second)
	if got := d.revoked(); !got[first] || !got[second] || got[stock] || second == first {
		t.Errorf("revoked are %v, want %s and %s", got, first, second)
	}
	d.refuses("was revoked on 20", "billing:verifier") // its file is still there, and worth nothing
	d.remove("billing.creds")
	d.must("billing:verifier")
	third := d.nkey("billing")
	d.remove("billing.creds")
	d.must("--revoke", "billing", "--revoke", "stock")
	if got := d.revoked(); !got[first] || !got[second] || !got[third] || !got[stock] || len(got) != 4 {
		t.Errorf("revoked are %v", got)
	}

	made := newJWTDir(t) // of whom this directory knows nothing
	made.must("billing:verifier")
	stranger := made.nkey("billing")
	if errs, err := d.run("--revoke", stranger); err != nil || !strings.Contains(errs, "of nobody who is known here") || !d.revoked()[stranger] {
		t.Errorf("an nkey of nobody: %v\n%s", err, errs)
	}
	d.refuses(`there is no user "nobody"`, "--revoke", "nobody")
	d.refuses(`there is no user ""`, "--revoke", "")
}

func TestN_RevocationsAtOneTimeAllCount(t *testing.T) {
	t.Parallel()
	d := newJWTDir(t)
	args, names := []string{}, []string{}
	for i := range 6 {
		names = append(names, fmt.Sprint("u", i))
		args = append(args, names[i]+":verifier")
	}
	d.must(args...)
	var all sync.WaitGroup
	for _, name := range names {
		all.Go(func() {
			if errs, err := d.run("--revoke", name); err != nil {
				t.Errorf("%s: %v\n%s", name, err, errs)
			}
		})
	}
	all.Wait()
	if got := d.revoked(); len(got) != len(names) {
		t.Errorf("%d of %d are revoked", len(got), len(names))
	}
}

// TestN_WhatIsLostIsNotMadeAnew takes away what says who was revoked, and cuts it.
func TestN_WhatIsLostIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	d := newJWTDir(t)
	d.must("billing:verifier", "stock:verifier")
	d.must("--revoke", "billing")
	account, users := readText(t, d.file("account.jwt")), readText(t, d.file("users.json"))
	for name, c := range map[string]struct{ file, text, says string }{
		"no account":             {"account.jwt", "", "account.jwt is not there"},
		"an empty account":       {"account.jwt", "\n", "account.jwt is empty"},
		"half an account":        {"account.jwt", account[:len(account)/2], "read the account's previous JWT"},
		"no users":               {"users.json", "", "users.json is not there"},
		"empty users":            {"users.json", "\n", "users.json"},
		"half the users":         {"users.json", users[:len(users)/2], "users.json"},
		"a member in other case": {"users.json", strings.Replace(users, `"revoked": `, `"revoked": 0, "Revoked": `, 1), "users.json"},
		"a member twice":         {"users.json", strings.Replace(users, `"nkey": `, `"nkey": "U", "nkey": `, 1), "users.json"},
		"a second document":      {"users.json", users + `{"users": []}`, "users.json"},
		"garbage":                {"users.json", users + "]", "users.json"},
	} {
		if c.text == "" {
			d.remove(c.file)
		} else {
			putFile(t, d.dir, c.file, []byte(c.text))
		}
		t.Run(name, func(t *testing.T) { jwtDir{t, d.dir}.refuses(c.says, "--revoke", "stock") })
		putFile(t, d.dir, "account.jwt", []byte(account))
		putFile(t, d.dir, "users.json", []byte(users))
	}
	d.must("--revoke", "stock")

	// Killed between the two: the next time it is made good.
	putFile(t, d.dir, "account.jwt", []byte(account))
	d.must()
	if got := d.revoked(); !got[d.nkey("stock")] || !got[d.nkey("billing")] {
		t.Errorf("revoked are %v", got)
	}
	if info, err := os.Stat(d.file("users.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("users.json: %v, %v", info, err)
	}
}

func TestWhoWaitsForAnotherNatsConfigSaysSo(t *testing.T) {
	t.Parallel()
	d := newJWTDir(t)
	d.must("billing:verifier")
	unlock, err := lockDir(t.Context(), d.dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := lockDir(t.Context(), d.dir, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), "another keyherald") {
		t.Errorf("error is %v", err)
	}
}
