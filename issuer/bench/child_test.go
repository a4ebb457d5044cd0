//go:build unix

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"
)

// serverKind is what a child process serves.
type serverKind string

const (
	nodeForgetful  serverKind = "node"             // the token endpoint, with a replay memory that remembers nothing
	nodeNATS       serverKind = "node-nats"        // the token endpoint, with its replay memory in an embedded NATS server
	bareSign       serverKind = "bare-sign"        // one signature
	bareVerifySign serverKind = "bare-verify-sign" // one verification and one signature
)

// The environment of a child.
const (
	envKind    = "KEYHERALD_BENCH_SERVER"
	envProfile = "KEYHERALD_BENCH_PROFILE" // directory for the CPU profiles of the servers
)

// TestMain lets the test binary be the server, too.
func TestMain(m *testing.M) {
	kind := serverKind(os.Getenv(envKind))
	if kind == "" {
		os.Exit(m.Run())
	}
	if err := serve(kind); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a server in a process of its own. It answers to lines on its input, and ends when that ends.
type child struct {
	Address string
	APIKeys []string // one of each client

	in  io.Writer
	out *json.Decoder
}

func startChild(b *testing.B, kind serverKind) *child {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envKind+"="+string(kind), "GOMAXPROCS=1", "TMPDIR="+b.TempDir())
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
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v", kind, err)
		}
	})
	c := &child{in: in, out: json.NewDecoder(out)}
	if err := c.out.Decode(c); err != nil {
		b.Fatalf("%s did not start: %v", kind, err)
	}
	return c
}

// cpu is the processor time that the server has used, in user mode and in the kernel.
func (c *child) cpu(b *testing.B) (used time.Duration) {
	b.Helper()
	c.ask(b, "cpu", &used)
	return used
}

// profile starts a CPU profile if the environment wants one.
func (c *child) profile(b *testing.B) {
	b.Helper()
	if os.Getenv(envProfile) != "" {
		var ok bool
		c.ask(b, "profile", &ok)
	}
}

func (c *child) ask(b *testing.B, question string, answer any) {
	b.Helper()
	_, err := fmt.Fprintln(c.in, question)
	if err == nil {
		err = c.out.Decode(answer)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// serve is the child: it serves until its input ends.
func serve(kind serverKind) error {
	handler, apiKeys, stop, err := newHandler(kind)
	if err != nil {
		return err
	}
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ // as the command serve has it
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(os.Stderr, "", 0),
	}
	go func() { _ = server.Serve(listener) }() // until Close
	defer server.Close()
	defer pprof.StopCPUProfile()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(child{Address: listener.Addr().String(), APIKeys: apiKeys}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := reply(in.Text())
		if err == nil {
			err = out.Encode(answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func reply(question string) (any, error) {
	if question == "profile" {
		file, err := os.Create(filepath.Join(os.Getenv(envProfile), os.Getenv(envKind)+".pprof"))
		if err != nil {
			return nil, err
		}
		return true, pprof.StartCPUProfile(file)
	}
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), err
}
