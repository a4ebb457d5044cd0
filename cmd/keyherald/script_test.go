package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/keyherald/keyherald/events/eventstest"
)

// patience is how long a test waits for what must happen, on a machine that may be busy with other things.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"keyherald": main, "keyherald-measured": measured})
}

// TestScripts runs the command lines of testdata/script as a user would, with the unmodified nats command beside
// them. Each script gets two free addresses, HTTP and NATS.
func TestScripts(t *testing.T) {
	nats := filepath.Dir(eventstest.NatsCLI(t))
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", nats+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			for _, name := range []string{"HTTP", "NATS"} {
				env.Setenv(name, eventstest.FreeAddress(t))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":      ready,
			"eventually": eventually,
			"mode":       mode,
			"post":       post,
			"vouch":      vouch,
		},
	})
}

// ready URL waits until the token service there says that it is.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready URL")
	}
	if err := waitReady(context.Background(), args[0]); err != nil {
		ts.Fatalf("%v", err)
	}
}

func waitReady(ctx context.Context, url string) error {
	return waitReadyBy(ctx, http.DefaultClient, url)
}

func waitReadyBy(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %s", resp.Status)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", url, err)
		}
	}
}

// eventually TEXT COMMAND [ARG ...] runs the command until what it
// prints contains the text.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT COMMAND [ARG ...]")
	}
	deadline := time.Now().Add(patience)
	for {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if strings.Contains(out, args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not appear in %s (error %v)", args[0], out, err)
		}
		time.Sleep(20 * time.Millisecond) // between two attempts
	}
}

// mode PERMISSIONS FILE ... checks the files' permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode 0600 FILE ...")
	}
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has permissions %s, not %s", file, got, args[0])
		}
	}
}
