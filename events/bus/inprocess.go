package bus

import (
	"context"
	"fmt"
	"net"
)

// InProcess is a NATS server in the same process.
type InProcess interface {
	// InProcessConn makes a connection that needs no network.
	InProcessConn() (net.Conn, error)
}

// EnsureBucketsInProcess is [EnsureBuckets] on a single server in the same process, with the nkey seed of an admin.
func EnsureBucketsInProcess(ctx context.Context, server InProcess, adminKeyFile string) error {
	conn, err := Connect(ctx, Config{Server: server, SeedFile: adminKeyFile})
	if err != nil {
		return fmt.Errorf("connect as admin: %w", err)
	}
	defer conn.Close()
	return EnsureBuckets(ctx, conn.js, 1)
}
