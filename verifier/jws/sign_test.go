package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
)

func mustSign(t testing.TB, header Header, key crypto.Signer) string {
	t.Helper()
	token, err := Sign(header, []byte(usualClaims), key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestWhatIsSignedIsReadAndVerifies(t *testing.T) {
	keys := testKeys(t)
	for _, alg := range Algorithms() {
		for _, header := range []Header{
			{Algorithm: alg, KeyID: "k1", Type: "at+jwt"},
			{Algorithm: alg, KeyID: "k1"},
			{Algorithm: alg, KeyID: `a "quoted\" name/ü`, Type: `"\`},
			{Algorithm: alg, KeyID: strings.Repeat(`"`, MaxKeyID)},
		} {
			token, err := Sign(header, []byte(usualClaims), keys[alg])
			if err != nil {
				t.Fatal(err)
			}
			parsed := mustParse(t, token)
			if got := parsed.Header; got.Algorithm != header.Algorithm || got.KeyID != header.KeyID || got.Type != header.Type {
				t.Errorf("header %+v became %+v", header, got)
			}
			if string(parsed.Payload()) != usualClaims {
				t.Errorf("claims became %s", parsed.Payload())
			}
			if err := Verify(alg, keys[alg].Public(), parsed.SigningInput(), parsed.Signature()); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
}

func TestTheHeaderHasItsMembersInOrder(t *testing.T) {
	for want, header := range map[string]Header{
		`{"alg":"ES256","kid":"k","typ":"at+jwt"}`: {Algorithm: ES256, KeyID: "k", Type: "at+jwt"},
		`{"alg":"PS256","kid":"k"}`:                {Algorithm: PS256, KeyID: "k"},
		`{"alg":"EdDSA","kid":"\"\\"}`:             {Algorithm: EdDSA, KeyID: `"\`, Ignored: []string{"jku"}},
	} {
		if got := string(header.appendJSON(nil)); got != want {
			t.Errorf("%+v became %s, want %s", header, got, want)
		}
	}
}

// What Parse would refuse is not signed: nobody is handed a token that is good for nothing.
func TestWhatWouldBeRefusedIsNotSigned(t *testing.T) {
	keys := testKeys(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := Header{Algorithm: EdDSA, KeyID: "k", Type: "at+jwt"}
	for name, test := range map[string]struct {
		header Header
		claims string
		key    crypto.Signer
		want   Reason
	}{
		"no algorithm":                  {Header{KeyID: "k"}, usualClaims, keys[EdDSA], ReasonAlgorithm},
		"none":                          {Header{Algorithm: "none", KeyID: "k"}, usualClaims, keys[EdDSA], ReasonAlgorithm},
		"an algorithm of another key":   {Header{Algorithm: ES256, KeyID: "k"}, usualClaims, keys[EdDSA], ReasonKey},
		"EdDSA with an RSA key":         {good, usualClaims, keys[RS256], ReasonKey},
		"EdDSA with an EC key":          {good, usualClaims, keys[ES256], ReasonKey},
		"ES256 with another curve":      {Header{Algorithm: ES256, KeyID: "k"}, usualClaims, p384, ReasonKey},
		"ES256 with an RSA key":         {Header{Algorithm: ES256, KeyID: "k"}, usualClaims, keys[RS256], ReasonKey},
		"RS256 with an EC key":          {Header{Algorithm: RS256, KeyID: "k"}, usualClaims, keys[ES256], ReasonKey},
		"PS256 with an Ed25519 key":     {Header{Algorithm: PS256, KeyID: "k"}, usualClaims, keys[EdDSA], ReasonKey},
		"no key":                        {good, usualClaims, nil, ReasonKey},
		"no kid":                        {Header{Algorithm: EdDSA}, usualClaims, keys[EdDSA], ReasonKeyID},
		"a kid that is too long":        {Header{Algorithm: EdDSA, KeyID: strings.Repeat("k", MaxKeyID+1)}, usualClaims, keys[EdDSA], ReasonKeyID},
		"a kid with a line break":       {Header{Algorithm: EdDSA, KeyID: "k\n"}, usualClaims, keys[EdDSA], ReasonHeader},
		"a kid with DEL":                {Header{Algorithm: EdDSA, KeyID: "k\x7f"}, usualClaims, keys[EdDSA], ReasonKeyID},
		"a kid that is not UTF-8":       {Header{Algorithm: EdDSA, KeyID: "k\xff"}, usualClaims, keys[EdDSA], ReasonHeader},
		"a typ with a zero byte":        {Header{Algorithm: EdDSA, KeyID: "k", Type: "\x00"}, usualClaims, keys[EdDSA], ReasonHeader},
		"a header that is too long":     {Header{Algorithm: EdDSA, KeyID: "k", Type: strings.Repeat("t", MaxHeader)}, usualClaims, keys[EdDSA], ReasonSize},
		"claims that are not JSON":      {good, `iss=i`, keys[EdDSA], ReasonClaims},
		"no claims":                     {good, ``, keys[EdDSA], ReasonClaims},
		"claims twice":                  {good, `{"sub":"a","sub":"b"}`, keys[EdDSA], ReasonClaims},
		"a time that is not an integer": {good, `{"exp":1.5}`, keys[EdDSA], ReasonClaims},
		"an empty audience":             {good, `{"aud":[]}`, keys[EdDSA], ReasonClaims},
		"claims that are too long":      {good, `{"x":"` + strings.Repeat("x", 6100) + `"}`, keys[EdDSA], ReasonSize},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := Sign(test.header, []byte(test.claims), test.key)
			wantReason(t, err, test.want)
			if token != "" {
				t.Error("a token came with the error")
			}
			if err != nil && !strings.HasPrefix(err.Error(), "sign token: ") {
				t.Errorf("error %q does not say what was attempted", err)
			}
		})
	}
}

// GHSA-4cf7-xm37-g63h: a name or a value that is written into JSON unescaped can add members.
func TestC_NothingCanBeInjectedIntoTheHeader(t *testing.T) {
	kid := `k","alg":"none","x":"`
	parsed := mustParse(t, mustSign(t, Header{Algorithm: EdDSA, KeyID: kid, Type: kid}, testKeys(t)[EdDSA]))
	if parsed.Header.KeyID != kid || parsed.Header.Type != kid || parsed.Header.Algorithm != EdDSA {
		t.Errorf("header %+v", parsed.Header)
	}
}

// signer is a key somewhere else, such as a KMS, whose answers may be anything.
type signer struct {
	public crypto.PublicKey
	sign   func(digest []byte, opts crypto.SignerOpts) ([]byte, error)
}

func (s signer) Public() crypto.PublicKey { return s.public }

func (s signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest, opts)
}

func TestSignersElsewhere(t *testing.T) {
	keys := testKeys(t)
	asASN1 := func(r, s *big.Int) []byte {
		der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	one, huge := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	for name, test := range map[string]struct {
		alg    Algorithm
		answer []byte
	}{
		"a short Ed25519 signature":    {EdDSA, make([]byte, 63)},
		"no Ed25519 signature":         {EdDSA, nil},
		"an ES256 signature in R || S": {ES256, make([]byte, 64)},
		"no ES256 signature":           {ES256, nil},
		"an ES256 signature and more":  {ES256, append(asASN1(one, one), 0)},
		"an ES256 signature with R 0":  {ES256, asASN1(new(big.Int), one)},
		"an ES256 signature with -S":   {ES256, asASN1(one, big.NewInt(-1))},
		"an R of 257 bits":             {ES256, asASN1(huge, one)},
		"an S of 257 bits":             {ES256, asASN1(one, huge)},
	} {
		t.Run(name, func(t *testing.T) {
			key := signer{keys[test.alg].Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return test.answer, nil }}
			if token, err := Sign(Header{Algorithm: test.alg, KeyID: "k"}, []byte(usualClaims), key); err == nil {
				t.Errorf("signed: %s", token)
			}
		})
	}

	errOffline := errors.New("offline")
	for _, alg := range Algorithms() {
		failing := signer{keys[alg].Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, errOffline }}
		if _, err := Sign(Header{Algorithm: alg, KeyID: "k"}, []byte(usualClaims), failing); !errors.Is(err, errOffline) {
			t.Errorf("%s: error %v hides the signer's", alg, err)
		}
		working := signer{keys[alg].Public(), func(digest []byte, opts crypto.SignerOpts) ([]byte, error) {
			return keys[alg].Sign(rand.Reader, digest, opts)
		}}
		parsed := mustParse(t, mustSign(t, Header{Algorithm: alg, KeyID: "k"}, working))
		if err := Verify(alg, working.public, parsed.SigningInput(), parsed.Signature()); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}

	small := signer{keys[ES256].Public(), func([]byte, crypto.SignerOpts) ([]byte, error) { return asASN1(one, one), nil }}
	parsed := mustParse(t, mustSign(t, Header{Algorithm: ES256, KeyID: "k"}, small))
	want := append(append(make([]byte, 31), 1), append(make([]byte, 31), 1)...)
	if !bytes.Equal(parsed.Signature(), want) {
		t.Errorf("R and S of 1 became %x", parsed.Signature())
	}
}

func TestSigningIsDeterministicWithEd25519(t *testing.T) {
	key := testKeys(t)[EdDSA]
	header := Header{Algorithm: Ed25519, KeyID: "k"}
	token := mustSign(t, header, key)
	if again := mustSign(t, header, key); token != again {
		t.Errorf("%s, then %s", token, again)
	}
	if _, ok := key.(ed25519.PrivateKey); !ok {
		t.Errorf("the key is %T", key)
	}
}
