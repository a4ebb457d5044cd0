package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func TestRevokeKeyIsForEverAndOnce(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.add("orders", "k1")
	first := must(w.RevokeKey(t.Context(), alice, "orders", "k1", "laptop lost"))(t)
	if first.Already || !first.Known || first.Caller != alice.Name || !first.At.Equal(w.clock.Now()) {
		t.Errorf("the revocation is %+v", first)
	}
	e := w.stored(bus.Keys, "revoked.orders.k1")
	if m := members(t, e); len(m) != 2 || m["reason"] != "laptop lost" || m["revoked_at"] != float64(w.clock.Now().Unix()) || e.Revision != first.Revision || e.Caller != alice.Name {
		t.Errorf("record is %s, revision %d by %q", e.Value, e.Revision, e.Caller)
	}
	live := w.set().Key("orders", "k1")
	if live.State(w.clock.Now()) != events.KeyRevoked || live.RevokedBy != first.Revision || live.Reason.Reason != "laptop lost" {
		t.Errorf("the live key is %+v", live)
	}

	w.clock.advance(time.Hour)
	again := must(w.RevokeKey(t.Context(), registry.Caller{Name: "cli:bob"}, "orders", "k1", "another reason"))(t)
	if !again.Already || again.Revision != first.Revision || again.Caller != alice.Name || !again.At.Equal(e.Time) {
		t.Errorf("the second revocation is %+v, want the first, of %s", again, e.Time)
	}
	if w.stored(bus.Keys, "revoked.orders.k1").Revision != first.Revision {
		t.Error("it was written twice")
	}
	if got := w.audit.last(t); got["outcome"] != "unchanged" || got["caller"] != "cli:bob" {
		t.Errorf("audit line is %v", got)
	}
}

func TestRevokeKeyOfAnyIssuer(t *testing.T) {
	w := newWorld(t)
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	w.client("orders")
	w.ok(w.DisableClient(t.Context(), alice, "orders"))
	for name, c := range map[string]struct {
		issuer events.Name
		kid    events.KeyID
		record string
	}{
		"a client's key that is not there yet": {"orders", "k9", "revoked.orders.k9"},
		"an external issuer's":                 {"github", "key/1", "revoked.github.b64.a2V5LzE"},
		"the platform's":                       {"platform", "thumb-print", "revoked.platform.thumb-print"},
		"of an issuer that is not there yet":   {"later", "k1", "revoked.later.k1"},
	} {
		t.Run(name, func(t *testing.T) {
			revoked := must(w.RevokeKey(t.Context(), alice, c.issuer, c.kid, ""))(t)
			if revoked.Known || revoked.Already {
				t.Errorf("the revocation is %+v", revoked)
			}
			if e := w.stored(bus.Keys, c.record); e.Revision != revoked.Revision {
				t.Errorf("the record is %+v", e)
			}
			w.server.Write(bus.Keys, strings.Replace(c.record, "revoked.", "key.", 1), `{"kty":"OKP","crv":"Ed25519","x":"JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU"}`)
			if got := w.states(c.issuer)[c.kid]; got != events.KeyRevoked {
				t.Errorf("the key that came later is %s", got)
			}
		})
	}
}

// Whatever was written on the name before, by whomever, revokes.
func TestRevokeKeyFindsWhatTheNatsCommandDid(t *testing.T) {
	for name, write := range map[string]func(w *world){
		"a value":         func(w *world) { w.server.Write(bus.Keys, "revoked.orders.k1", `{"reason":"leaked"}`) },
		"a malformed one": func(w *world) { w.server.Write(bus.Keys, "revoked.orders.k1", "not json") },
		"an empty one":    func(w *world) { w.server.Write(bus.Keys, "revoked.orders.k1", "") },
		"a delete marker": func(w *world) { w.server.Delete(bus.Keys, "revoked.orders.k1") },
		"a value, deleted": func(w *world) {
			w.server.Write(bus.Keys, "revoked.orders.k1", "{}")
			w.server.Delete(bus.Keys, "revoked.orders.k1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.client("orders")
			w.add("orders", "k1")
			write(w)
			before := w.stored(bus.Keys, "revoked.orders.k1").Revision
			revoked := must(w.RevokeKey(t.Context(), alice, "orders", "k1", ""))(t)
			if !revoked.Already || revoked.Revision != before || revoked.Caller != events.UnknownCaller {
				t.Errorf("the revocation is %+v", revoked)
			}
			if got := w.states("orders")["k1"]; got != events.KeyRevoked {
				t.Errorf("the key is %s", got)
			}
		})
	}
}

func TestRevokeKeyRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		issuer events.Name
		kid    events.KeyID
		reason string
		want   string
	}{
		"a name that is none":                {"a.b", "k1", "", "A-Z a-z 0-9 _ -"},
		"no kid":                             {"orders", "", "", "kid"},
		"a kid with a control character":     {"orders", "k\x00", "", "without control characters"},
		"a reason that is too long":          {"orders", "k1", strings.Repeat("a", 257), "reason is not text of at most 256 bytes"},
		"a reason that moves a cursor":       {"orders", "k1", "\x1b[2J", "reason is not text of at most 256 bytes"},
		"a reason that is not text":          {"orders", "k1", "\xff", "reason is not text of at most 256 bytes"},
		"a reason that begins a second line": {"orders", "k1", "a\nb", "reason is not text of at most 256 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.RevokeKey(t.Context(), alice, c.issuer, c.kid, c.reason)
			wantError(t, err, registry.ErrInvalid, c.want)
			w.absent(bus.Keys, "revoked.orders.k1")
		})
	}
}

func TestRevokeTokenIsRememberedUntilItsEnd(t *testing.T) {
	w := newWorld(t)
	id := events.TokenByID(platformURL, "jti-1")
	exp := w.clock.Now().Add(time.Hour)
	revoked := must(w.RevokeToken(t.Context(), alice, id, exp, "stolen"))(t)
	if revoked.Already || revoked.Caller != alice.Name {
		t.Errorf("the revocation is %+v", revoked)
	}
	e := w.stored(bus.Revocations, id.String())
	if m := members(t, e); len(m) != 2 || m["exp"] != float64(exp.Unix()) || m["reason"] != "stolen" || e.Revision != revoked.Revision || e.Caller != alice.Name {
		t.Errorf("record is %s by %q", e.Value, e.Caller)
	}
	live := w.join(nil) // another process, which starts now
	if err := live.keys.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !live.keys.Revocations().Revoked(id) {
		t.Error("a verifier does not know the revocation")
	}
	if again := must(w.RevokeToken(t.Context(), alice, id, exp, ""))(t); !again.Already || again.Revision != revoked.Revision {
		t.Errorf("again, the revocation is %+v", again)
	}
	// A longer life of the token than was said before needs a longer memory.
	longer := must(w.RevokeToken(t.Context(), alice, id, exp.Add(time.Minute), ""))(t)
	if longer.Already || members(t, w.stored(bus.Revocations, id.String()))["exp"] != float64(exp.Add(time.Minute).Unix()) {
		t.Errorf("with a later end, the revocation is %+v", longer)
	}
}

func TestRevokeTokenRepairsWhatIsForgottenTooEarly(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		jti     string
		write   func(name string)
		life    time.Duration
		already bool
	}{
		{"a longer memory is enough", "a", func(n string) { w.server.Write(bus.Revocations, n, `{"exp":9999999999}`) }, 24 * time.Hour, true},
		{"a malformed value counts a day", "b", func(n string) { w.server.Write(bus.Revocations, n, `not json`) }, time.Hour, true},
		{"a marker counts a day", "c", func(n string) { w.server.Delete(bus.Revocations, n) }, time.Hour, true},
		{"a shorter memory is not enough", "d", func(n string) { w.server.Write(bus.Revocations, n, `{"exp":1}`) }, time.Hour, false},
		{"the bucket itself would be first", "e", func(n string) { w.server.Write(bus.Revocations, n, `{"exp":9999999999}`); w.clock.advance(time.Hour) }, 24 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := events.TokenByID(platformURL, c.jti)
			c.write(id.String())
			if got := must(w.RevokeToken(t.Context(), alice, id, w.clock.Now().Add(c.life), ""))(t); got.Already != c.already {
				t.Errorf("the revocation is %+v", got)
			}
		})
	}
}

func TestRevokeTokenRefuses(t *testing.T) {
	w := newWorld(t)
	id := events.TokenByText([]byte("header.payload"))
	now := w.clock.Now()
	for name, c := range map[string]struct {
		id     events.TokenID
		exp    time.Time
		reason string
		want   string
	}{
		"a token that nobody accepts any more": {id, now.Add(-events.MaxLeeway), "", "nobody accepts it any more"},
		"a token that nobody accepts yet":      {id, now.Add(events.MaxTokenTTL + events.MaxLeeway + time.Second), "", "disable it or revoke its key"},
		"a token without an end":               {id, time.Time{}, "", "nobody accepts it any more"},
		"no token":                             {events.TokenID{}, now.Add(time.Hour), "", "it was not said which"},
		"a reason that is too long":            {id, now.Add(time.Hour), strings.Repeat("a", 257), "reason is not text of at most 256 bytes"},
		"a reason with a line break":           {id, now.Add(time.Hour), "a\r\nb", "reason is not text of at most 256 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.RevokeToken(t.Context(), alice, c.id, c.exp, c.reason)
			wantError(t, err, registry.ErrInvalid, c.want)
			w.absent(bus.Revocations, id.String())
		})
	}
	w.ok(w.RevokeToken(t.Context(), alice, id, now.Add(-events.MaxLeeway+time.Second), "")) // verifiers may tolerate it for a second more
}
