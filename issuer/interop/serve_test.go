package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

const (
	// patience is how long a test waits for what must happen, on a machine that may be busy with other things.
	patience = 60 * time.Second

	billing = "https://billing"
)

// program is the path of the keyherald that the tests run.
var program string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "keyherald-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "keyherald")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/keyherald")
	build.Dir = "../.." // with that module's own versions of everything
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// node is a keyherald serve.
type node struct {
	url  string // where it listens, not what it is called
	cmd  *exec.Cmd
	err  lockedBuffer
	done chan struct{}
}

// startNode starts a serve and waits until it is ready.
func startNode(t *testing.T, flags ...string) *node {
	t.Helper()
	addr := eventstest.FreeAddress(t)
	n := &node{url: "http://" + addr, done: make(chan struct{})}
	n.cmd = exec.Command(program, append([]string{"serve", "--http", addr}, flags...)...)
	n.cmd.Dir = t.TempDir() // for what is in no other place
	n.cmd.Stderr = &n.err
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(n.done)
		_ = n.cmd.Wait()
	}()
	t.Cleanup(n.kill)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := waitReady(ctx, n); err != nil {
		n.kill()
		t.Fatalf("%v\n%s", err, n.err.String())
	}
	return n
}

func waitReady(ctx context.Context, n *node) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-again.C:
		case <-n.done:
			return fmt.Errorf("keyherald serve has ended: %s", n.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", n.url, ctx.Err())
		}
	}
}

// stop is a clean stop.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-n.done
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("keyherald serve: exit %d\n%s", code, n.err.String())
	}
}

// kill is kill -9.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // fails only when it has ended
	<-n.done
}

// system is a first node with its NATS and its registry, in which the client orders is registered.
type system struct {
	*node
	t      *testing.T
	issuer string
	nats   string
	data   string
}

// startSystem starts the first node. Empty: its own address is the issuer.
func startSystem(t *testing.T, issuer string) *system {
	t.Helper()
	s := &system{t: t, issuer: issuer, nats: eventstest.FreeAddress(t), data: filepath.Join(t.TempDir(), "d")}
	flags := []string{"--data", s.data, "--nats-listen", s.nats}
	if issuer != "" {
		flags = append(flags, "--issuer", issuer)
	}
	s.node = startNode(t, flags...)
	if issuer == "" {
		s.issuer = s.url
	}
	s.cli("client", "create", "orders", "--audience", billing, "--scope", "billing:read billing:write", "--offline")
	return s
}

// cli runs a command of an operator, and returns what it prints.
func (s *system) cli(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KEYHERALD_DATA="+s.data)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("keyherald %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// apiKey is a new one of the client orders, which the node knows.
func (s *system) apiKey() string {
	s.t.Helper()
	key := s.cli("secret", "add", "orders")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		response, err := http.PostForm(s.url+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_secret": {key}})
		if err != nil {
			s.t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return key
		}
	}
	s.t.Fatal("the node does not hear of the API key")
	return ""
}

// verifier is keyherald's own.
func (s *system) verifier() *verifier.Verifier {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	v, err := verifier.Connect(ctx, verifier.Config{
		NATS: "nats://" + s.nats, SeedFile: filepath.Join(s.data, "nats", "verifier.nk"), Audience: billing,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(v.Close)
	return v
}

// lockedBuffer is written by a process and read by a test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
