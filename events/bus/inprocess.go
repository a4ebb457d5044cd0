package bus

import (
	"context"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// InProcess is a NATS server in the same process.
type InProcess interface {
	// InProcessConn makes a connection that needs no network.
	InProcessConn() (net.Conn, error)
}

// EnsureBucketsInProcess is [EnsureBuckets] on a single server in the same process, with the nkey seed of an admin.
func EnsureBucketsInProcess(ctx context.Context, server InProcess, adminKeyFile string) error {
	admin, inbox, err := credential(Config{SeedFile: adminKeyFile})
	if err != nil {
		return err
	}
	conn, err := nats.Connect(nats.DefaultURL, nats.InProcessServer(server), admin, nats.CustomInboxPrefix(inbox), nats.NoReconnect())
	if err != nil {
		return fmt.Errorf("connect as admin: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("connect as admin: %w", err)
	}
	return EnsureBuckets(ctx, js, 1)
}
