package events

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestKeyMembers(t *testing.T) {
	for name, record := range map[string]string{
		"no window":                           ed,
		"an nbf of zero":                      with(ed, "nbf", `0`),
		"an exp just after nbf":               with(ed, "nbf", `5`, "exp", `6`),
		"an exp of a second":                  with(ed, "exp", `1`),
		"the last exp":                        with(ed, "exp", `9007199254740991`),
		"an iat after exp, which says little": with(ed, "iat", `10`, "exp", `6`),
		"an empty revocation":                 with(ed, "revoked", `{}`),
		"a revocation with a reason":          with(ed, "revoked", `{"reason":"leaked","revoked_at":5}`),
		"a reason of 256 bytes":               with(ed, "revoked", `{"reason":`+text(256)+`}`),
		"a revocation with more":              with(ed, "revoked", `{"by":"ops"}`),
		"unknown members":                     with(ed, "EXP", `"x"`, "color", `{"a":[null,1.5e300]}`),
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKey("k1", []byte(record))
			if err != nil {
				t.Fatal(err)
			}
			out, err := k.Encode("k1")
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseKey("k1", out); err != nil || !reflect.DeepEqual(back, k) {
				t.Fatalf("reads back as\n%+v (%v), was\n%+v", back, err, k)
			}
		})
	}
	for _, c := range []struct{ name, record, want string }{
		{"an exp at nbf", with(ed, "nbf", `5`, "exp", `5`), "exp 5 is not after nbf 5"},
		{"an exp before nbf", with(ed, "nbf", `6`, "exp", `5`), "exp 5 is not after nbf 6"},
		{"an exp of zero", with(ed, "exp", `0`), `"exp": zero`},
		{"a negative exp", with(ed, "exp", `-1`), `"exp": time -1`},
		{"an exp of minus zero", with(ed, "exp", `-0`), `"exp": zero`},
		{"an exp of a string", with(ed, "exp", `"1795000000"`), `"exp": not an integer`},
		{"an exp of a fraction", with(ed, "exp", `1795000000.0`), `"exp": not an integer`},
		{"an exp of an exponent", with(ed, "exp", `1e9`), `"exp": not an integer`},
		{"an exp beyond 2^53", with(ed, "exp", `9007199254740992`), `"exp": integer out of range`},
		{"an exp of null", with(ed, "exp", `null`), `"exp": not an integer`},
		{"a negative nbf", with(ed, "nbf", `-1`), `"nbf": time -1`},
		{"an nbf of true", with(ed, "nbf", `true`), `"nbf": not an integer`},
		{"a negative iat", with(ed, "iat", `-1`), `"iat": time -1`},
		{"an iat of a date", with(ed, "iat", `"2026-01-01"`), `"iat": not an integer`},
		{"a revocation of true", with(ed, "revoked", `true`), `"revoked": json`},
		{"a revocation of null", with(ed, "revoked", `null`), `"revoked": json`},
		{"a revoked_at of a string", with(ed, "revoked", `{"revoked_at":"5"}`), `"revoked_at": not an integer`},
		{"a negative revoked_at", with(ed, "revoked", `{"revoked_at":-5}`), `"revoked_at": time -5`},
		{"a reason of a number", with(ed, "revoked", `{"reason":5}`), `"reason": not a string`},
		{"a reason of 257 bytes", with(ed, "revoked", `{"reason":`+text(257)+`}`), "at most 256 bytes"},
		{"a reason with a line break", with(ed, "revoked", `{"reason":"a\nb"}`), "control characters"},
		{"a reason that clears the screen", with(ed, "revoked", `{"reason":"\u001b[2J"}`), "control characters"},
		{"exp twice", `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `","exp":5,"exp":6}`, "duplicate"},
		{"x twice, once in escapes", `{"kty":"OKP","crv":"Ed25519","x":"` + edX + `","\u0078":"` + edX + `"}`, "duplicate"},
	} {
		t.Run("refused: "+c.name, func(t *testing.T) {
			_, err := ParseKey("k1", []byte(c.record))
			checkRefused(t, err, c.want)
		})
	}
}

func TestAKidInTheB64FormIsComparedAsItIs(t *testing.T) {
	name, err := ParseRecordName("key.idp.b64.YS9i")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(name.KeyID, []byte(with(ed, "kid", `"a/b"`))); err != nil {
		t.Error(err)
	}
	_, err = ParseKey(name.KeyID, []byte(with(ed, "kid", `"YS9i"`)))
	checkRefused(t, err, `kid "YS9i" is not the one in the record's name, "a/b"`)
}

func TestV20_KeyStates(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	window := &Key{NotBefore: 100, Expires: 200}
	for _, c := range []struct {
		name string
		key  *Key
		now  time.Time
		want KeyState
	}{
		{"a key without a window is active", &Key{}, at(1000), KeyActive},
		{"a second before nbf it is pending", window, at(99), KeyPending},
		{"a nanosecond before nbf it is pending", window, at(100).Add(-1), KeyPending},
		{"at nbf it is valid", window, at(100), KeyRetiring},
		{"with an exp it is retiring", &Key{Expires: 200}, at(100), KeyRetiring},
		{"with an nbf in the past it is active", &Key{NotBefore: 100}, at(100), KeyActive},
		{"a nanosecond before exp it is retiring", window, at(200).Add(-1), KeyRetiring},
		{"at exp it is expired", window, at(200), KeyExpired},
		{"after exp it is expired", window, at(1 << 40), KeyExpired},
		{"revoked comes before expired", &Key{Expires: 200, Revoked: &KeyRevocation{}}, at(300), KeyRevoked},
		{"revoked comes before pending", &Key{NotBefore: 200, Revoked: &KeyRevocation{}}, at(100), KeyRevoked},
		{"a revocation counts whatever its time", &Key{Revoked: &KeyRevocation{RevokedAt: 500}}, at(100), KeyRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.key.State(c.now); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			entry := &KeyEntry{Record: c.key}
			if got := entry.State(c.now); got != c.want {
				t.Errorf("the entry: %v, want %v", got, c.want)
			}
			if usable := c.want == KeyActive || c.want == KeyRetiring; c.want.Usable() != usable {
				t.Errorf("usable: %v", !usable)
			}
		})
	}
	if got := (&KeyEntry{}).State(at(0)); got != KeyUnknown || got.Usable() {
		t.Errorf("without a record: %v", got)
	}
	if got := (&KeyEntry{Record: &Key{}, RevokedBy: 7}).State(at(0)); got != KeyRevoked || got.Usable() {
		t.Errorf("revoked by name: %v", got)
	}
}

func TestStatesAndKindsHaveNames(t *testing.T) {
	for state, want := range map[KeyState]string{
		KeyUnknown: "unknown", KeyPending: "pending", KeyActive: "active", KeyRetiring: "retiring",
		KeyExpired: "expired", KeyRevoked: "revoked", KeyState(99): "unknown",
	} {
		if state.String() != want {
			t.Errorf("state %d is %s, want %s", state, state, want)
		}
	}
	for kind, want := range map[Kind]string{KindIssuer: "issuer", KindKey: "key", KindRevoked: "revoked", Kind(0): "unknown", Kind(99): "unknown"} {
		if kind.String() != want {
			t.Errorf("kind %d is %s, want %s", kind, kind, want)
		}
	}
}

// A member that the program thinks unknown must not become a known one, or a private one, in what is written.
func TestNothingGetsIntoARecordAsAnUnknownMember(t *testing.T) {
	extra := func(name, value string) Extra { return Extra{name: json.RawMessage(value)} }
	key := Key{Algorithm: EdDSA, Public: publicKey(1)}
	client := Issuer{Type: TypeClient, Status: Active}
	for name, encode := range map[string]func() ([]byte, error){
		"a private member":           func() ([]byte, error) { k := key; k.Extra = extra("d", `"AAAA"`); return k.Encode("k1") },
		"a second x":                 func() ([]byte, error) { k := key; k.Extra = extra("x", `"AAAA"`); return k.Encode("k1") },
		"an exp":                     func() ([]byte, error) { k := key; k.Extra = extra("exp", `5`); return k.Encode("k1") },
		"what is not JSON":           func() ([]byte, error) { k := key; k.Extra = extra("a", `}`); return k.Encode("k1") },
		"two members in one":         func() ([]byte, error) { k := key; k.Extra = extra("a", `1,"exp":5`); return k.Encode("k1") },
		"nothing":                    func() ([]byte, error) { k := key; k.Extra = extra("a", ``); return k.Encode("k1") },
		"a record that is too large": func() ([]byte, error) { k := key; k.Extra = extra("a", text(MaxValue)); return k.Encode("k1") },
		"a name that is not UTF-8": func() ([]byte, error) {
			k := key
			k.Extra = Extra{"\xff": []byte("1"), "\xfe": []byte("1")}
			return k.Encode("k1")
		},
		"offline for a client": func() ([]byte, error) {
			c := client
			c.Extra = extra("offline", `true`)
			c.Audience = []string{"a"}
			return c.Encode()
		},
		"another status":               func() ([]byte, error) { c := client; c.Extra = extra("status", `"active"`); return c.Encode() },
		"an exp of a token revocation": func() ([]byte, error) { return (&TokenRevocation{Expires: 5, Extra: extra("exp", `6`)}).Encode() },
		"a reason of a token":          func() ([]byte, error) { return (&TokenRevocation{Expires: 5, Extra: extra("reason", `"x"`)}).Encode() },
		"a reason of a revoked key":    func() ([]byte, error) { return (&KeyRevocation{Extra: extra("reason", `"x"`)}).Encode() },
		"a reason within a key": func() ([]byte, error) {
			k := key
			k.Revoked = &KeyRevocation{Extra: extra("reason", `"x"`)}
			return k.Encode("k1")
		},
		"require_jti of a client": func() ([]byte, error) { return (&Client{Extra: extra("require_jti", `true`)}).Encode() },
		"an exp of a secret": func() ([]byte, error) {
			return (&Client{Secrets: []Secret{{ID: "a", SHA256: [32]byte{1}, Extra: extra("exp", `5`)}}}).Encode()
		},
	} {
		if out, err := encode(); err == nil {
			t.Errorf("%s is written: %.200s", name, out)
		}
	}
}

// Validate stands alone, too: for who checks a record without writing it.
func TestValidateChecksWhatParseChecks(t *testing.T) {
	key := Key{Algorithm: EdDSA, Public: publicKey(1)}
	if err := key.Validate(); err != nil {
		t.Error(err)
	}
	for name, record := range map[string]interface{ Validate() error }{
		"no public key":              &Key{Algorithm: EdDSA},
		"an exp beyond 2^53":         &Key{Algorithm: EdDSA, Public: key.Public, Expires: 1 << 53},
		"an exp before nbf":          &Key{Algorithm: EdDSA, Public: key.Public, Expires: 5, NotBefore: 6},
		"a reason with a line break": &Key{Algorithm: EdDSA, Public: key.Public, Revoked: &KeyRevocation{Reason: "\n"}},
		"a negative revoked_at":      &KeyRevocation{RevokedAt: -1},
		"a negative not_before":      &Issuer{Type: TypeClient, Status: Active, NotBefore: -1},
		"a not_before beyond 2^53":   &Issuer{Type: TypeClient, Status: Active, NotBefore: 1 << 53},
		"no exp":                     &TokenRevocation{},
		"a token's exp beyond 2^53":  &TokenRevocation{Expires: 1 << 53},
		"a secret's exp before iat":  &Client{Secrets: []Secret{{ID: "a", SHA256: [32]byte{1}, IssuedAt: 6, Expires: 5}}},
		"a secret's negative iat":    &Client{Secrets: []Secret{{ID: "a", SHA256: [32]byte{1}, IssuedAt: -6}}},
		"17 secrets":                 &Client{Secrets: make([]Secret, 17)},
	} {
		if err := record.Validate(); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
}

func TestWhatIsInvalidIsNotWritten(t *testing.T) {
	key := Key{Algorithm: EdDSA, Public: publicKey(1)}
	for name, encode := range map[string]func() ([]byte, error){
		"a key that ends before it begins": func() ([]byte, error) { k := key; k.NotBefore, k.Expires = 6, 5; return k.Encode("k1") },
		"a key with a negative time":       func() ([]byte, error) { k := key; k.IssuedAt = -1; return k.Encode("k1") },
		"a key with a time beyond 2^53":    func() ([]byte, error) { k := key; k.Expires = 1 << 53; return k.Encode("k1") },
		"a key with a long reason": func() ([]byte, error) {
			k := key
			k.Revoked = &KeyRevocation{Reason: strings.Repeat("x", 257)}
			return k.Encode("k1")
		},
		"a reason with a line break": func() ([]byte, error) { return (&KeyRevocation{Reason: "a\nb"}).Encode() },
		"a reason that is not UTF-8": func() ([]byte, error) { return (&KeyRevocation{Reason: "\xff"}).Encode() },
		"a negative revoked_at":      func() ([]byte, error) { return (&KeyRevocation{RevokedAt: -1}).Encode() },
		"an issuer of no type":       func() ([]byte, error) { return (&Issuer{Status: Active}).Encode() },
		"a negative not_before":      func() ([]byte, error) { return (&Issuer{Type: TypeClient, Status: Active, NotBefore: -1}).Encode() },
		"an audience that is not UTF-8": func() ([]byte, error) {
			return (&Issuer{Type: TypeClient, Status: Active, Audience: []string{"\xff"}}).Encode()
		},
		"a token revocation without exp": func() ([]byte, error) { return (&TokenRevocation{}).Encode() },
		"an exp beyond 2^53":             func() ([]byte, error) { return (&TokenRevocation{Expires: 1 << 53}).Encode() },
		"a secret without a hash":        func() ([]byte, error) { return (&Client{Secrets: []Secret{{ID: "a"}}}).Encode() },
		"a secret with a negative exp": func() ([]byte, error) {
			return (&Client{Secrets: []Secret{{ID: "a", SHA256: [32]byte{1}, Expires: -1}}}).Encode()
		},
	} {
		if out, err := encode(); err == nil {
			t.Errorf("%s is written: %s", name, out)
		}
	}
}
