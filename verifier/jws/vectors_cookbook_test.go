package jws

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cookbookExample is one file of the JOSE cookbook, as far as we need it.
type cookbookExample struct {
	Input struct {
		Payload string
		Key     json.RawMessage
	}
	Signing json.RawMessage
	Output  struct {
		Compact  string
		JSON     json.RawMessage
		JSONFlat json.RawMessage `json:"json_flat"`
	}
}

func readCookbook(t *testing.T, name string) (e cookbookExample) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/jose-cookbook", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return e
}

func TestRFC8037_A4_EdDSAIsVerifiedAndSignedByteForByte(t *testing.T) {
	e := readCookbook(t, "curve25519/jws.json")
	var jwk struct{ X, D string }
	if err := json.Unmarshal(e.Input.Key, &jwk); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(decodeText(t, jwk.D))
	if !bytes.Equal(key.Public().(ed25519.PublicKey), decodeText(t, jwk.X)) {
		t.Fatal("the public key does not belong to the private one")
	}
	var signing struct {
		Protected json.RawMessage
		Input     string `json:"sig-input"`
	}
	if err := json.Unmarshal(e.Signing, &signing); err != nil {
		t.Fatal(err)
	}
	var header bytes.Buffer
	if err := json.Compact(&header, signing.Protected); err != nil {
		t.Fatal(err)
	}
	got, err := signCompact(EdDSA, header.Bytes(), []byte(e.Input.Payload), key)
	if err != nil {
		t.Fatal(err)
	}
	if got != e.Output.Compact {
		t.Errorf("signed\n%s, the RFC has\n%s", got, e.Output.Compact)
	}

	token, err := parseCompact(e.Output.Compact, new(texts))
	if err != nil {
		t.Fatal(err)
	}
	if string(token.SigningInput()) != signing.Input || string(token.Payload()) != e.Input.Payload {
		t.Errorf("signing input %q, payload %q", token.SigningInput(), token.Payload())
	}
	if err := Verify(EdDSA, key.Public(), token.SigningInput(), token.Signature()); err != nil {
		t.Error(err)
	}
	if _, err := Parse(e.Output.Compact); err == nil {
		t.Error("Parse accepted a token without kid")
	}
}

func TestRFC7520_4_1_RS256IsVerifiedAndSignedByteForByte(t *testing.T) {
	e := readCookbook(t, "jws/4_1.rsa_v15_signature.json")
	key := cookbookRSAKey(t, e.Input.Key)
	header := `{"alg":"RS256","kid":"bilbo.baggins@hobbiton.example"}`
	got, err := signCompact(RS256, []byte(header), []byte(e.Input.Payload), key)
	if err != nil {
		t.Fatal(err)
	}
	if got != e.Output.Compact {
		t.Errorf("signed\n%s, the RFC has\n%s", got, e.Output.Compact)
	}
	token, err := parseCompact(e.Output.Compact, new(texts))
	if err != nil {
		t.Fatal(err)
	}
	if token.Header.KeyID != "bilbo.baggins@hobbiton.example" {
		t.Errorf("kid %q", token.Header.KeyID)
	}
	if err := Verify(RS256, key.Public(), token.SigningInput(), token.Signature()); err != nil {
		t.Error(err)
	}
	_, err = Parse(e.Output.Compact) // the payload is a line of The Fellowship of the Ring
	wantReason(t, err, ReasonClaims)
}

func TestRFC7520_OtherAlgorithmsAndFormsAreRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/jose-cookbook/jws/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 8 {
		t.Fatalf("found %d examples, want 8", len(files))
	}
	refused := 0
	for _, file := range append(files, "testdata/jose-cookbook/curve25519/jws.json") {
		e := readCookbook(t, strings.TrimPrefix(file, "testdata/jose-cookbook/"))
		for _, form := range []json.RawMessage{e.Output.JSON, e.Output.JSONFlat} {
			if form == nil { // 4.8 has two signatures and so no flat form
				continue
			}
			_, err := parseCompact(string(form), new(texts))
			wantReason(t, err, ReasonForm)
			refused++
		}
		want := map[string]Reason{
			"4_2.rsa-pss_signature.json":               ReasonAlgorithm, // PS384
			"4_3.ecdsa_signature.json":                 ReasonAlgorithm, // ES512
			"4_4.hmac-sha2_integrity_protection.json":  ReasonAlgorithm, // HS256
			"4_5.signature_with_detached_content.json": ReasonForm,      // no payload
		}[filepath.Base(file)]
		if want != "" {
			_, err := parseCompact(e.Output.Compact, new(texts))
			wantReason(t, err, want)
			refused++
		}
	}
	if refused != 21 {
		t.Errorf("%d tokens were tried, want 21", refused)
	}
	t.Logf("%d refused", refused)
}

func cookbookRSAKey(t *testing.T, jwk json.RawMessage) crypto.Signer {
	t.Helper()
	var k struct{ N, E, D, P, Q string }
	if err := json.Unmarshal(jwk, &k); err != nil {
		t.Fatal(err)
	}
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: bigFrom(t, k.N), E: int(bigFrom(t, k.E).Int64())},
		D:         bigFrom(t, k.D),
	}
	key.Primes = append(key.Primes, bigFrom(t, k.P), bigFrom(t, k.Q))
	key.Precompute()
	return key
}
