//go:build unix

package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
	"github.com/keyherald/keyherald/events/eventstest"
)

const (
	diskFull  = "disk full"
	diskEmpty = "disk empty"
)

// obey is the server in a process of its own: it lets its files become no larger, and larger again, which is what a full disk is to it, and
// answers each line with whether it writes.
func obey(s *embedded.Server) {
	signal.Ignore(syscall.SIGXFSZ) // or it would end the process
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		limit := syscall.Rlimit{}
		err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit)
		switch in.Text() {
		case diskFull:
			limit.Cur = 1
		case diskEmpty:
			limit.Cur = limit.Max
		}
		if err = errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)); err != nil {
			panic(err)
		}
		fmt.Println(s.Unwritable())
	}
}

// TestF_AServerWhoseDiskWasFullWritesAgain: by itself, as soon as there is room, with all that was acknowledged, and those who follow it go on. The
// NATS server alone refuses all writes until it is started again.
func TestF_AServerWhoseDiskWasFullWritesAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	var log eventstest.Log
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), serveDir+"="+dir)
	child.Stderr = &log
	orders, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(out)
	stop := func() { _ = child.Process.Kill(); _ = child.Wait() }
	t.Cleanup(stop)
	tell := func(order string) string {
		if _, err := io.WriteString(orders, order+"\n"); err != nil || !answers.Scan() {
			t.Fatalf("the server is gone: %v\n%s", err, log.String())
		}
		return answers.Text()
	}
	if !answers.Scan() {
		t.Fatalf("the server does not start\n%s", log.String())
	}
	conn, err := bus.Connect(t.Context(), bus.Config{URL: answers.Text(), SeedFile: filepath.Join(dir, "nats", "operator.nk")})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	put := func(name string, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := conn.Put(ctx, bus.Put{Bucket: bus.Keys, Name: name, Value: []byte(`{"type":"client","status":"active"}`), Caller: "test"})
		return err
	}
	live := conn.FollowKeys(zerolog.Nop())
	defer live.Close()

	if err := put("issuer.before", patience); err != nil {
		t.Fatal(err)
	}
	if tell(diskFull) != "<nil>" {
		t.Error("the server cannot write from the beginning")
	}
	if err := put("issuer.meanwhile", time.Second); err == nil {
		t.Fatal("a write was acknowledged that cannot be on the disk")
	}
	eventstest.Eventually(t, "the server notices that it cannot write", func() bool { return strings.Contains(tell("and now?"), "file too large") })
	mustContain(t, log.String(), "nats cannot write", filepath.Join(dir, "nats", "store"))

	tell(diskEmpty)
	eventstest.Eventually(t, "the server writes again", func() bool { return tell("and now?") == "<nil>" })
	mustContain(t, log.String(), "nats writes again")
	if err := put("issuer.after", patience); err != nil {
		t.Fatal(err)
	}
	has := func(name events.Name) bool { return live.Keys().Issuer(name) != nil }
	eventstest.Eventually(t, "who follows goes on", func() bool { return has("after") })
	if status := live.Status().Keys; !has("before") || has("meanwhile") || status.Resyncs != 1 {
		t.Errorf("before: %v, meanwhile: %v, read from the beginning %d times", has("before"), has("meanwhile"), status.Resyncs)
	}
	if strings.Contains(log.String(), "the bucket has lost") {
		t.Error("the server says that something was lost")
	}

	stop()
	again := connect(t, start(t, embedded.Config{Dir: dir}), bus.Operator)
	again.get(t, bus.Keys, "issuer.before")
	again.get(t, bus.Keys, "issuer.after")
}
