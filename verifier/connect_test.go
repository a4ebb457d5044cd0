package verifier_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// start runs a server with the installation's platform and orders, until the test ends.
func start(t *testing.T, dir, listen string) *server {
	t.Helper()
	s, err := startServer(t.Context(), dir, listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// P1 and P4 against a real server, which is then gone: tokens are decided as before, and the verifier knows how old its set becomes.
// When the server is back, it catches up by itself.
func TestP4_AVerifierGoesOnWithoutTheServerAndCatchesUp(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, eventstest.FreeAddress(t))
	if err := s.put(t.Context(), "issuer.platform", platformRecord, "issuer.orders", ordersRecord, "key.orders.k1", ordersKey.record()); err != nil {
		t.Fatal(err)
	}
	var later atomic.Int64 // by how much the verifier's clocks are ahead
	v, err := verifier.Connect(t.Context(), verifier.Config{
		NATS: s.URL(), SeedFile: s.KeyFile(bus.Verifier), Audience: billing,
		Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	second := edSigner("k2")
	good, unknown := offline(t, liveClaims()), mint(t, second, "at+jwt", liveClaims())
	expect(t, v, good, accepted)
	expect(t, v, unknown, verifier.ReasonKey)
	if status := v.Status(); !status.Confirmed || status.Stale || status.Revision != 3 {
		t.Errorf("status %+v", status)
	}

	address := s.address()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		expect(t, v, good, accepted)
	}
	later.Store(int64(11 * time.Second))
	expect(t, v, good, accepted)
	expect(t, v, unknown, verifier.ReasonBehind)
	later.Store(int64(time.Hour + time.Second))
	expect(t, v, good, verifier.ReasonStale)
	if status := v.Status(); !status.Stale || status.Staleness < time.Hour {
		t.Errorf("status %+v", status)
	}
	later.Store(0)

	s = start(t, dir, address)
	if err := s.put(t.Context(), "key.orders.k2", second.record(), "revoked.orders.k1", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new key is trusted", func() bool { _, err := v.Verify(unknown); return err == nil })
	eventually(t, "the revoked key is dead", func() bool { _, err := v.Verify(good); return reasonOf(err) == verifier.ReasonKeyState })

	v.Close()
	v.Close()
	expect(t, v, unknown, accepted) // closed, it judges by what it has
	expect(t, v, good, verifier.ReasonKeyState)
}

func TestConfigIsRefusedBeforeAnythingIsWaitedFor(t *testing.T) {
	nowhere := verifier.Config{NATS: "nats://127.0.0.1:1", Audience: billing}
	ctx, cancel := context.WithTimeout(t.Context(), patience) // Connect would wait as long
	defer cancel()
	for _, c := range []struct {
		name   string
		change func(*verifier.Config)
		want   string
	}{
		{"no audience", func(cfg *verifier.Config) { cfg.Audience = "" }, "no audience"},
		{"a negative leeway", func(cfg *verifier.Config) { cfg.Leeway = -time.Second }, "leeway -1s"},
		{"a leeway of more than a minute", func(cfg *verifier.Config) { cfg.Leeway = 61 * time.Second }, "leeway 1m1s"},
		{"a leeway of parts of a second", func(cfg *verifier.Config) { cfg.Leeway = 1500 * time.Millisecond }, "leeway 1.5s"},
		{"an external issuer that is no name", func(cfg *verifier.Config) { cfg.Externals = []events.Name{"login", "https://login"} }, `"https://login"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := nowhere
			c.change(&cfg)
			made, err := verifier.New(cfg, newFeed(t, nil))
			connected, connectErr := verifier.Connect(ctx, cfg)
			for _, err := range []error{err, connectErr} {
				if err == nil || !strings.HasPrefix(err.Error(), "verifier: ") || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "verifier") != 1 {
					t.Errorf("error %v, want one that says %s", err, c.want)
				}
			}
			if made != nil || connected != nil {
				t.Error("a verifier and an error")
			}
		})
	}
	if _, err := verifier.New(nowhere, nil); err == nil || !strings.Contains(err.Error(), "no feed") {
		t.Errorf("without a feed: %v", err)
	}
	if _, err := verifier.Connect(ctx, verifier.Config{Audience: billing}); err == nil || !strings.Contains(err.Error(), "no NATS URL") {
		t.Errorf("without a URL: %v", err)
	}
	for _, leeway := range []time.Duration{0, time.Second, time.Minute} {
		cfg := nowhere
		cfg.Leeway = leeway
		if _, err := verifier.New(cfg, newFeed(t, nil)); err != nil {
			t.Errorf("leeway %s: %v", leeway, err)
		}
	}
}

func TestConnectSaysWhyItCannot(t *testing.T) {
	s := start(t, t.TempDir(), "")
	t.Run("no server within the context's time", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := verifier.Connect(ctx, verifier.Config{NATS: "nats://127.0.0.1:1", Audience: billing})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bus.ErrUnreachable) {
			t.Error(err)
		}
	})
	t.Run("a credential file that is not there", func(t *testing.T) {
		_, err := verifier.Connect(t.Context(), verifier.Config{NATS: s.URL(), SeedFile: filepath.Join(t.TempDir(), "none.nk"), Audience: billing})
		if !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("no credential", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := verifier.Connect(ctx, verifier.Config{NATS: s.URL(), Audience: billing})
		if !errors.Is(err, bus.ErrPermission) {
			t.Error(err)
		}
	})
}
