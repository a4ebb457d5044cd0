package mint_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier/jws"
)

// A service calls another one. It mints its tokens itself; with a Requester in place of the Minter it would get them from the token
// service, and the rest would be the same.
func Example() {
	billing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := jws.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) // a service uses a verifier
		if err != nil {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s for %s", token.Claims.Subject, token.Claims.Audience)
	}))
	defer billing.Close()

	// As keyherald key add printed it; a service reads it from a file. This one is published for tests.
	key, err := events.ParseAccessKey("orders.pogP.acc0-authress-account-id.MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wshwp")
	if err != nil {
		fmt.Println(err)
		return
	}
	minter, err := mint.FromAccessKey(key, "https://auth.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	source, err := mint.NewSource(mint.SourceConfig{Provider: minter, Request: mint.Request{Audience: []string{"https://billing"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	transport, err := mint.NewTransport(mint.TransportConfig{Source: source, Origins: []string{billing.URL}})
	if err != nil {
		fmt.Println(err)
		return
	}

	client := &http.Client{Transport: transport}
	response, err := client.Get(billing.URL + "/invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	var said [64]byte
	n, _ := response.Body.Read(said[:])
	fmt.Println(string(said[:n]))
	// Output: orders for [https://billing]
}
