package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func TestRetireKeySetsTheEnd(t *testing.T) {
	w := newWorld(t)
	w.client("orders") // its tokens live for an hour
	safe := time.Hour + time.Minute
	for i, c := range []struct {
		name string
		has  time.Duration // of now; zero: no end
		at   time.Duration // zero: not said
		want time.Duration
	}{
		{"by itself, as soon as no token is left", 0, 0, safe},
		{"by itself, earlier than the end that it has", 10 * time.Hour, 0, safe},
		{"by itself, not later than the end that it has", time.Minute, 0, time.Minute},
		{"at the earliest time", 0, safe, safe},
		{"later", 0, 48 * time.Hour, 48 * time.Hour},
		{"later than the end that it has", time.Minute, 3 * time.Hour, 3 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := events.Name(fmt.Sprint("c", i))
			w.client(name)
			now := w.clock.Now()
			spec, end := registry.KeySpec{KeyID: "k1"}, registry.Retirement{}
			if c.has != 0 {
				spec.Expires = now.Add(c.has)
			}
			if c.at != 0 {
				end.At = now.Add(c.at)
			}
			w.ok(w.AddKey(t.Context(), alice, name, spec))
			key := must(w.RetireKey(t.Context(), alice, name, "k1", end))(t)
			want := now.Add(c.want).Unix()
			if live := w.set().Key(name, "k1"); live.Record.Expires != want || live.Revision != key.Revision || key.Record.Expires != want {
				t.Errorf("the live key ends at %d (revision %d), returned was %d (%d), want %d", live.Record.Expires, live.Revision, key.Record.Expires, key.Revision, want)
			}
		})
	}
}

func TestRetireKeyNeedsForceToRefuseLiveTokens(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.add("orders", "k1")
	early := registry.Retirement{At: w.clock.Now().Add(time.Hour + time.Minute - time.Second)}
	earliest := w.clock.Now().Add(time.Hour + time.Minute).UTC().Format(time.RFC3339)
	before := w.stored(bus.Keys, "key.orders.k1").Revision
	_, err := w.RetireKey(t.Context(), alice, "orders", "k1", early)
	wantError(t, err, registry.ErrNeedsForce, "may be valid until "+earliest, "force the earlier one")
	if w.stored(bus.Keys, "key.orders.k1").Revision != before {
		t.Error("it was written all the same")
	}
	early.Force = true
	if key := must(w.RetireKey(t.Context(), alice, "orders", "k1", early))(t); key.Record.Expires != early.At.Unix() {
		t.Errorf("forced, the end is %d, want %d", key.Record.Expires, early.At.Unix())
	}
	// The same end again takes nothing away.
	before = w.stored(bus.Keys, "key.orders.k1").Revision
	again := must(w.RetireKey(t.Context(), alice, "orders", "k1", registry.Retirement{At: early.At}))(t)
	if again.Revision != before || w.stored(bus.Keys, "key.orders.k1").Revision != before || w.audit.last(t)["outcome"] != "unchanged" {
		t.Errorf("the same end was written again: %v", w.audit.last(t))
	}

	w.ok(w.RetireKey(t.Context(), alice, "orders", "k1", registry.Retirement{At: time.Unix(1, 0), Force: true}))
	if got := w.states("orders")["k1"]; got != expired {
		t.Errorf("a key with an end in the past is %s", got)
	}
	if got := w.set().Key("orders", "k1").Record.Expires; got != w.clock.Now().Unix() {
		t.Errorf("it ended at %d, want now", got)
	}
}

func TestRetireKeyRefuses(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.add("orders", "revoked")
	w.ok(w.RevokeKey(t.Context(), alice, "orders", "revoked", ""))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "expired", Expires: w.clock.Now().Add(time.Second)}))
	w.ok(w.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "pending", NotBefore: w.clock.Now().Add(48 * time.Hour)}))
	w.clock.advance(time.Second)
	w.server.Write(bus.Keys, "key.platform.node", `{"kty":"OKP","crv":"Ed25519","x":"JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU"}`)
	for name, c := range map[string]struct {
		issuer events.Name
		kid    events.KeyID
		end    registry.Retirement
		kind   error
		want   string
	}{
		"a key that is revoked":               {"orders", "revoked", registry.Retirement{}, registry.ErrKeyDead, `key "revoked" of orders is revoked already`},
		"a key that has expired":              {"orders", "expired", registry.Retirement{At: w.clock.Now().Add(9 * time.Hour)}, registry.ErrKeyDead, "is expired already"},
		"an unknown key":                      {"orders", "k9", registry.Retirement{}, registry.ErrNotFound, `orders has no key "k9"`},
		"an unknown client":                   {"nobody", "k1", registry.Retirement{}, registry.ErrNotFound, "nobody"},
		"an end before the beginning":         {"orders", "pending", registry.Retirement{At: w.clock.Now().Add(9 * time.Hour)}, registry.ErrInvalid, "the key would never be valid"},
		"a key of the platform, which renews": {"platform", "node", registry.Retirement{}, registry.ErrNotFound, "type platform, not client"},
		"a kid that is none":                  {"orders", "\n", registry.Retirement{}, registry.ErrInvalid, "without control characters"},
		"a name that is none":                 {"orders.k1", "x", registry.Retirement{}, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.set().Revision()
			_, err := w.RetireKey(t.Context(), alice, c.issuer, c.kid, c.end)
			wantError(t, err, c.kind, c.want)
			if after := w.set().Revision(); after != before {
				t.Errorf("something was written: revision %d, before %d", after, before)
			}
		})
	}
}

// Members that this version does not know are somebody's, and garbage on the name is nobody's.
func TestRetireKeyKeepsUnknownMembers(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.server.Write(bus.Keys, "key.orders.k1", `{"kty":"OKP","crv":"Ed25519","x":"JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU","iat":5,"nbf":6,"owner":{"team":"a"}}`)
	w.server.Write(bus.Keys, "key.orders.k1", `{"kty":"OKP","d":"private"}`)
	w.ok(w.RetireKey(t.Context(), alice, "orders", "k1", registry.Retirement{}))
	m := members(t, w.stored(bus.Keys, "key.orders.k1"))
	if m["exp"] != float64(w.clock.Now().Add(time.Hour+time.Minute).Unix()) || m["iat"] != 5.0 || m["nbf"] != 6.0 || m["owner"].(map[string]any)["team"] != "a" || m["d"] != nil {
		t.Errorf("the record is %v", m)
	}
	if got := w.states("orders")["k1"]; got != retiring {
		t.Errorf("the key is %s", got)
	}
}

func TestRetireKeyOfAnExternalIssuer(t *testing.T) {
	w := newWorld(t)
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	w.ok(w.AddKey(t.Context(), alice, "github", registry.KeySpec{KeyID: "key/1", Public: newPublic(t)}))
	w.ok(w.RetireKey(t.Context(), alice, "github", "key/1", registry.Retirement{}))
	if got := w.states("github")["key/1"]; got != retiring {
		t.Errorf("the key is %s", got)
	}
}
