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

// obey is the server in a process of its own: it lets its files become no larger, and larger again, which is what a full disk is to it. It answers
// each line with whether it writes, and with how many issuers a client in its process knows.
func obey(s *embedded.Server) {
	signal.Ignore(syscall.SIGXFSZ) // or it would end the process
	conn, err := bus.Connect(context.Background(), bus.Config{Server: s, SeedFile: s.KeyFile(bus.Issuer)})
	if err != nil {
		panic(err)
	}
	live := conn.FollowKeys(zerolog.Nop())
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
		issuers, _ := live.Keys().Len()
		fmt.Println(issuers, s.Unwritable())
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
	eventstest.Eventually(t, "who is in the process follows", func() bool { return tell("and now?") == "1 <nil>" })
	for round := 1; round <= 2; round++ { // the second time it is not sure that it helps
		tell(diskFull)
		if err := put(fmt.Sprint("issuer.meanwhile", round), time.Second); err == nil {
			t.Fatal("a write was acknowledged that cannot be on the disk")
		}
		eventstest.Eventually(t, "the server notices that it cannot write", func() bool { return strings.Contains(tell("and now?"), "file too large") })
		mustContain(t, log.String(), "nats cannot write", filepath.Join(dir, "nats"))

		tell(diskEmpty)
		eventstest.Eventually(t, "the server writes again", func() bool { return strings.HasSuffix(tell("and now?"), "<nil>") })
		if n := strings.Count(log.String(), "nats was started again"); n != round {
			t.Errorf("the server was started %d times", n)
		}
		eventstest.Eventually(t, "a write is acknowledged", func() bool { return put(fmt.Sprint("issuer.after", round), patience) == nil })
		eventstest.Eventually(t, "all who follow go on", func() bool {
			return live.Keys().Issuer(events.Name(fmt.Sprint("after", round))) != nil && tell("and now?") == fmt.Sprint(1+round, " <nil>")
		})
	}
	if status := live.Status().Keys; status.Resyncs != 1 || live.Keys().Issuer("before") == nil {
		t.Errorf("%+v", status)
	}
	for _, never := range []string{"the bucket has lost", "nats does not start"} { // that it is not tried while there is no room
		if strings.Contains(log.String(), never) {
			t.Errorf("the server says that %s", never)
		}
	}

	stop()
	again := connect(t, start(t, embedded.Config{Dir: dir}), bus.Operator)
	again.get(t, bus.Keys, "issuer.before")
	again.get(t, bus.Keys, "issuer.after2")
}
