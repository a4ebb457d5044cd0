package bus_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_ACredentialThatWasRevokedIsSaid: the connection is lost when it is revoked, and a server is there. That no server answers is another thing.
func TestN_ACredentialThatWasRevokedIsSaid(t *testing.T) {
	t.Parallel()
	server := eventstest.Server(t)
	file := server.KeyFile(bus.Verifier)
	seed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var log eventstest.Log
	conn, err := bus.Connect(t.Context(), bus.Config{URL: server.URL(), SeedFile: seedFile(t, string(seed)), Logger: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	server.Stop()
	eventstest.Eventually(t, "the connection is tried again", func() bool { return strings.Contains(log.String(), "disconnected") })
	if err := conn.Refusal(); err != nil {
		t.Errorf("without a server: %v", err)
	}

	if err := os.Remove(file); err != nil { // the next start makes another
		t.Fatal(err)
	}
	server.Start()
	eventstest.Eventually(t, "the refusal is known", func() bool { return errors.Is(conn.Refusal(), bus.ErrPermission) })
	server.Stop()
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	server.Start()
	eventstest.Eventually(t, "it is let in again", func() bool {
		select {
		case <-conn.Connected():
			return conn.Refusal() == nil
		default:
			return false
		}
	})
	if n := strings.Count(log.String(), "does not let us in again"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}
