//go:build unix

package gate_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/gate"
)

// envServer makes the test binary a server, and says which.
const envServer = "KEYHERALD_BENCH_SERVER"

func TestMain(m *testing.M) {
	kind := os.Getenv(envServer)
	if kind == "" {
		os.Exit(m.Run())
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: benchServer(kind), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends
}

func benchServer(kind string) http.Handler {
	var v gate.Verifier
	switch kind {
	case "verifier":
		v = newVerifier(newFeed())
	case "accept-all":
		v = acceptAll{&verifier.Token{Client: "orders", Subject: "orders", Issuer: platformURL + "/v1/clients/orders", IssuerName: "orders", Audience: []string{billing}, Expires: time.Now()}}
	default:
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
	}
	g, err := gate.New(gate.Config{Verifier: v, Registerer: prometheus.NewRegistry()})
	if err != nil {
		panic(err)
	}
	return g.Handler()
}

// BenchmarkGate compares the gate with a bare net/http server that answers 200 to whatever has an Authorization header. Each runs in a
// process of its own with GOMAXPROCS=1; this one sends the same token again and again over 16 connections, to both in turns. What is
// reported is of the undisturbed turns, the fastest tenth:
//
//	x-bare  requests a second, as a multiple of the bare server's. Bar: 0.6 for a token that is repeated
//
// With accept-all in place of the verifier it is what the gate itself costs. Run it with
//
//	go test -run '^$' -bench Gate -benchtime 200x ./verifier/gate
func BenchmarkGate(b *testing.B) {
	for _, kind := range []string{"accept-all", "verifier"} {
		b.Run("verifier="+kind, func(b *testing.B) {
			mine, bare := startBenchServer(b, kind), startBenchServer(b, "bare")
			request := []byte("GET /verify HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer " + mint(nil) + "\r\n\r\n")
			var took, base []time.Duration
			turn(b, mine, request) // warm up
			turn(b, bare, request)
			for b.Loop() {
				took = append(took, turn(b, mine, request))
				base = append(base, turn(b, bare, request))
			}
			b.ReportMetric(undisturbed(base)/undisturbed(took), "x-bare")
			b.ReportMetric(float64(time.Second)/undisturbed(took), "req/s")
			b.ReportMetric(float64(time.Second)/undisturbed(base), "bare-req/s")
			b.ReportMetric(undisturbed(took), "ns/op")
		})
	}
}

const perTurn = 500 // requests

// undisturbed is what one request takes, in nanoseconds, in the turn that is faster than nine of ten: other processes only ever make a
// turn slower.
func undisturbed(turns []time.Duration) float64 {
	slices.Sort(turns)
	return float64(turns[len(turns)/10]) / perTurn
}

func startBenchServer(b *testing.B, kind string) (conns []net.Conn) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envServer+"="+kind, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	for range 16 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		conns = append(conns, conn)
	}
	return conns
}

// turn sends the request so many times over all connections, each after the answer to the one before it.
func turn(b *testing.B, conns []net.Conn, request []byte) time.Duration {
	b.Helper()
	start := time.Now()
	var sent atomic.Int64
	var callers sync.WaitGroup
	var failed atomic.Pointer[error]
	for _, conn := range conns {
		callers.Go(func() {
			buf := make([]byte, 4<<10)
			for sent.Add(1) <= perTurn {
				if err := roundTrip(conn, request, buf); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	return time.Since(start)
}

// roundTrip sends a request and reads the answer, which must be 200 without a body.
func roundTrip(conn net.Conn, request, buf []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	for n := 0; ; {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			if !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200 ") {
				return fmt.Errorf("not accepted: %q", buf[:n])
			}
			return nil
		}
	}
}
