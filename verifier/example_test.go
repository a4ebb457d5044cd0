package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier"
)

func Example() {
	ctx := context.Background()
	server, bearer := startExample() // a server on which the client orders is registered, and a token of it
	defer server.stop()

	v, err := verifier.Connect(ctx, verifier.Config{
		NATS: server.URL(), SeedFile: server.KeyFile(bus.Verifier), Audience: "https://billing.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()

	token, err := v.Verify(bearer) // no network, no lock
	switch {
	case err == nil:
		fmt.Println(token.Client, "may", token.Scope)
	case errors.Is(err, verifier.ErrUndecided):
		fmt.Println("503 and Retry-After: the verifier may be behind, and says so")
	default:
		fmt.Println("401; this is why, for your log:", err)
	}
	// Output: orders may billing:read
}
