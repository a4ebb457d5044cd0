package refresh

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyherald/keyherald/events/eventstest"
)

// dns is a name server that gives every name the address of now (RFC 1035 §4.1).
type dns struct {
	resolver *net.Resolver
	address  atomic.Pointer[netip.Addr]
	asked    atomic.Int64
}

func startDNS(t *testing.T) *dns {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := new(dns)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 512); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(d.answer(buf[:n]), from) // if it gets lost, it is asked again
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	d.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	return d
}

func (d *dns) answer(query []byte) []byte {
	const header = 12
	end := header + bytes.IndexByte(query[header:], 0) + 1 + 4 // of the question
	a := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[header:end]...)
	if query[end-3] != 1 { // not an A
		return a
	}
	d.asked.Add(1)
	a[7] = 1
	return append(append(a, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), d.address.Load().AsSlice()...)
}

// The address counts to which the connection is made, and not what a name said before: a name may say one thing to whoever
// checks it and another to whoever connects.
func TestI21_ANameThatLeadsInsideIsRefusedWhateverItSaidBefore(t *testing.T) {
	d := startDNS(t)
	s, _ := serveTLS(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	outside := netip.MustParseAddr("127.0.0.1") // stands for an address on the internet
	f := newFetcher(FetcherConfig{Roots: rootsOf(s), AllowTarget: func(addr netip.Addr) bool { return addr == outside }}, d.resolver)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "https://example.com:" + port + "/jwks" // the certificate is for that name
	for _, address := range []string{"127.0.0.1", "10.1.2.3", "169.254.169.254", "127.0.0.2", "100.64.1.1", "127.0.0.1"} {
		addr := netip.MustParseAddr(address)
		d.address.Store(&addr)
		ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
		_, err := f.get(ctx, url, "")
		cancel()
		if refused := err != nil && strings.Contains(err.Error(), address+" is not a public one"); refused == (addr == outside) || !refused && err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if d.asked.Load() < 6 {
		t.Errorf("the name server was asked %d times", d.asked.Load())
	}
}
