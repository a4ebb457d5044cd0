package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
)

// serveWithOpenRequest starts a serve that has one request in hand, of which the body never ends.
func serveWithOpenRequest(t *testing.T) (p *process, httpAddr string) {
	t.Helper()
	p, httpAddr, _ = serveWithRequest(t, 1000)
	return p, httpAddr
}

// serveWithRequest starts a serve that waits for the body, of the given length, of a request on the connection.
func serveWithRequest(t *testing.T, length int) (p *process, httpAddr string, conn net.Conn) {
	t.Helper()
	httpAddr = eventstest.FreeAddress(t)
	p = startServe(t, filepath.Join(t.TempDir(), "d"), httpAddr, "127.0.0.1:0")
	conn, err := net.Dial("tcp", httpAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// The server has read the head when it asks for the body.
	fmt.Fprintf(conn, "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", length)
	const goOn = "HTTP/1.1 100 Continue\r\n\r\n"
	answer := make([]byte, len(goOn))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != goOn {
		t.Fatalf("answer %q, error %v", answer, err)
	}
	return p, httpAddr, conn
}

// signal sends a signal and waits until the process takes no more requests, or has ended.
func (p *process) signal(t *testing.T, s syscall.Signal, httpAddr string) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // between two looks
		conn, err := net.Dial("tcp", httpAddr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("after %v the process still takes requests", s)
		}
	}
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
}

// TestSIGTERMIsACleanStop and does not wait for a client that never finishes its request: that is cut off by the read timeout.
func TestSIGTERMIsACleanStop(t *testing.T) {
	t.Parallel()
	p, httpAddr := serveWithOpenRequest(t)
	p.signal(t, syscall.SIGTERM, httpAddr)
	p.wait(t)
	if !p.cmd.ProcessState.Success() || !strings.Contains(p.err.String(), "keyherald: stopping") {
		t.Errorf("%v\n%s", p.cmd.ProcessState, p.err.String())
	}
}

// TestWhatIsInHandIsAnsweredBeforeTheKeyGoes: a rolling upgrade refuses nobody.
func TestWhatIsInHandIsAnsweredBeforeTheKeyGoes(t *testing.T) {
	t.Parallel()
	const body = "grant_type=client_credentials&client_id=orders"
	p, httpAddr, conn := serveWithRequest(t, len(body))
	p.signal(t, syscall.SIGTERM, httpAddr)
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized { // which says that the node was able to answer
		t.Errorf("status %s", resp.Status)
	}
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%v\n%s", p.cmd.ProcessState, p.err.String())
	}
}

func TestASecondSignalAborts(t *testing.T) {
	t.Parallel()
	p, httpAddr := serveWithOpenRequest(t)
	p.signal(t, syscall.SIGINT, httpAddr)
	for deadline := time.After(patience); ; {
		_ = p.cmd.Process.Signal(syscall.SIGINT) // fails only when the process has ended
		select {
		case <-p.done:
		case <-time.After(50 * time.Millisecond): // it may have come too early to be the second
			continue
		case <-deadline:
			t.Fatal("the process does not end")
		}
		break
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("%v, want an end by the signal\n%s", p.cmd.ProcessState, p.err.String())
	}
}
