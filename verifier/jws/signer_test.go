package jws

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func mustSigner(t testing.TB, header Header, key crypto.Signer) *Signer {
	t.Helper()
	s, err := NewSigner(header, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASignerMakesTokensThatAreReadAndVerify(t *testing.T) {
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		s := mustSigner(t, Header{Algorithm: alg, KeyID: `a "quoted" name`, Type: "at+jwt"}, keys[alg])
		for range 2 {
			text, err := s.AppendValid([]byte("before "), []byte(usualClaims))
			if err != nil {
				t.Fatal(err)
			}
			token, ok := strings.CutPrefix(string(text), "before ")
			if !ok {
				t.Fatalf("%s: what was there is gone: %s", alg, text)
			}
			parsed := mustParse(t, token)
			if h := parsed.Header; h.Algorithm != alg || h.KeyID != `a "quoted" name` || h.Type != "at+jwt" || string(parsed.Payload()) != usualClaims {
				t.Errorf("%s: header %+v, claims %s", alg, h, parsed.Payload())
			}
			if err := Verify(alg, keys[alg].Public(), parsed.SigningInput(), parsed.Signature()); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

func TestNoSignerIsMadeOfWhatSignRefuses(t *testing.T) {
	keys := testKeys(t)
	for name, test := range map[string]struct {
		header Header
		key    crypto.Signer
		want   Reason
	}{
		"no algorithm":              {Header{KeyID: "k"}, keys[EdDSA], ReasonAlgorithm},
		"none":                      {Header{Algorithm: "none", KeyID: "k"}, keys[EdDSA], ReasonAlgorithm},
		"EdDSA with an RSA key":     {Header{Algorithm: EdDSA, KeyID: "k"}, keys[RS256], ReasonKey},
		"ES256 with an Ed25519 key": {Header{Algorithm: ES256, KeyID: "k"}, keys[EdDSA], ReasonKey},
		"no key":                    {Header{Algorithm: EdDSA, KeyID: "k"}, nil, ReasonKey},
		"no kid":                    {Header{Algorithm: EdDSA}, keys[EdDSA], ReasonKeyID},
		"a kid with a line break":   {Header{Algorithm: EdDSA, KeyID: "k\n"}, keys[EdDSA], ReasonHeader},
		"a header that is too long": {Header{Algorithm: EdDSA, KeyID: "k", Type: strings.Repeat("t", MaxHeader)}, keys[EdDSA], ReasonSize},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSigner(test.header, test.key)
			wantReason(t, err, test.want)
			if s != nil {
				t.Error("a signer came with the error")
			}
			_, err = Sign(test.header, []byte(usualClaims), test.key)
			wantReason(t, err, test.want)
		})
	}
}

func TestASignerMakesNoTokenThatIsTooLong(t *testing.T) {
	s := mustSigner(t, Header{Algorithm: EdDSA, KeyID: "k"}, testKeys(t)[EdDSA])
	room := MaxToken - len(s.header) - 2 - 86
	longest := `{"x":"` + strings.Repeat("x", base64.RawURLEncoding.DecodedLen(room)-len(`{"x":""}`)) + `"}`
	text, err := s.AppendValid([]byte("before"), []byte(longest))
	if err != nil {
		t.Fatalf("a token of the greatest length: %v", err)
	}
	mustParse(t, string(text[len("before"):]))
	text, err = s.AppendValid(nil, []byte(longest[:6]+"xx"+longest[6:]))
	wantReason(t, err, ReasonSize)
	if text != nil {
		t.Error("a token came with the error")
	}
}

func TestWhatASignersKeySaysIsNotHidden(t *testing.T) {
	errOffline := errors.New("offline")
	failing := signer{testKeys(t)[EdDSA].Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, errOffline }}
	if _, err := mustSigner(t, Header{Algorithm: EdDSA, KeyID: "k"}, failing).AppendValid(nil, []byte(usualClaims)); !errors.Is(err, errOffline) {
		t.Errorf("error %v hides the signer's", err)
	}
	short := signer{failing.public, func([]byte, crypto.SignerOpts) ([]byte, error) { return make([]byte, 63), nil }}
	if text, err := mustSigner(t, Header{Algorithm: EdDSA, KeyID: "k"}, short).AppendValid(nil, []byte(usualClaims)); err == nil {
		t.Errorf("a signature of 63 bytes was taken: %s", text)
	}
}

func TestNothingThatPrintsASignerPrintsItsKey(t *testing.T) {
	key := testKeys(t)[EdDSA].(ed25519.PrivateKey)
	s := mustSigner(t, Header{Algorithm: EdDSA, KeyID: "k"}, key)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d"} {
		for _, value := range []any{s, *s} {
			text := fmt.Sprintf(verb, value)
			for _, form := range []string{"%d", "%x", "%#v"} {
				if shown := strings.Trim(fmt.Sprintf(form, []byte(key.Seed())), "[]{}"); strings.Contains(text, shown) {
					t.Errorf("%s shows the private key", verb)
				}
			}
		}
	}
}

func TestASignerAllocatesThreeTimesAtMost(t *testing.T) {
	s := mustSigner(t, Header{Algorithm: EdDSA, KeyID: "k"}, testKeys(t)[EdDSA])
	claims := []byte(usualClaims)
	if n := testing.AllocsPerRun(100, func() { _, _ = s.AppendValid(nil, claims) }); n > 3 {
		t.Errorf("%v allocations, want 3 at most: two, and one with the race detector", n)
	}
}

// FuzzSigner looks for claims of which Sign makes another token, and for tokens of valid claims that Parse does not take.
func FuzzSigner(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		segments := strings.Split(seed, ".")
		if len(segments) != 3 {
			continue
		}
		if claims, err := base64.RawURLEncoding.DecodeString(segments[1]); err == nil {
			f.Add(string(claims))
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	header := Header{Algorithm: EdDSA, KeyID: "k1", Type: "at+jwt"}
	s := mustSigner(f, header, key)
	f.Fuzz(func(t *testing.T, claims string) {
		want, err := Sign(header, []byte(claims), key)
		var refused *Error
		if errors.As(err, &refused) && refused.Reason != ReasonSize {
			return // claims that are not valid are not for a Signer
		}
		got, errSigner := s.AppendValid(nil, []byte(claims))
		if (err == nil) != (errSigner == nil) || string(got) != want {
			t.Fatalf("%q became %q (%v), want %q (%v)", claims, got, errSigner, want, err)
		}
		if err != nil {
			return
		}
		if parsed := mustParse(t, string(got)); string(parsed.Payload()) != claims {
			t.Fatalf("%q was read as %q", claims, parsed.Payload())
		}
	})
}
