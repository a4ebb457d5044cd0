package events_test

import (
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
)

// An operator registers a client with a key, gives the key an end, revokes it, and on the way puts something that is
// no record. A set that follows the bucket knows at each moment which key is good.
func Example() {
	const key = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	now := time.Unix(1790000000, 0)
	set := events.NewSet(func(c events.Change) {
		fmt.Printf("revision %d: %s: %s\n", c.Revision, c.Event, c.Name)
	})
	for i, message := range []struct{ name, value string }{
		{"issuer.orders", `{"type":"client","status":"active","aud":["https://billing"],"offline":true}`},
		{"issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com"}`},
		{"key.orders.k1", `{` + key + `}`},
		{"key.orders.k1", `not json`},
		{"key.orders.k1", `{` + key + `,"exp":1790003600}`},
		{"revoked.orders.k1", `{"reason":"leaked"}`},
	} {
		set.Apply(events.Entry{Name: message.name, Value: []byte(message.value), Revision: uint64(i + 1), Time: now})

		if issuer := set.IssuerOf("https://auth.example.com/v1/clients/orders"); issuer != nil {
			if key := set.Key(issuer.Name, "k1"); key != nil {
				fmt.Println("  k1 of orders is", key.State(now))
			}
		}
	}
	for _, r := range set.Rejected() {
		fmt.Println("rejected:", r.Name, r.Reason)
	}
	// Output:
	// revision 1: issuer added: issuer.orders
	// revision 2: issuer added: issuer.platform
	// revision 3: key registered: key.orders.k1
	//   k1 of orders is active
	// revision 4: record rejected: key.orders.k1
	//   k1 of orders is active
	// revision 5: key retired: key.orders.k1
	//   k1 of orders is retiring
	// revision 6: key revoked: revoked.orders.k1
	//   k1 of orders is revoked
}

// What is to be written is made from a record, so that it is checked, and what a newer version has put there is kept.
func ExampleIssuer_Encode() {
	record, err := events.ParseIssuer([]byte(`{"type":"client","status":"active","scope":"billing:write billing:read","team":"pay"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	record.Status = events.Disabled
	value, err := record.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", value)

	record.Offline = true
	_, err = record.Encode()
	fmt.Println(err)
	// Output:
	// {"type":"client","status":"disabled","scope":"billing:read billing:write","team":"pay"}
	// an offline client needs a non-empty aud: it could mint tokens for every service
}

// A key is put in a bucket under the name of its record.
func ExampleKeyRecord() {
	fmt.Println(events.KeyRecord("orders", "k1"))
	fmt.Println(events.KeyRecord("github", "https://github.example/keys#1"))
	_, err := events.ParseRecordName("key.orders.b64.azE")
	fmt.Println(err)
	// Output:
	// key.orders.k1
	// key.github.b64.aHR0cHM6Ly9naXRodWIuZXhhbXBsZS9rZXlzIzE
	// kid after b64 has a plain name: use "k1" itself
}
