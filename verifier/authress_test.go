package verifier_test

import (
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// The token that the SDKs of Authress mint with a published test key. See also the test in package jws.
const authressToken = "eyJhbGciOiJFZERTQSIsImtpZCI6InBvZ1AiLCJ0eXAiOiJhdCtqd3QifQ.eyJhdWQiOiJhY2MwLWF1dGhyZXNzLWFjY291bnQtaWQuYWNjb3VudHMuYXV0aHJlc3MuaW8iLCJpc3MiOiJodHRwczovL2F1dGhyZXNzLnRva2VuLXZhbGlkYXRpb24udGVzdC92MS9jbGllbnRzL3NjX2FBS2NlWWk3VkpEQ1U4dkI3SGNUbzNRIiwic3ViIjoic2NfYUFLY2VZaTdWSkRDVTh2QjdIY1RvM1EiLCJjbGllbnRfaWQiOiJzY19hQUtjZVlpN1ZKRENVOHZCN0hjVG8zUSIsImlhdCI6MTY1MDAwMDAwMCwiZXhwIjoxNjUwMDg2NDAwLCJzY29wZSI6Im9wZW5pZCJ9.T0wXutLVx_iZQ49mdN3VRzN13F3WCJuVzK3R_yweQTAgCF9XPg_gXIus-B-yMXOmRdzuXPDBoiJLP9CF2czuDQ"

func TestTheGoldenTokenOfAuthressIsAcceptedInItsTime(t *testing.T) {
	const client = "sc_aAKceYi7VJDCU8vB7HcTo3Q"
	f := newFeed(t, nil)
	f.put("issuer.platform", `{"type":"platform","status":"active","iss":"https://authress.token-validation.test","account":"acc0-authress-account-id"}`)
	f.put("issuer."+client, `{"type":"client","status":"active","aud":["https://orders"],"scope":"orders:read","offline":true,"max_token_ttl":86400}`)
	f.put("key."+client+".pogP", `{"kty":"OKP","crv":"Ed25519","x":"JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU"}`)

	service := func(second int64, whole bool) *verifier.Verifier {
		moment := time.Unix(second, 0)
		f.confirm(moment)
		v, err := verifier.New(verifier.Config{Audience: "https://orders", AccountAudience: whole, Now: func() time.Time { return moment }}, f)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	got := expect(t, service(1650000000, true), authressToken, accepted)
	if got.Client != client || got.Subject != client || got.KeyID != "pogP" || got.Scope.String() != "orders:read" || got.IssuerType != events.TypeClient {
		t.Errorf("result %+v", got)
	}
	expect(t, service(1650086399, true), authressToken, accepted)
	expect(t, service(1650086430, true), authressToken, verifier.ReasonExpired)
	expect(t, service(1649999969, true), authressToken, verifier.ReasonTooEarly)
	expect(t, service(1650000000, false), authressToken, verifier.ReasonAudience)
}
