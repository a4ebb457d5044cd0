package natsconfig_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/natsconfig"
)

func TestN_ARegisterRemembersEveryNkeyOfAName(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_900_000_000, 0)
	r := &natsconfig.Register{}
	var of []string
	for range 2 {
		public, _ := newPair(t, nkeys.PrefixByteUser)
		of = append(of, public)
		if err := r.Add(natsconfig.User{Name: "billing", Role: bus.Verifier, Nkey: public}, at); err != nil {
			t.Fatal(err)
		}
		if err := r.Add(natsconfig.User{Name: "billing", Role: bus.Verifier, Nkey: public}, at); err == nil {
			t.Error("a name was given twice")
		}
		if _, err := r.Revoke("billing", at); err != nil {
			t.Fatal(err)
		}
	}
	stranger, _ := newPair(t, nkeys.PrefixByteUser)
	if whom, err := r.Revoke(stranger, at); err != nil || len(whom) != 1 || whom[0].Name != "" {
		t.Errorf("an nkey of nobody: %v, %v", whom, err)
	}
	if whom, err := r.Revoke(of[0], at); err != nil || len(whom) != 1 || whom[0].Name != "billing" {
		t.Errorf("an nkey of billing: %v, %v", whom, err)
	}
	text, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := natsconfig.ParseRegister(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Revoked(); !slices.Equal(got, append(of, stranger)) {
		t.Errorf("revoked are %v", got)
	}
	if whom, err := again.Revoke("billing", at.Add(time.Hour)); err != nil || len(whom) != 2 || whom[0].Revoked != at.Unix() {
		t.Errorf("revoked once more: %v, %v", whom, err)
	}
}

func TestN_ARegisterIsReadAsItWasWrittenOrNot(t *testing.T) {
	t.Parallel()
	r := &natsconfig.Register{}
	var of []string
	for _, name := range []string{"billing", "stock"} {
		public, _ := newPair(t, nkeys.PrefixByteUser)
		of = append(of, public)
		if err := r.Add(natsconfig.User{Name: name, Role: bus.Verifier, Nkey: public}, time.Unix(1_900_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	if _, err := natsconfig.ParseRegister([]byte(" " + good + "\n")); err != nil {
		t.Errorf("with space around: %v", err)
	}
	for name, text := range map[string]string{
		"nothing":                  "",
		"null":                     "null",
		"no users":                 "{}",
		"another member":           strings.Replace(good, `"made"`, `"until": 5, "made"`, 1),
		"a member in other case":   strings.Replace(good, `"made"`, `"Made"`, 1),
		"a member twice":           strings.Replace(good, `"made"`, `"made": 5, "made"`, 1),
		"users twice":              strings.TrimSuffix(good, "}") + `, "users": []}`,
		"a second document":        good + good,
		"a bracket too many":       good + "]",
		"a name that is taken":     strings.Replace(good, `"stock"`, `"billing"`, 1),
		"an nkey that is taken":    strings.Replace(good, of[1], of[0], 1),
		"an nkey in two lines":     strings.Replace(good, of[0], of[0][:28]+`\n`+of[0][28:], 1),
		"no nkey":                  strings.Replace(good, of[0], "", 1),
		"no time":                  strings.Replace(good, "1900000000", "0", 1),
		"a role that is none":      strings.Replace(good, `"verifier"`, `"root"`, 1),
		"nobody, and not revoked":  strings.Replace(good, "\"name\": \"billing\",\n      \"role\": \"verifier\",", "", 1),
		"a name that has no role":  strings.Replace(good, `"role": "verifier",`, "", 1),
		"revoked before all times": strings.Replace(good, `1900000000`, `1900000000, "revoked": -1`, 1),
	} {
		if text == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := natsconfig.ParseRegister([]byte(text)); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}
