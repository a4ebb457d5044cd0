package jws

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"testing"
)

// The token that the SDKs of Authress mint with a published test key. Ed25519 is deterministic, so there is one right answer.
const (
	goldenKey    = "MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wshwp" // PKCS#8
	goldenClaims = `{"aud":"acc0-authress-account-id.accounts.authress.io",` +
		`"iss":"https://authress.token-validation.test/v1/clients/sc_aAKceYi7VJDCU8vB7HcTo3Q",` +
		`"sub":"sc_aAKceYi7VJDCU8vB7HcTo3Q","client_id":"sc_aAKceYi7VJDCU8vB7HcTo3Q",` +
		`"iat":1650000000,"exp":1650086400,"scope":"openid"}`
	goldenToken = "eyJhbGciOiJFZERTQSIsImtpZCI6InBvZ1AiLCJ0eXAiOiJhdCtqd3QifQ.eyJhdWQiOiJhY2MwLWF1dGhyZXNzLWFjY291bnQtaWQuYWNjb3" +
		"VudHMuYXV0aHJlc3MuaW8iLCJpc3MiOiJodHRwczovL2F1dGhyZXNzLnRva2VuLXZhbGlkYXRpb24udGVzdC92MS9jbGllbnRzL3NjX2FBS2NlWWk3VkpEQ1U4" +
		"dkI3SGNUbzNRIiwic3ViIjoic2NfYUFLY2VZaTdWSkRDVTh2QjdIY1RvM1EiLCJjbGllbnRfaWQiOiJzY19hQUtjZVlpN1ZKRENVOHZCN0hjVG8zUSIsImlhdC" +
		"I6MTY1MDAwMDAwMCwiZXhwIjoxNjUwMDg2NDAwLCJzY29wZSI6Im9wZW5pZCJ9.T0wXutLVx_iZQ49mdN3VRzN13F3WCJuVzK3R_yweQTAgCF9XPg_gXIus-B-y" +
		"MXOmRdzuXPDBoiJLP9CF2czuDQ"
)

func TestTheGoldenTokenOfAuthressIsSignedByteForByte(t *testing.T) {
	der, err := base64.StdEncoding.DecodeString(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Sign(Header{Algorithm: EdDSA, KeyID: "pogP", Type: "at+jwt"}, []byte(goldenClaims), key.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	if got != goldenToken {
		t.Errorf("signed\n%s, Authress has\n%s", got, goldenToken)
	}
	public := key.(crypto.Signer).Public()
	token := mustParse(t, goldenToken)
	if err := Verify(token.Header.Algorithm, public, token.SigningInput(), token.Signature()); err != nil {
		t.Error(err)
	}
}

func TestTheGoldenTokenOfAuthressIsReadMemberByMember(t *testing.T) {
	token := mustParse(t, goldenToken)
	if h := token.Header; h.Algorithm != EdDSA || h.KeyID != "pogP" || h.Type != "at+jwt" || h.Ignored != nil {
		t.Errorf("header %+v", h)
	}
	if string(token.Payload()) != goldenClaims {
		t.Errorf("payload %s", token.Payload())
	}
	c := token.Claims
	if len(c.Audience) != 1 || c.Audience[0] != "acc0-authress-account-id.accounts.authress.io" {
		t.Errorf("aud %q", c.Audience)
	}
	if c.Issuer != "https://authress.token-validation.test/v1/clients/sc_aAKceYi7VJDCU8vB7HcTo3Q" ||
		c.Subject != "sc_aAKceYi7VJDCU8vB7HcTo3Q" || c.ClientID != c.Subject || c.ID != "" || c.TokenUse != "" {
		t.Errorf("identifiers %+v", c)
	}
	if !c.HasIssuedAt || c.IssuedAt != 1650000000 || !c.HasExpiry || c.Expiry != 1650086400 || c.HasNotBefore {
		t.Errorf("times %+v", c)
	}
	if !c.HasScope || c.Scope != "openid" || c.Confirmation != nil || c.HasNonce || c.HasAtHash || c.HasCHash {
		t.Errorf("the rest %+v", c)
	}
}
