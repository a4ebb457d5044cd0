package verifier_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// outpost is a service that keeps a snapshot, on a server to which things happen.
type outpost struct {
	*eventstest.NATS
	t     *testing.T
	file  string
	later atomic.Int64 // by how much the service's clock is ahead
}

func newOutpost(t *testing.T) *outpost {
	t.Helper()
	o := &outpost{NATS: eventstest.Server(t), t: t, file: filepath.Join(t.TempDir(), "keys")}
	o.Write(bus.Keys, "issuer.platform", platformRecord)
	o.Write(bus.Keys, "issuer.orders", ordersRecord)
	o.Write(bus.Keys, "key.orders.k1", ordersKey.record())
	return o
}

// connect starts the service, until the test ends.
func (o *outpost) connect(change ...func(*verifier.Config)) *verifier.Verifier {
	o.t.Helper()
	v, err := verifier.Connect(o.t.Context(), o.config(change...))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(v.Close)
	return v
}

func (o *outpost) config(change ...func(*verifier.Config)) verifier.Config {
	cfg := verifier.Config{
		NATS: o.URL(), SeedFile: o.KeyFile(bus.Verifier), Audience: billing, Snapshot: o.file,
		Now: func() time.Time { return time.Now().Add(time.Duration(o.later.Load())) },
	}
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

func TestP4_AVerifierStartsFromItsSnapshotWithoutTheServer(t *testing.T) {
	o := newOutpost(t)
	second := edSigner("k2")
	good, unknown := offline(t, liveClaims()), mint(t, second, "at+jwt", liveClaims())
	v := o.connect()
	expect(t, v, unknown, verifier.ReasonKey)
	v.Close()
	o.Stop()

	v = o.connect()
	for range 100 {
		expect(t, v, good, accepted)
	}
	expect(t, v, unknown, verifier.ReasonBehind) // although it was confirmed a moment ago
	if status := v.Status(); !status.Confirmed || status.Stale || status.Revision != 3 || status.Staleness < 10*time.Second || status.Staleness > 30*time.Second {
		t.Errorf("status %+v", status)
	}
	o.later.Store(int64(59 * time.Minute))
	expect(t, v, good, verifier.ReasonExpired)
	expect(t, v, unknown, verifier.ReasonBehind)
	o.later.Store(int64(61 * time.Minute))
	expect(t, v, good, verifier.ReasonStale)

	// What happens meanwhile arrives when the server is back.
	o.later.Store(0)
	o.Start()
	o.Write(bus.Keys, "key.orders.k2", second.record())
	eventually(t, "the new key is trusted", func() bool { _, err := v.Verify(unknown); return err == nil })
	o.Write(bus.Keys, "revoked.orders.k1", "")
	eventually(t, "the revoked key is dead", func() bool { _, err := v.Verify(good); return reasonOf(err) == verifier.ReasonKeyState })
}

func TestP4_AnOldSnapshotDecidesNothing(t *testing.T) {
	o := newOutpost(t)
	good := offline(t, liveClaims())
	o.connect().Close()
	o.Stop()
	for _, c := range []struct {
		name  string
		later time.Duration
		max   time.Duration
		want  verifier.Reason
	}{
		{"a fresh one", 0, 0, accepted},
		{"one that is older than the limit", 61 * time.Minute, 0, verifier.ReasonStale},
		{"one that is fresh, but not up to date", 0, 10 * time.Second, verifier.ReasonStale},
		{"one from the near future", -20 * time.Second, 0, accepted},
		{"one from the future: a clock was set back", -2 * time.Minute, 0, verifier.ReasonStale},
		{"one from the future, without a limit", -2 * time.Minute, -1, verifier.ReasonTooEarly},
	} {
		t.Run(c.name, func(t *testing.T) {
			o.later.Store(int64(c.later))
			v := o.connect(func(cfg *verifier.Config) { cfg.MaxStaleness = c.max })
			defer v.Close()
			expect(t, v, good, c.want)
			if status := v.Status(); status.Stale != (c.want == verifier.ReasonStale) {
				t.Errorf("status %+v", status)
			}
		})
	}
}

// F, the row of the older backup, with a restart in between: what a verifier has seen revoked stays so, whether NATS is there when it
// starts or comes later.
func TestF_WhatWasSeenRevokedStaysSoAfterARestartAndABucketThatLostIt(t *testing.T) {
	for _, there := range []bool{true, false} {
		o := newOutpost(t)
		jti := liveClaims().with("jti", `"t1"`)
		byKey, byToken := offline(t, liveClaims()), mint(t, signer{"es", shippingKey.alg, shippingKey.key}, "at+jwt", jti)
		es := shippingKey
		es.kid = "es"
		o.Write(bus.Keys, "key.orders.es", es.record())
		v := o.connect()
		expect(t, v, byKey, accepted)
		expect(t, v, byToken, accepted)
		restoreKeys, restoreTokens := o.Backup(bus.Keys), o.Backup(bus.Revocations)
		o.Write(bus.Keys, "revoked.orders.k1", `{"reason":"leaked"}`)
		o.Write(bus.Revocations, events.TokenByID(ordersURL, "t1").String(), "")
		eventually(t, "the key is dead", func() bool { _, err := v.Verify(byKey); return reasonOf(err) == verifier.ReasonKeyState })
		eventually(t, "the token is dead", func() bool { _, err := v.Verify(byToken); return reasonOf(err) == verifier.ReasonRevoked })
		v.Close()
		restoreKeys()
		restoreTokens()
		if !there {
			o.Stop()
		}
		v = o.connect()
		expect(t, v, byKey, verifier.ReasonKeyState)
		expect(t, v, byToken, verifier.ReasonRevoked)
		if !there {
			o.Start()
			third := edSigner("k3")
			o.Write(bus.Keys, "key.orders.k3", third.record())
			eventually(t, "the live set is there", func() bool { _, err := v.Verify(mint(t, third, "at+jwt", liveClaims())); return err == nil })
			expect(t, v, byKey, verifier.ReasonKeyState)
			expect(t, v, byToken, verifier.ReasonRevoked)
		}
		v.Close()
		// And once more: it is in the next snapshot, too.
		v = o.connect()
		expect(t, v, byKey, verifier.ReasonKeyState)
		expect(t, v, byToken, verifier.ReasonRevoked)
	}
}

func TestConnectWithoutASnapshotThatCanBeUsedWaitsForTheServer(t *testing.T) {
	o := newOutpost(t)
	v := o.connect()
	v.Close()
	o.Stop()
	if err := os.Truncate(o.file, 100); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"damaged", "none"} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := verifier.Connect(ctx, o.config())
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bus.ErrUnreachable) {
			t.Errorf("%s: %v", what, err)
		}
		if err := os.Remove(o.file); err != nil && what == "damaged" {
			t.Fatal(err)
		}
	}
	o.Start()
	good := offline(t, liveClaims())
	expect(t, o.connect(), good, accepted)
	if _, err := os.Stat(o.file); err != nil { // written at once
		eventually(t, "the next good one is there", func() bool { _, err := os.Stat(o.file); return err == nil })
	}
}

func TestConnectWithASnapshotSaysWhyItCannot(t *testing.T) {
	o := newOutpost(t)
	o.connect().Close()
	nowhere := func(cfg *verifier.Config) { cfg.NATS = "nats://127.0.0.1:1" }
	t.Run("a credential file that is not there", func(t *testing.T) {
		_, err := verifier.Connect(t.Context(), o.config(func(cfg *verifier.Config) { cfg.SeedFile = filepath.Join(t.TempDir(), "none.nk") }))
		if !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("no credential", func(t *testing.T) {
		_, err := verifier.Connect(t.Context(), o.config(func(cfg *verifier.Config) { cfg.SeedFile = "" }))
		if !errors.Is(err, bus.ErrPermission) {
			t.Error(err)
		}
	})
	t.Run("the caller does not want it any more", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := verifier.Connect(ctx, o.config(nowhere)); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("little time is enough", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		v, err := verifier.Connect(ctx, o.config(nowhere))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, v, offline(t, liveClaims()), accepted)
		v.Close()
	})
}
