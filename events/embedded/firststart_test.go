package embedded_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/embedded"
)

// serveDir names the environment variable that makes the test binary a server on that directory, to be killed.
const serveDir = "KEYHERALD_TEST_SERVE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		s, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, Logger: zerolog.New(os.Stderr).Level(zerolog.WarnLevel)})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.URL())
		obey(s)
		select {}
	}
	os.Exit(m.Run())
}

// The delays are spread over the time that a first start takes, and beyond; wherever they hit, the next start must work.
func TestFirstStartThatWasKilledIsCompletedByTheNext(t *testing.T) {
	for delay := time.Duration(0); delay <= 120*time.Millisecond; delay += 8 * time.Millisecond {
		t.Run(delay.String(), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), serveDir+"="+dir)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
				t.Fatalf("the server ended by itself: %v", err)
			}
			mustWork(t, dir)
		})
	}
}

func TestEveryHalfMadeDirectoryIsCompleted(t *testing.T) {
	for name, undo := range map[string][]string{
		"an empty directory":             {"nats"},
		"nothing but the lock":           {"nats/VERSION", "nats/REVISIONS", "nats/store", "nats/operator.nk", "nats/issuer.nk", "nats/verifier.nk", "nats/admin.nk"},
		"nothing but the version":        {"nats/REVISIONS", "nats/store", "nats/lock", "nats/operator.nk", "nats/issuer.nk", "nats/verifier.nk", "nats/admin.nk"},
		"only some keys":                 {"nats/store", "nats/operator.nk", "nats/admin.nk"},
		"no store":                       {"nats/store"},
		"no streams":                     {"nats/store/jetstream/KEYHERALD"},
		"only some streams":              {"nats/store/jetstream/KEYHERALD/streams/KV_CLIENTS", "nats/store/jetstream/KEYHERALD/streams/KV_USAGE"},
		"a stream without its settings":  {"nats/store/jetstream/KEYHERALD/streams/KV_USAGE/meta.inf", "nats/store/jetstream/KEYHERALD/streams/KV_USAGE/meta.sum"},
		"a stream without its check sum": {"nats/store/jetstream/KEYHERALD/streams/KV_USAGE/meta.sum"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := usedDirectory(t)
			for _, path := range undo {
				if err := os.RemoveAll(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
					t.Fatal(err)
				}
			}
			mustWork(t, dir)
		})
	}
}

func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	for name, keep := range map[string]bool{"in a new directory": false, "in a used directory": true} {
		t.Run(name, func(t *testing.T) {
			dir := usedDirectory(t)
			if !keep {
				if err := os.RemoveAll(filepath.Join(dir, "nats")); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(filepath.Join(dir, "nats"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			leftover := filepath.Join(dir, "nats", ".new-123")
			writeFile(t, leftover, "SUAB")
			mustWork(t, dir)
			if _, err := os.Stat(leftover); !os.IsNotExist(err) {
				t.Errorf("leftover is still there (%v)", err)
			}
		})
	}
}

// mustWork starts a server on dir and uses every role and every bucket.
func mustWork(t *testing.T, dir string) {
	t.Helper()
	s := start(t, embedded.Config{Dir: dir})
	for _, role := range bus.Roles() {
		connect(t, s, role)
	}
	operator := connect(t, s, bus.Operator)
	for _, b := range bus.Buckets() {
		operator.put(t, b, "a.b", "{}")
		if got := operator.get(t, b, "a.b"); got != "{}" {
			t.Errorf("%s gave back %q", b, got)
		}
	}
	drifts, err := bus.CheckBuckets(t.Context(), operator.js, 1, bus.Buckets()...)
	if err != nil || len(drifts) > 0 {
		t.Errorf("buckets: %v, %v", drifts, err)
	}
}
