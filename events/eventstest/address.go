package eventstest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// FreeAddress is an address of loopback for a server that a test starts, stops and starts again. Nobody else gets it as long as this process
// runs: neither another test, nor one of another process that asks for it here, nor, since the port is below the range from which Linux, macOS and
// Windows give to port 0 and to outgoing connections, somebody who does not care.
func FreeAddress(t testing.TB) string {
	t.Helper()
	addr, err := ports.take()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

var ports portBlock

// portBlock gives out rows of ports, of each of which the process holds the first one open.
type portBlock struct {
	mu     sync.Mutex
	guards []net.Listener // never closed
	next   int            // of the row
	end    int
}

func (b *portBlock) take() (string, error) {
	const first, end, size, attempts = 10_000, 32_000, 20, 10_000
	b.mu.Lock()
	defer b.mu.Unlock()
	for range attempts {
		if b.next == b.end {
			row := first + size*rand.IntN((end-first)/size)
			guard, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", row))
			if err != nil {
				continue
			}
			b.guards, b.next, b.end = append(b.guards, guard), row+1, row+size
		}
		addr := fmt.Sprintf("127.0.0.1:%d", b.next)
		b.next++
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no port is free from %d to %d", first, end-1)
}
