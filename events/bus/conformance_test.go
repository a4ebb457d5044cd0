package bus_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// serverBucket is KEYS on a real server. The source's connection goes through a network of its own.
type serverBucket struct {
	bus.Source
	server *eventstest.NATS
	proxy  *eventstest.Proxy
}

var _ eventstest.Bucket = (*serverBucket)(nil)

func onServer(t *testing.T, body func(*testing.T, eventstest.Bucket)) {
	server := eventstest.Server(t)
	proxy := eventstest.NewProxy(t, server.URL())
	conn := server.ConnectAt(proxy.URL(), bus.Verifier)
	body(t, &serverBucket{conn.Source(bus.Keys), server, proxy})
}

func (b *serverBucket) Write(name, value string) uint64 { return b.server.Write(bus.Keys, name, value) }
func (b *serverBucket) Delete(name string) uint64       { return b.server.Delete(bus.Keys, name) }
func (b *serverBucket) Disconnect()                     { b.proxy.Cut() }
func (b *serverBucket) Connect()                        { b.proxy.Mend() }
func (b *serverBucket) Save() (restore func())          { return b.server.Backup(bus.Keys) }
func (b *serverBucket) Recreate()                       { b.server.Recreate(bus.Keys) }

func (b *serverBucket) WriteTTL(name, value string, ttl time.Duration) uint64 {
	return b.server.Publish(bus.Keys, name, value, nats.Header{"Nats-TTL": {strconv.Itoa(int(ttl.Seconds()))}})
}

func TestServerIsASource(t *testing.T) { eventstest.TestSource(t, onServer) }

func TestFeedOnAServer(t *testing.T) { eventstest.TestFeed(t, onServer) }
