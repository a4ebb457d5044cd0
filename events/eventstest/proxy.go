package eventstest

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy is a network between clients and a server: TCP on loopback, until the test ends.
type Proxy struct {
	backend  string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when the state changes
	state   proxyState
	conns   map[net.Conn]struct{}
	closed  bool
}

type proxyState uint8

const (
	proxyOpen   proxyState = iota
	proxyCut               // connections are closed, and new ones at once
	proxyFrozen            // nothing passes until the network is mended; then everything does
	proxyMute              // what the server says is thrown away, until the network is mended
	proxyDeaf              // what clients say is
)

// NewProxy starts a proxy to a server.
func NewProxy(t testing.TB, serverURL string) *Proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{
		backend: strings.TrimPrefix(serverURL, "nats://"), listener: listener,
		changed: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.running.Go(func() { p.serve(ctx) })
	t.Cleanup(func() {
		cancel()
		p.close()
		p.running.Wait()
	})
	return p
}

// URL is where clients connect to.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Cut closes all connections and lets no new one through.
func (p *Proxy) Cut() { p.set(proxyCut) }

// Freeze lets nothing pass, in any direction, on connections that stay open.
func (p *Proxy) Freeze() { p.set(proxyFrozen) }

// Mute throws away what the server sends: what clients send arrives, and the answer gets lost.
func (p *Proxy) Mute() { p.set(proxyMute) }

// Deafen throws away what clients send: it never arrives, and they do not know.
func (p *Proxy) Deafen() { p.set(proxyDeaf) }

// Mend lets everything pass again. What was frozen passes now; connections that have lost something are closed.
func (p *Proxy) Mend() { p.set(proxyOpen) }

func (p *Proxy) set(next proxyState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next == proxyCut || p.state == proxyMute || p.state == proxyDeaf {
		p.closeConns()
	}
	p.state = next
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) closeConns() {
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.closeConns()
}

// track keeps a connection to be closed, and reports false for one that comes too late.
func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.state == proxyCut {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.connect(ctx, client) })
	}
}

// connect carries one connection until one side ends it.
func (p *Proxy) connect(ctx context.Context, client net.Conn) {
	defer p.drop(client)
	if !p.track(client) {
		return
	}
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.backend)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.track(server) {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		p.carry(ctx, server, client, false)
		_ = server.Close()
	})
	p.carry(ctx, client, server, true)
	_ = client.Close()
	up.Wait()
}

// carry moves bytes in one direction.
func (p *Proxy) carry(ctx context.Context, to io.Writer, from io.Reader, answers bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		pass, ok := p.gate(ctx, answers)
		if !ok {
			return
		}
		if !pass {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// gate waits while the network is frozen, and reports whether something may pass, and whether the connection goes on.
func (p *Proxy) gate(ctx context.Context, answers bool) (pass, ok bool) {
	for {
		p.mu.Lock()
		state, changed := p.state, p.changed
		p.mu.Unlock()
		switch state {
		case proxyCut:
			return false, false
		case proxyFrozen:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return false, false
			}
		case proxyMute:
			return !answers, true
		case proxyDeaf:
			return answers, true
		}
		return true, true
	}
}
