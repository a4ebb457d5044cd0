package deploy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// freeAddress is an address of the loopback interface that nobody uses now, below the ports that systems give to who does not care.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
