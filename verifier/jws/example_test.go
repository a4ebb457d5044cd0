package jws_test

import (
	"crypto/ed25519"
	"fmt"
	"log"

	"github.com/keyherald/keyherald/verifier/jws"
)

// A service signs a token; another reads it, finds the key by what the token claims, and verifies.
func Example() {
	key := ed25519.NewKeyFromSeed([]byte("thirty-two bytes, and no secret!"))

	signed, err := jws.Sign(
		jws.Header{Algorithm: jws.EdDSA, KeyID: "k1", Type: "at+jwt"},
		[]byte(`{"iss":"https://auth.example.com/v1/clients/orders","sub":"orders","aud":"https://billing","exp":1790000900}`),
		key)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed)

	// The other side knows this key, and that it is for EdDSA: from its registry, never from the token.
	registered := struct {
		alg jws.Algorithm
		key ed25519.PublicKey
	}{jws.EdDSA, key.Public().(ed25519.PublicKey)}

	token, err := jws.Parse(signed)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Claims.Issuer, token.Header.KeyID)
	if !token.Header.Algorithm.Same(registered.alg) {
		log.Fatal("the token is not of the key's algorithm")
	}
	if err := jws.Verify(registered.alg, registered.key, token.SigningInput(), token.Signature()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Claims.Subject, token.Claims.Audience, token.Claims.Expiry, token.Header.IsType("at+jwt"))

	// Output:
	// eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIiwidHlwIjoiYXQrand0In0.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20vdjEvY2xpZW50cy9vcmRlcnMiLCJzdWIiOiJvcmRlcnMiLCJhdWQiOiJodHRwczovL2JpbGxpbmciLCJleHAiOjE3OTAwMDA5MDB9.R_er72OqAuwQna5T-a2c9rFsWIYkcpYu65i2chvXZ-lZYS_0Wz6vPBDEBuD3Xr6tgIWCRHRGyhv7pWgSTSomDQ
	// https://auth.example.com/v1/clients/orders k1
	// orders [https://billing] 1790000900 true
}

// One error value, with a reason that is fit for a metric's label.
func ExampleParse_refused() {
	_, err := jws.Parse("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.AAAA")
	fmt.Println(err)
	// Output: token header alg is not an algorithm that is accepted
}
