package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
)

// Config says where the server keeps its data and who can reach it.
type Config struct {
	// Dir is the data directory. It is made if it does not exist. Everything of the server is in Dir/nats.
	Dir string

	// Listen is the address for clients, host:port. Empty: a free port of 127.0.0.1. An address that is not loopback
	// needs TLS: nkeys keep a credential off the wire, not the records, nor a third party out of the connection.
	Listen string

	// TLS is offered to, and demanded from, every client that does not connect from within the process. Nil: no TLS.
	TLS *tls.Config

	// SyncInterval is how often written data is forced to the disk. Zero: before each write is acknowledged, which is
	// what keeps an acknowledged revocation through a power failure. Anything else loses writes of that long then;
	// it is for filling a store quickly and opening it again.
	SyncInterval time.Duration

	// Drift decides about buckets that are not set up as they must be. Nil: Start fails with the [*bus.DriftError]. A
	// function that returns nil lets the server run with them, since an admin can only set a running server right.
	Drift func([]bus.Drift) error

	// Logger gets what the server has to say: chatter at debug, everything that calls for a look at warn. A zero logger
	// is silent.
	Logger zerolog.Logger
}

const defaultListen = "127.0.0.1:0"

// listen is a checked listen address.
type listen struct {
	host string
	port int // 0: any free port
}

func (l listen) String() string { return net.JoinHostPort(l.host, strconv.Itoa(l.port)) }

// check validates the parts of c that need no disk.
func (c Config) check(ctx context.Context) (listen, error) {
	if c.Dir == "" {
		return listen{}, errors.New("no data directory given")
	}
	if c.SyncInterval < 0 {
		return listen{}, fmt.Errorf("sync interval is %s, which is negative", c.SyncInterval)
	}
	address := c.Listen
	if address == "" {
		address = defaultListen
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return listen{}, fmt.Errorf("listen address %q is not host:port: %w", address, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return listen{}, fmt.Errorf("listen address %q: port %q is not a number from 0 to 65535", address, portText)
	}
	if c.TLS == nil {
		if err := checkLoopback(ctx, host); err != nil {
			return listen{}, fmt.Errorf("listen on %s without TLS: %w: listen on 127.0.0.1, or configure TLS", address, err)
		}
	}
	return listen{host, int(port)}, nil
}

// checkLoopback refuses a host that is reachable from outside this machine. A name counts by all of its addresses; the
// empty host is every interface.
func checkLoopback(ctx context.Context, host string) error {
	if host == "" {
		return errors.New("all interfaces are not loopback")
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return fmt.Errorf("look up %q: %w", host, err)
	}
	for _, addr := range addrs {
		if !addr.Unmap().IsLoopback() {
			return fmt.Errorf("%s is not loopback", addr)
		}
	}
	return nil
}
