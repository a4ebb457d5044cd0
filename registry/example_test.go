package registry_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func Example() {
	ctx := context.Background()
	conn, err := bus.Connect(ctx, bus.Config{URL: "nats://127.0.0.1:4222", SeedFile: "d/nats/operator.nk"})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	audit := zerolog.New(os.Stderr).With().Timestamp().Logger()
	keys := conn.FollowKeys(audit)
	defer keys.Close()
	reg, err := registry.New(registry.Config{Store: conn, Keys: keys, Logger: audit})
	if err != nil {
		log.Fatal(err)
	}

	by := registry.Caller{Name: "cli:alice@laptop"}
	if _, err := reg.CreateClient(ctx, by, "orders", registry.ClientSpec{Audience: []string{"https://billing"}, Offline: true}); err != nil {
		log.Fatal(err)
	}
	key, err := reg.AddKey(ctx, by, "orders", registry.KeySpec{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.AccessKey.Reveal()) // once, and nowhere else
	rotated, err := reg.RotateKey(ctx, by, "orders", registry.Rotation{Overlap: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rotated.New.AccessKey.Reveal())
	if _, err := reg.RevokeKey(ctx, by, "orders", key.KeyID, "laptop lost"); err != nil {
		log.Fatal(err)
	}
}
