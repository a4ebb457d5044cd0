package registry_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func TestCreateClientWritesItsRecord(t *testing.T) {
	w := newWorld(t)
	scope := must(events.ParseScope("billing:read billing:write"))(t)
	entry, err := w.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{
		Audience: []string{"https://billing"}, Scope: scope, Resource: []string{"https://orders"}, Offline: true, MaxTokenTTL: 90 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	e := w.stored(bus.Keys, "issuer.orders")
	const want = `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","resource":["https://orders"],"offline":true,"max_token_ttl":5400,"iat":%d}`
	if want := fmt.Sprintf(want, w.clock.Now().Unix()); string(e.Value) != want {
		t.Errorf("record is %s\nwant      %s", e.Value, want)
	}
	if e.Caller != alice.Name || e.Revision != entry.Revision {
		t.Errorf("message is revision %d by %q, want %d by %q", e.Revision, e.Caller, entry.Revision, alice.Name)
	}
	live := w.set().IssuerOf(platformURL + "/v1/clients/orders")
	if live == nil || live.Name != "orders" || live.Record.TokenTTL() != 90*time.Minute {
		t.Fatalf("the live set has %+v", live)
	}
	shown := must(w.Client(t.Context(), "orders"))(t)
	if shown.Revision != entry.Revision || shown.Record.Scope.String() != scope.String() {
		t.Errorf("shown is %+v", shown)
	}
	w.absent(bus.Clients, "orders")
}

func TestCreateClientChoosesANameAndALife(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		name    events.Name
		offline bool
		ttl     time.Duration
		want    int64
	}{
		"a generated name, offline, lives as long as an SDK mints": {"", true, 0, 86400},
		"a generated name, online, has the default":                {"", false, 0, 0},
		"a name of Authress's shape counts as one":                 {"ext_abc123", true, 0, 86400},
		"another name has the default":                             {"orders", true, 0, 0},
		"a name that is almost of the shape has the default":       {"sc_abc-123", true, 0, 0},
		"a life that is given wins":                                {"", true, time.Hour, 3600},
	} {
		t.Run(name, func(t *testing.T) {
			entry, err := w.CreateClient(t.Context(), alice, c.name, registry.ClientSpec{Audience: []string{"a"}, Offline: c.offline, MaxTokenTTL: c.ttl})
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "" && !regexp.MustCompile(`^sc_[a-zA-Z0-9]{22}$`).MatchString(string(entry.Name)) {
				t.Errorf("name is %s", entry.Name)
			}
			if got := w.set().Issuer(entry.Name); got == nil || got.Record.MaxTokenTTL != c.want {
				t.Errorf("live record is %+v, want max_token_ttl %d", got, c.want)
			}
		})
	}
	clients := must(w.Clients(t.Context()))(t)
	if len(clients) != 6 || !slices.IsSortedFunc(clients, func(a, b *events.IssuerEntry) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
		t.Errorf("%d clients are listed, want 6 in order", len(clients))
	}
}

func TestI11_ClientNamesThatLookLikeSomethingElseAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, name := range []events.Name{
		"platform", "Platform", "PLATFORM", "acc-abcdefghij0123456789", "acc_x", "khs_orders", "user_17", "User-17", "usr_17", "1234567890",
		"3f2b8c1e-0d4a-4b6e-9c77-5a1f0e2d3c4b",
	} {
		_, err := w.CreateClient(t.Context(), alice, name, registry.ClientSpec{})
		wantError(t, err, registry.ErrInvalid, string(name), "choose a name like orders")
	}
	for _, name := range []events.Name{"or.ders", "or ders", "orders.>", "*", "ördërs", events.Name(strings.Repeat("a", 65))} {
		_, err := w.CreateClient(t.Context(), alice, name, registry.ClientSpec{})
		wantError(t, err, registry.ErrInvalid, "A-Z a-z 0-9 _ -")
	}
	if n, _ := w.set().Len(); n != 1 {
		t.Errorf("there are %d issuers, want the platform alone", n)
	}
}

func TestI11_OrdinaryNamesAreAccepted(t *testing.T) {
	w := newWorld(t)
	names := []events.Name{"orders", "Orders-2", "a", "users", "account", "platform2", "sc_x", "user", "v1", events.Name(strings.Repeat("a", 64)), ""}
	for _, name := range names {
		entry, err := w.CreateClient(t.Context(), alice, name, registry.ClientSpec{})
		if err != nil {
			t.Errorf("%q is a fine name, but: %v", name, err)
			continue
		}
		if got := w.set().Issuer(entry.Name); got == nil || name != "" && entry.Name != name {
			t.Errorf("%q became %s, %+v", name, entry.Name, got)
		}
	}
	if n, _ := w.set().Len(); n != 1+len(names) {
		t.Errorf("there are %d issuers, want the platform and %d clients", n, len(names))
	}
}

func TestCreateClientRefusesWhatCannotBeARecord(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		spec registry.ClientSpec
		want string
	}{
		"offline without an audience":     {registry.ClientSpec{Offline: true}, "an offline client needs a non-empty aud"},
		"a life longer than a revocation": {registry.ClientSpec{MaxTokenTTL: 25 * time.Hour}, "max_token_ttl 90000 is not 1 to 86400"},
		"a negative life":                 {registry.ClientSpec{MaxTokenTTL: -time.Second}, "not a number of whole seconds"},
		"a life with a fraction":          {registry.ClientSpec{MaxTokenTTL: 1500 * time.Millisecond}, "not a number of whole seconds"},
		"an audience twice":               {registry.ClientSpec{Audience: []string{"a", "a"}}, `aud has "a" twice`},
		"an empty audience":               {registry.ClientSpec{Audience: []string{""}}, "aud has an entry that is not text"},
		"65 resources":                    {registry.ClientSpec{Resource: make([]string, 65)}, "resource has 65 entries, more than 64"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.CreateClient(t.Context(), alice, "orders", c.spec)
			wantError(t, err, registry.ErrInvalid, c.want)
			w.absent(bus.Keys, "issuer.orders")
		})
	}
}

func TestN_ANameIsGivenOnce(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	_, err := w.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, "orders exists already", alice.Name)

	if _, err := w.DisableClient(t.Context(), alice, "orders"); err != nil {
		t.Fatal(err)
	}
	_, err = w.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, "orders exists already")

	w.server.Delete(bus.Keys, "issuer.orders")
	_, err = w.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, "was used, and its record deleted", events.UnknownCaller, "nats kv put KEYS issuer.orders")
	if w.set().Issuer("orders") != nil {
		t.Error("the deleted client is back")
	}

	w.server.Write(bus.Keys, "issuer.garbage", "not json")
	_, err = w.CreateClient(t.Context(), alice, "garbage", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, "garbage exists already")

	if _, err := w.AddIssuer(t.Context(), alice, "idp", registry.IssuerSpec{Iss: "https://idp.example", Use: []string{events.UseAssertion}}); err != nil {
		t.Fatal(err)
	}
	_, err = w.CreateClient(t.Context(), alice, "idp", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, "idp exists already")
}

// Whoever puts a key or an API key under a name that nobody has would own the client that comes later.
func TestANameWithSomethingUnderItIsRefused(t *testing.T) {
	w := newWorld(t)
	w.server.Write(bus.Keys, "key.early.k1", `{"kty":"OKP","crv":"Ed25519","x":"JxtSC5tZZJuaW7Aeu5Kh_3tgCpPZRkHaaFyTj5sQ3KU"}`)
	_, err := w.CreateClient(t.Context(), alice, "early", registry.ClientSpec{})
	wantError(t, err, registry.ErrExists, `a key "k1" under the name early`, "nats kv del KEYS key.early.k1")
	w.absent(bus.Keys, "issuer.early")

	w.server.Delete(bus.Keys, "key.early.k1")
	for _, value := range []string{`{"secrets":[{"id":"a","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}]}`, `{"of a newer version":1}`, "{"} {
		w.server.Write(bus.Clients, "early", value)
		_, err = w.CreateClient(t.Context(), alice, "early", registry.ClientSpec{Profile: &events.Profile{Name: "Early"}})
		if value == "{" {
			wantError(t, err, registry.ErrInvalid, "early of CLIENTS is malformed")
			_, err = w.CreateClient(t.Context(), alice, "early", registry.ClientSpec{})
		}
		wantError(t, err, registry.ErrExists, "credentials under the name early", "nats kv del CLIENTS early")
	}

	w.server.Delete(bus.Clients, "early")
	w.server.Write(bus.Keys, "revoked.early.k1", `{}`)
	if _, err := w.CreateClient(t.Context(), alice, "early", registry.ClientSpec{}); err != nil {
		t.Errorf("a name with nothing but a revoked key under it is refused: %v", err)
	}
}

func TestUpdateClientChangesWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	w.server.Write(bus.Keys, "issuer.orders", `{"type":"client","status":"active","aud":["https://a"],"scope":"x","resource":["https://o"],"offline":true,"max_token_ttl":60,"not_before":7,"from_the_future":{"a":[1,2]}}`)
	scope := must(events.ParseScope("x y"))(t)
	entry, err := w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Scope: &scope})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"client","status":"active","aud":["https://a"],"scope":"x y","resource":["https://o"],"offline":true,"max_token_ttl":60,"not_before":7,"from_the_future":{"a":[1,2]}}`
	if e := w.stored(bus.Keys, "issuer.orders"); string(e.Value) != want || e.Revision != entry.Revision {
		t.Errorf("record is %s\nwant      %s", e.Value, want)
	}

	none, off, life := []string{}, false, time.Duration(0)
	entry, err = w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Audience: &none, Resource: &none, Offline: &off, MaxTokenTTL: &life})
	if err != nil {
		t.Fatal(err)
	}
	const bare = `{"type":"client","status":"active","scope":"x y","not_before":7,"from_the_future":{"a":[1,2]}}`
	if e := w.stored(bus.Keys, "issuer.orders"); string(e.Value) != bare {
		t.Errorf("record is %s\nwant      %s", e.Value, bare)
	}
	if live := w.set().Issuer("orders"); live.Revision != entry.Revision || live.Record.Offline {
		t.Errorf("the live set has %+v", live.Record)
	}
}

func TestUpdateClientRefuses(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	on, none, half := true, []string{}, time.Millisecond
	for name, c := range map[string]struct {
		name   events.Name
		update registry.ClientUpdate
		kind   error
		want   string
	}{
		"nothing":                           {"orders", registry.ClientUpdate{}, registry.ErrInvalid, "nothing to change was named"},
		"an unknown client":                 {"nobody", registry.ClientUpdate{Offline: &on}, registry.ErrNotFound, "there is no issuer or client nobody"},
		"the platform":                      {"platform", registry.ClientUpdate{Offline: &on}, registry.ErrNotFound, "type platform, not client"},
		"offline losing its audience":       {"orders", registry.ClientUpdate{Audience: &none}, registry.ErrInvalid, "client orders: an offline client needs"},
		"a life of a part of a second":      {"orders", registry.ClientUpdate{MaxTokenTTL: &half}, registry.ErrInvalid, "whole seconds"},
		"a name that is none":               {"orders.>", registry.ClientUpdate{Offline: &on}, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
		"a name that would be another kind": {"orders.k1", registry.ClientUpdate{Offline: &on}, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.set().Revision()
			_, err := w.UpdateClient(t.Context(), alice, c.name, c.update)
			wantError(t, err, c.kind, c.want)
			if after := w.set().Revision(); after != before {
				t.Errorf("something was written: revision %d, before %d", after, before)
			}
		})
	}
}

func TestADisabledClientComesBackWithoutItsTokens(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	disabled := must(w.DisableClient(t.Context(), alice, "orders"))(t)
	at := w.clock.Now().Unix()
	if live := w.set().Issuer("orders").Record; live.Status != events.Disabled || live.NotBefore != at || disabled.Record.NotBefore != at {
		t.Fatalf("live record is %+v, want disabled with not_before %d", live, at)
	}

	w.clock.advance(time.Hour)
	if _, err := w.EnableClient(t.Context(), alice, "orders"); err != nil {
		t.Fatal(err)
	}
	if live := w.set().Issuer("orders").Record; live.Status != events.Active || live.NotBefore != at || !live.Offline || live.Scope.String() != "billing:read billing:write" {
		t.Fatalf("live record is %+v, want active, with not_before %d and all else as it was", live, at)
	}

	w.clock.advance(-24 * time.Hour) // a clock that goes wrong does not revive anything
	if _, err := w.DisableClient(t.Context(), alice, "orders"); err != nil {
		t.Fatal(err)
	}
	if live := w.set().Issuer("orders").Record; live.NotBefore != at {
		t.Errorf("not_before went back from %d to %d", at, live.NotBefore)
	}
	_, err := w.DisableClient(t.Context(), alice, "nobody")
	wantError(t, err, registry.ErrNotFound, "nobody")
	_, err = w.EnableClient(t.Context(), alice, "platform")
	wantError(t, err, registry.ErrNotFound, "type platform, not client")
}

// Garbage on a client's name changes nothing for readers, so it must not keep anybody from disabling the client.
func TestDisableClientWorksOnTopOfGarbage(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	for _, garbage := range []string{"not json", `{"type":"platform","status":"active","iss":"https://evil.example"}`, `{"type":"client","status":"asleep"}`} {
		w.server.Write(bus.Keys, "issuer.orders", garbage)
		if _, err := w.DisableClient(t.Context(), alice, "orders"); err != nil {
			t.Fatalf("on top of %s: %v", garbage, err)
		}
		live := w.set().Issuer("orders").Record
		if live.Status != events.Disabled || live.Scope.String() != "billing:read billing:write" || live.Type != events.TypeClient {
			t.Fatalf("on top of %s the live record is %+v", garbage, live)
		}
		if _, err := w.EnableClient(t.Context(), alice, "orders"); err != nil {
			t.Fatal(err)
		}
	}
	for range events.History {
		w.server.Write(bus.Keys, "issuer.orders", "not json")
	}
	_, err := w.DisableClient(t.Context(), alice, "orders")
	wantError(t, err, registry.ErrNotFound, "issuer.orders has no valid revision", "put a valid one with nats kv put")

	w.server.Delete(bus.Keys, "issuer.orders")
	_, err = w.DisableClient(t.Context(), alice, "orders")
	wantError(t, err, registry.ErrNotFound, "was deleted", "put its last value back with nats kv put KEYS issuer.orders")
}
