package events

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// The access key that Authress publishes as a test vector with its SDKs. It is public: never a real credential.
const (
	goldenAccessKey  = "sc_aAKceYi7VJDCU8vB7HcTo3Q.pogP.acc0-authress-account-id." + goldenPrivate
	goldenPrivate    = "MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wshwp"
	goldenX          = "JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU"
	goldenSPKI       = "MCowBQYDK2VwAyEAJxtSC5tZZJuaW7Aeu5Kh/3tgCpPZRkHaaFyTj5sQ3KU="
	goldenThumbprint = "ITnIUaE0rmBo3wZ7TNdaqj41QqLlDdNa7_7RaS0FyR0"
)

func parseGolden(t *testing.T) AccessKey {
	t.Helper()
	k, err := ParseAccessKey(goldenAccessKey)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestGoldenAccessKey(t *testing.T) {
	k := parseGolden(t)
	if k.Client != "sc_aAKceYi7VJDCU8vB7HcTo3Q" || k.KeyID != "pogP" || k.Account != "acc0-authress-account-id" {
		t.Errorf("parts: %s", k)
	}
	if k.Reveal() != goldenAccessKey {
		t.Error("it is not written byte for byte as it was read")
	}
	public := k.Private().Public().(ed25519.PublicKey)
	if b64(public) != goldenX {
		t.Errorf("x is %s, want %s", b64(public), goldenX)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil || base64.StdEncoding.EncodeToString(spki) != goldenSPKI {
		t.Errorf("SPKI is %s (%v), want %s", base64.StdEncoding.EncodeToString(spki), err, goldenSPKI)
	}
	if got, err := Thumbprint(public); err != nil || got != goldenThumbprint {
		t.Errorf("thumbprint is %s (%v), want %s", got, err, goldenThumbprint)
	}

	made, err := NewAccessKey(k.Client, k.KeyID, k.Account, k.Private())
	if err != nil || made.Reveal() != goldenAccessKey {
		t.Errorf("made of its parts it is another: %v", err)
	}
	if spaced, err := ParseAccessKey("\n " + goldenAccessKey + "\r\n"); err != nil || spaced.Reveal() != goldenAccessKey {
		t.Errorf("white space around it: %v", err)
	}
}

func TestAnAccessKeyIsNeverPrinted(t *testing.T) {
	k := parseGolden(t)
	inside := struct {
		key    AccessKey
		Public AccessKey
	}{k, k}
	secret := k.Private()
	leaks := func(name, out string) {
		t.Helper()
		for what, mark := range map[string]string{
			"base64": goldenPrivate[24:], "base64 of a part": goldenPrivate[30:50], "decimal bytes": "53 99 142 178", "decimal bytes with commas": "53, 99, 142, 178",
			"hexadecimal": fmt.Sprintf("%x", secret[:8]), "HEXADECIMAL": fmt.Sprintf("%X", secret[:8]), "Go syntax": "0x35, 0x63, 0x8e",
			"base64 of the seed": base64.StdEncoding.EncodeToString(secret[:32])[:20],
		} {
			if strings.Contains(out, mark) {
				t.Errorf("%s has the private key as %s", name, what)
			}
		}
		if strings.Contains(out, string(secret[:8])) {
			t.Errorf("%s has the bytes of the private key", name)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "% x", "%10v", "%p"} {
		for name, value := range map[string]any{"key": k, "pointer": &k, "struct": inside, "list": []AccessKey{k}, "map": map[string]AccessKey{"a": k}} {
			leaks(name+" by "+verb, fmt.Sprintf(verb, value))
		}
	}
	if got := fmt.Sprintf("%v %+v %#v", k, k, &k); strings.Count(got, "sc_aAKceYi7VJDCU8vB7HcTo3Q.pogP.acc0-authress-account-id.(private key)") != 3 {
		t.Errorf("it prints as %s", got)
	}
	for name, value := range map[string]any{"key": k, "pointer": &k, "list": []AccessKey{k}, "field": struct{ K AccessKey }{k}} {
		if out, err := json.Marshal(value); err == nil {
			t.Errorf("%s is JSON: %s", name, out)
		}
	}
	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("key", k).Any("pointer", &k).Stringer("stringer", k).Interface("inside", inside).
		Str("formatted", fmt.Sprint(k)).Err(fmt.Errorf("failed with %v", k)).Msgf("%v %+v", k, inside)
	if log.Len() == 0 {
		t.Fatal("nothing was logged")
	}
	leaks("log", log.String())
}

func TestTextsThatAreNoAccessKey(t *testing.T) {
	part := strings.Split(goldenAccessKey, ".")
	join := func(i int, s string) string {
		p := append([]string(nil), part...)
		p[i] = s
		return strings.Join(p, ".")
	}
	der, err := base64.StdEncoding.DecodeString(goldenPrivate)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                      "",
		"three parts":                  strings.Join(part[:3], "."),
		"five parts":                   goldenAccessKey + ".x",
		"no client":                    join(0, ""),
		"a client with a slash":        join(0, "sc/x"),
		"no kid":                       join(1, ""),
		"a kid with a space":           join(1, "po gP"),
		"no account":                   join(2, ""),
		"an account in capitals":       join(2, "ACC-0123456789"),
		"an account that is too short": join(2, "acc-012"),
		"no private key":               join(3, ""),
		"base64url":                    join(3, strings.NewReplacer("+", "-", "/", "_").Replace("MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wsh/+")),
		"a key that was cut off":       join(3, goldenPrivate[:60]),
		"a line break in the key":      join(3, goldenPrivate[:20]+"\n"+goldenPrivate[20:]),
		"something behind the key":     join(3, base64.StdEncoding.EncodeToString(append(der, 0, 0, 0))),
		"an X25519 key":                join(3, strings.Replace(goldenPrivate, "K2Vw", "K2Vu", 1)),
		"64 kB of dots":                strings.Repeat(".", 1<<16),
	} {
		k, err := ParseAccessKey(text)
		if err == nil {
			t.Errorf("%s is an access key", name)
			continue
		}
		if err.Error() != errAccessKey.Error() {
			t.Errorf("%s: the error says more than that: %v", name, err)
		}
		if k.Private() != nil || k.Reveal() != "" {
			t.Errorf("%s: an error and a key", name)
		}
	}
}

func TestAccessKeysAreMadeOfGoodPartsOnly(t *testing.T) {
	private := parseGolden(t).Private()
	mixed := append(append(ed25519.PrivateKey(nil), private[:32]...), publicKey(1)...)
	for name, make := range map[string]func() (AccessKey, error){
		"no client":                     func() (AccessKey, error) { return NewAccessKey("", "k1", "acc-0123456789", private) },
		"a client with a dot":           func() (AccessKey, error) { return NewAccessKey("a.b", "k1", "acc-0123456789", private) },
		"a kid with a dot":              func() (AccessKey, error) { return NewAccessKey("a", "k.1", "acc-0123456789", private) },
		"no account":                    func() (AccessKey, error) { return NewAccessKey("a", "k1", "", private) },
		"no key":                        func() (AccessKey, error) { return NewAccessKey("a", "k1", "acc-0123456789", nil) },
		"a seed":                        func() (AccessKey, error) { return NewAccessKey("a", "k1", "acc-0123456789", private[:32]) },
		"a public half that is another": func() (AccessKey, error) { return NewAccessKey("a", "k1", "acc-0123456789", mixed) },
	} {
		if k, err := make(); err == nil || k.Private() != nil {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

func TestAccounts(t *testing.T) {
	for account, want := range map[string]bool{
		"acc0-authress-account-id":      true,
		"acc-0123456789":                true,
		"acc_0123456789":                true,
		"acc" + strings.Repeat("a", 8):  true,
		"acc" + strings.Repeat("a", 7):  false,
		"acc" + strings.Repeat("a", 33): true,
		"acc" + strings.Repeat("a", 34): false,
		"abc-0123456789":                false,
		"acc-012345678A":                false,
		"acc-012345.789":                false,
		"":                              false,
	} {
		if IsAccount(account) != want {
			t.Errorf("%q: %v", account, !want)
		}
	}
}
