//go:build unix

package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/issuer/mint"
)

// connections is how many requests are on their way at a time.
const connections = 16

// withAssertions makes the requests of one turn, with an assertion of its own in each: of all clients in turn.
func withAssertions(node *child) [][]byte {
	requests := make([][]byte, perTurn)
	for i := range requests {
		client := i % clientCount
		m, err := mint.New(mint.Config{Issuer: issuerURL, Client: clientName(client), KeyID: "k1", Key: clientKey(client)})
		if err != nil {
			panic(err)
		}
		assertion, err := m.Assertion("")
		if err != nil {
			panic(err)
		}
		requests[i] = request(url.Values{"client_id": {string(clientName(client))},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}})
	}
	return requests
}

// withAPIKeys makes the requests of one turn: of all clients in turn.
func withAPIKeys(node *child) [][]byte {
	requests := make([][]byte, perTurn)
	for i := range requests {
		requests[i] = request(url.Values{"client_secret": {node.APIKeys[i%clientCount]}})
	}
	return requests
}

// request is the bytes of a request as a plain client sends it.
func request(form url.Values) []byte {
	form.Set("grant_type", "client_credentials")
	form.Set("resource", audience)
	body := form.Encode()
	return []byte("POST /oauth/token HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: application/json\r\n" +
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
}

// load is the callers of one server. It spends as little as possible on each request: nothing is parsed that can be skipped.
type load struct {
	server *child
	conns  []net.Conn
}

func dial(b *testing.B, server *child) *load {
	b.Helper()
	l := &load{server: server}
	for range connections {
		conn, err := net.Dial("tcp", server.Address)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		l.conns = append(l.conns, conn)
	}
	return l
}

// turn is what it took to have all requests of a turn answered.
type turn struct {
	took, cpu time.Duration
	latencies []time.Duration
}

// send sends the requests over all connections, each after the answer to the one before it.
func (l *load) send(b *testing.B, requests [][]byte) turn {
	b.Helper()
	t := turn{latencies: make([]time.Duration, len(requests))}
	errs := make([]error, len(l.conns))
	cpu := l.server.cpu(b)
	start := time.Now()
	var next atomic.Int64
	var callers sync.WaitGroup
	for i, conn := range l.conns {
		callers.Go(func() {
			buf := make([]byte, 0, 8<<10)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(requests) {
					return
				}
				sent := time.Now()
				if errs[i] = roundTrip(conn, requests[n], buf); errs[i] != nil {
					return
				}
				t.latencies[n] = time.Since(sent)
			}
		})
	}
	callers.Wait()
	t.took = time.Since(start)
	t.cpu = l.server.cpu(b) - cpu
	for _, err := range errs {
		if err != nil {
			b.Fatal(err)
		}
	}
	return t
}

// roundTrip sends a request and reads the answer, which must be a token.
func roundTrip(conn net.Conn, request, buf []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for buf = buf[:0]; ; {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return err
		}
		buf = buf[:len(buf)+n]
		header, body, ok := bytes.Cut(buf, []byte("\r\n\r\n"))
		if !ok {
			continue
		}
		_, rest, ok := bytes.Cut(header, []byte("Content-Length: "))
		length, _, _ := bytes.Cut(rest, []byte("\r\n"))
		want, err := strconv.Atoi(string(length))
		switch {
		case !ok || err != nil:
			return fmt.Errorf("an answer without Content-Length: %q", buf)
		case len(body) < want:
			continue
		case !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) || len(body) > want:
			return fmt.Errorf("not a token: %q", buf)
		}
		return nil
	}
}
