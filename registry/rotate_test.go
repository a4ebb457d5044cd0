package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

const (
	active   = events.KeyActive
	retiring = events.KeyRetiring
	expired  = events.KeyExpired
)

func wantStates(t *testing.T, w *world, name events.Name, want map[events.KeyID]events.KeyState) {
	t.Helper()
	if got := w.states(name); !maps.Equal(got, want) {
		t.Errorf("%s after the start the keys of %s are %v, want %v", w.clock.elapsed(), name, got, want)
	}
}

// The whole story: tokens live for an hour, the old key may mint for another half hour.
func TestRotateKeyMakesBeforeItBreaks(t *testing.T) {
	w := newWorld(t)
	w.client("orders") // its tokens live for an hour
	w.add("orders", "k1")
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "pending", NotBefore: w.clock.Now().Add(24 * time.Hour)}))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "soon", Expires: w.clock.Now().Add(10 * time.Minute)}))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "late", Expires: w.clock.Now().Add(10 * time.Hour)}))
	start := w.clock.Now()

	rotated := must(w.RotateKey(t.Context(), alice, "orders", registry.Rotation{Overlap: 30 * time.Minute, KeyID: "k2"}))(t)
	if rotated.New.KeyID != "k2" || rotated.New.AccessKey == nil || rotated.New.AccessKey.KeyID != "k2" {
		t.Errorf("the new key is %+v", rotated.New)
	}
	end := start.Add(30*time.Minute + time.Hour + time.Minute).Unix()
	ended := map[events.KeyID]int64{}
	for _, key := range rotated.Ended {
		ended[key.KeyID] = key.Record.Expires
		if live := w.set().Key("orders", key.KeyID); live.Revision != key.Revision || live.Record.Expires != key.Record.Expires {
			t.Errorf("the live key is %+v, what was returned is %+v", live, key)
		}
		if key.Revision <= rotated.New.Revision {
			t.Errorf("key %s got its end at revision %d, before the new key was there at %d", key.KeyID, key.Revision, rotated.New.Revision)
		}
	}
	if want := map[events.KeyID]int64{"k1": end, "late": end}; !maps.Equal(ended, want) {
		t.Errorf("ended were %v, want %v", ended, want)
	}
	if m := members(t, w.stored(bus.Keys, "key.orders.k1")); m["exp"] != float64(end) || m["iat"] == nil {
		t.Errorf("the record of k1 is %v", m)
	}

	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k1": retiring, "k2": active, "late": retiring, "soon": retiring, "pending": events.KeyPending})
	w.clock.advance(10 * time.Minute)
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k1": retiring, "k2": active, "late": retiring, "soon": expired, "pending": events.KeyPending})
	w.clock.advance(81*time.Minute - time.Second + start.Truncate(time.Second).Sub(start)) // the last second of the old keys
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k1": retiring, "k2": active, "late": retiring, "soon": expired, "pending": events.KeyPending})
	w.clock.advance(time.Second)
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k1": expired, "k2": active, "late": expired, "soon": expired, "pending": events.KeyPending})
	w.clock.advance(24 * time.Hour)
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k1": expired, "k2": active, "late": expired, "soon": expired, "pending": active})
}

func TestRotateKeyEndsTheOldKeyWhenItMay(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		name     string
		ttl      time.Duration
		rotation registry.Rotation
		want     time.Duration
	}{
		{"no overlap: when the last token has ended", 0, registry.Rotation{}, time.Hour + time.Minute},
		{"a long token life counts", 24 * time.Hour, registry.Rotation{Overlap: time.Hour}, 25*time.Hour + time.Minute},
		{"a short token life counts", time.Second, registry.Rotation{}, time.Minute + time.Second},
		{"forced: at the end of the overlap", 0, registry.Rotation{Overlap: time.Minute, Force: true}, time.Minute},
		{"forced with no overlap: now", 0, registry.Rotation{Force: true}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := events.Name(fmt.Sprint("c", i))
			w.ok(w.CreateClient(t.Context(), alice, name, registry.ClientSpec{MaxTokenTTL: c.ttl}))
			w.add(name, "old")
			w.ok(w.RotateKey(t.Context(), alice, name, c.rotation))
			if got, want := w.set().Key(name, "old").Record.Expires, w.clock.Now().Add(c.want).Unix(); got != want {
				t.Errorf("the old key ends at %d, want %d", got, want)
			}
		})
	}
}

func TestRotateKeyOfAClientWithoutKeysMakesItsFirst(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	rotated := must(w.RotateKey(t.Context(), alice, "orders", registry.Rotation{}))(t)
	if len(rotated.Ended) != 0 {
		t.Errorf("ended were %v", rotated.Ended)
	}
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{rotated.New.KeyID: active})
}

func TestRotateKeyLeavesWhatIsOver(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "expired", Expires: w.clock.Now().Add(time.Second)}))
	w.add("orders", "revoked")
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "revoked", ""))
	w.clock.advance(time.Second)
	before := w.stored(bus.Keys, "key.orders.revoked").Revision
	rotated := must(w.RotateKey(t.Context(), alice, "orders", registry.Rotation{KeyID: "k1"}))(t)
	if len(rotated.Ended) != 0 || w.stored(bus.Keys, "key.orders.revoked").Revision != before {
		t.Errorf("ended were %v", rotated.Ended)
	}
}

// A key that became valid in this very second still gets a window that is none: exp must be after nbf.
func TestRotateKeyEndsAKeyThatHasJustBegun(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "k1", NotBefore: w.clock.Now()}))
	w.ok(w.RotateKey(t.Context(), alice, "orders", registry.Rotation{Force: true}))
	if got, want := w.set().Key("orders", "k1").Record.Expires, w.clock.Now().Unix()+1; got != want {
		t.Errorf("k1 ends at %d, want %d", got, want)
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("billing")
	w.add("orders", "k1")
	public := newPublic(t)
	w.ok(w.AddKey(t.Context(), alice, "billing", registry.KeySpec{KeyID: "b1", Public: public}))
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	retired := newPublic(t)
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "retiring", Public: retired, Expires: w.clock.Now().Add(time.Hour)}))
	w.client("off")
	w.ok(w.DisableClient(t.Context(), alice, "off"))
	for name, c := range map[string]struct {
		client   events.Name
		rotation registry.Rotation
		kind     error
		want     string
	}{
		"a negative overlap":       {"orders", registry.Rotation{Overlap: -1}, registry.ErrInvalid, "the overlap -1ns is negative"},
		"an unknown client":        {"nobody", registry.Rotation{}, registry.ErrNotFound, "nobody"},
		"a disabled client":        {"off", registry.Rotation{}, registry.ErrDisabled, "enable it first"},
		"an external issuer":       {"github", registry.Rotation{}, registry.ErrNotFound, "type external, not client"},
		"the platform":             {"platform", registry.Rotation{}, registry.ErrNotFound, "type platform, not client"},
		"a key of somebody else":   {"orders", registry.Rotation{Public: public}, registry.ErrKeyTaken, `it is key "b1" of billing`},
		"back to a key that ends":  {"orders", registry.Rotation{Public: retired}, registry.ErrKeyTaken, `it is key "retiring" of orders`},
		"a kid that is in use":     {"orders", registry.Rotation{KeyID: "k1"}, registry.ErrExists, `"k1"`},
		"a key under another kid":  {"billing", registry.Rotation{KeyID: "b2", Public: public}, registry.ErrKeyTaken, `it is key "b1" of billing`},
		"a private key":            {"orders", registry.Rotation{Public: w.add("orders", "spare").AccessKey.Private()}, registry.ErrPrivateKey, "private key"},
		"an algorithm not for RSA": {"orders", registry.Rotation{Public: newPublic(t), Algorithm: events.RS256}, registry.ErrInvalid, "is not EdDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.set().Revision()
			_, err := w.RotateKey(t.Context(), alice, c.client, c.rotation)
			wantError(t, err, c.kind, c.want)
			if after := w.set().Revision(); after != before {
				t.Errorf("something was written: revision %d, before %d", after, before)
			}
		})
	}
}

var errCut = errors.New("the line was cut")

// However a rotation is interrupted, the client keeps a key that is trusted, and the same command again finishes it.
func TestAnInterruptedRotationIsRepeated(t *testing.T) {
	for _, c := range []struct {
		name    string
		on      string // the write that fails
		applied bool   // whether it takes place all the same
		brought bool   // the client brings its key
	}{
		{"before the new key is there", "key.orders.k3", false, false},
		{"before the new key is there, which was brought", "key.orders.k3", false, true},
		{"when it is not known whether the new key is there, and it is", "key.orders.k3", true, false},
		{"when it is not known whether the new key is there, and it is, which was brought", "key.orders.k3", true, true},
		{"before the first end", "key.orders.k1", false, false},
		{"before the first end, with a key that was brought", "key.orders.k1", false, true},
		{"after the first end", "key.orders.k2", false, true},
		{"when it is not known whether an end is written, and it is", "key.orders.k2", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.client("orders")
			w.add("orders", "k1")
			w.add("orders", "k2")
			cut := w.join(func(s registry.Store) registry.Store {
				return &faultyStore{Store: s, fault: func(_ bus.Bucket, name string) (bool, error) {
					if name == c.on {
						return c.applied, fmt.Errorf("%w: %w", bus.ErrUnknownOutcome, errCut)
					}
					return true, nil
				}}
			})
			rotation := registry.Rotation{KeyID: "k3", Overlap: time.Hour}
			if c.brought {
				rotation.Public = newPublic(t)
			}
			_, err := cut.RotateKey(t.Context(), alice, "orders", rotation)
			checkInterrupted(t, err, c.on, c.brought)
			if got := cut.audit.last(t); got["outcome"] != "unknown" || got["op"] != "key rotate" || got["kid"] != "k3" {
				t.Errorf("audit line is %v", got)
			}
			for _, kid := range []events.KeyID{"k1", "k2"} {
				if state := w.states("orders")[kid]; !state.Usable() {
					t.Fatalf("%s is %s: tokens are refused in the middle of a rotation", kid, state)
				}
			}

			w.clock.advance(time.Minute)
			again := rotation
			if !c.brought {
				again.KeyID = "k4" // a pair that was made is not made again
			}
			rotated := must(w.RotateKey(t.Context(), alice, "orders", again))(t)
			latest := w.clock.Now().Add(2*time.Hour + time.Minute).Unix()
			for kid, state := range w.states("orders") {
				exp := w.set().Key("orders", kid).Record.Expires
				switch {
				case kid == rotated.New.KeyID:
					if state != active {
						t.Errorf("the new key %s is %s", kid, state)
					}
				case state != retiring || exp > latest:
					t.Errorf("the old key %s is %s until %d, want retiring until %d at the latest", kid, state, exp, latest)
				}
			}
			if c.brought && len(w.states("orders")) != 3 {
				t.Errorf("the keys are %v, want three", w.states("orders"))
			}
		})
	}
}

func checkInterrupted(t *testing.T, err error, on string, brought bool) {
	t.Helper()
	wantError(t, err, bus.ErrUnknownOutcome, "the line was cut")
	var unfinished *registry.UnfinishedRotation
	if on == "key.orders.k3" {
		wantError(t, err, errCut, "key k3 of orders may or may not be registered", "revoke it and add another")
		if errors.As(err, &unfinished) {
			t.Error("the error has a new key that may not be there")
		}
		return
	}
	if !errors.As(err, &unfinished) {
		t.Fatalf("error is %v, want one that has the new key", err)
	}
	wantError(t, err, errCut, "key k3 is registered and trusted", "rotate again")
	open := []events.KeyID{"k1", "k2"}
	if on == "key.orders.k2" {
		open = open[1:]
	}
	if unfinished.New.KeyID != "k3" || !slices.Equal(unfinished.Open, open) || (unfinished.New.AccessKey == nil) != brought {
		t.Errorf("the error has key %s and open %v, want k3 and %v", unfinished.New.KeyID, unfinished.Open, open)
	}
	if key := unfinished.New.AccessKey; key != nil && strings.Contains(err.Error(), strings.Split(key.Reveal(), ".")[3]) {
		t.Error("the error shows the private key")
	}
}

// A key that disappears while it is being rotated away needs no end.
func TestRotateKeySkipsAKeyThatIsDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.add("orders", "k1")
	w.add("orders", "k2")
	racing := w.join(func(s registry.Store) registry.Store {
		return &faultyStore{Store: s, decided: func(_ bus.Bucket, name string) {
			if name == "key.orders.k3" {
				w.server.Delete(bus.Keys, "key.orders.k1")
			}
		}}
	})
	rotated := must(racing.RotateKey(t.Context(), alice, "orders", registry.Rotation{KeyID: "k3"}))(t)
	if len(rotated.Ended) != 1 || rotated.Ended[0].KeyID != "k2" {
		t.Errorf("ended were %v, want k2", rotated.Ended)
	}
	wantStates(t, w, "orders", map[events.KeyID]events.KeyState{"k2": retiring, "k3": active})
}
