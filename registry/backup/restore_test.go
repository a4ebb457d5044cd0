package backup_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

func TestRestoreToNewBuckets(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Write(bus.Keys, "issuer.orders", clientJSON())
	w.Write(bus.Keys, "issuer.orders", clientJSON(`"later":{"x":[1,2]}`))
	w.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
	w.Write(bus.Keys, "key.orders.k1", `{"kty":"OKP","crv":"Ed25519","x":"malformed"}`)
	w.Write(bus.Keys, "key.orders.k2", eventstest.KeyJSON(2))
	w.Delete(bus.Keys, "key.orders.k2")
	w.Write(bus.Keys, "key.orders.b64.a2lkLzE", eventstest.KeyJSON(3, `"exp":4000000000`))
	w.Write(bus.Keys, "key.platform.node", eventstest.KeyJSON(4, `"exp":4000000000`))
	w.Write(bus.Keys, "revoked.orders.k3", `{"reason":"leaked"}`)
	w.Write(bus.Keys, "revoked.orders.k4", "no JSON \x00\xff")
	w.Delete(bus.Keys, "revoked.orders.k5")
	w.Write(bus.Keys, "weird", "x")
	w.Write(bus.Clients, "orders", secretJSON("a"))
	over, open := revocation(-time.Hour), revocation(time.Hour)
	w.Write(bus.Revocations, token(1).String(), open)
	w.Write(bus.Revocations, token(2).String(), over)
	w.Write(bus.Revocations, token(3).String(), "malformed")
	w.Write(bus.Revocations, token(4).String(), "")
	w.Write(bus.Assertions, assertion(1), "")
	w.Write(bus.Usage, "secret.orders.a", `{"at":1}`)
	w.Write(bus.Usage, "refresh.lease", `{"holder":"n1","exp":1}`)

	fresh := empty(t)
	plan := fresh.restore(w.save(), backup.Options{})
	fresh.has(bus.Keys, map[string]string{
		"issuer.platform": platformJSON, "issuer.orders": clientJSON(`"later":{"x":[1,2]}`),
		"key.orders.k1": eventstest.KeyJSON(1), "key.orders.b64.a2lkLzE": eventstest.KeyJSON(3, `"exp":4000000000`),
		"revoked.orders.k3": `{"reason":"leaked"}`, "revoked.orders.k4": "no JSON \x00\xff", "revoked.orders.k5": "deleted",
	})
	fresh.has(bus.Clients, map[string]string{"orders": secretJSON("a")})
	fresh.has(bus.Revocations, map[string]string{token(1).String(): open, token(3).String(): "malformed", token(4).String(): ""})
	fresh.has(bus.Assertions, map[string]string{assertion(1): ""})
	fresh.has(bus.Usage, map[string]string{"secret.orders.a": `{"at":1}`})
	if !plan.OnlyAdds() || len(plan.Kept)+len(plan.Undone) != 0 {
		t.Errorf("to new buckets nothing is there to be changed or kept: %+v", plan)
	}
	e, err := fresh.conn.Get(t.Context(), bus.Keys, "issuer.orders")
	if err != nil || e.Caller != "tester (restore)" {
		t.Errorf("the record was written by %q, error %v", e.Caller, err)
	}

	before := fresh.sequences()
	if again := fresh.restore(w.save(), backup.Options{}); again.Writes() != 0 || !slices.Equal(before, fresh.sequences()) {
		t.Errorf("the second restore has written %d messages", again.Writes())
	}
}

// Over existing records, a name is as in the backup, or gone, and what was taken away since stays so.
func TestRestoreOverExistingRecords(t *testing.T) {
	t.Parallel()
	const put, del = "put", "del"
	type message struct {
		bucket      bus.Bucket
		op          string
		name, value string
	}
	disabled := strings.Replace(clientJSON(), "active", "disabled", 1)
	fetched := `"jwks_uri":"https://login.example.com/keys"`
	external := `{"type":"external","status":"active","iss":"https://login.example.com","use":["assertion"],"jwks_uri":"https://login.example.com/keys"}`
	for _, tt := range []struct {
		name       string
		saved      []message
		since      []message
		bucket     bus.Bucket
		record     string
		want       string // the last message; empty: none
		undone     string // the same with Undo, if that is another
		kept       []string
		touched    []string
		keptAlways bool // with Undo, too
	}{
		{name: "a client's bounds are those of the backup", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON(`"scope":"read"`)}},
			since: []message{{bus.Keys, put, "issuer.orders", clientJSON(`"scope":"read write"`)}},
			want:  clientJSON(`"scope":"read"`), touched: []string{"issuer.orders: changed"}},
		{name: "a client that is not in the backup is deleted", bucket: bus.Keys, record: "issuer.new",
			since: []message{{bus.Keys, put, "issuer.new", clientJSON()}},
			want:  "deleted", touched: []string{"issuer.new: deleted: it is not in the backup"}},
		{name: "a client that the backup has as deleted is deleted", bucket: bus.Keys, record: "issuer.old",
			saved: []message{{bus.Keys, put, "issuer.old", clientJSON()}, {bus.Keys, del, "issuer.old", ""}},
			since: []message{{bus.Keys, put, "issuer.old", clientJSON()}},
			want:  "deleted", touched: []string{"issuer.old: deleted: it is not in the backup"}},
		{name: "a client that was deleted returns", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON()}}, since: []message{{bus.Keys, del, "issuer.orders", ""}},
			want: clientJSON(), touched: []string{"issuer.orders: returns: it was deleted"}},
		{name: "a client that was disabled and then deleted returns disabled", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON()}},
			since: []message{{bus.Keys, put, "issuer.orders", disabled}, {bus.Keys, del, "issuer.orders", ""}},
			want:  disabled, undone: clientJSON(),
			kept: []string{"issuer.orders: disabled"}, touched: []string{"issuer.orders: returns: it was deleted"}},
		{name: "a client that was disabled stays disabled, in the bounds of the backup", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON(`"scope":"read","x":1`)}},
			since: []message{{bus.Keys, put, "issuer.orders", strings.Replace(clientJSON(`"scope":"read write"`), "active", "disabled", 1)}},
			want:  `{"type":"client","status":"disabled","aud":["https://billing"],"scope":"read","offline":true,"x":1}`, undone: clientJSON(`"scope":"read","x":1`),
			kept: []string{"issuer.orders: disabled"}, touched: []string{"issuer.orders: changed"}},
		{name: "a client that was enabled is disabled again", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", disabled}}, since: []message{{bus.Keys, put, "issuer.orders", clientJSON()}},
			want: disabled, touched: []string{"issuer.orders: changed"}},
		{name: "a not_before that was raised stays", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON(`"not_before":10`)}},
			since: []message{{bus.Keys, put, "issuer.orders", clientJSON(`"not_before":20`)}},
			want:  clientJSON(`"not_before":20`), undone: clientJSON(`"not_before":10`), kept: []string{"issuer.orders: tokens issued up to 1970-01-01T00:00:20Z are refused"}},
		{name: "a malformed value does not hide what counts in the bucket", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON()}}, since: []message{{bus.Keys, put, "issuer.orders", disabled}, {bus.Keys, put, "issuer.orders", "x"}},
			want: "x", undone: clientJSON(), kept: []string{"issuer.orders: disabled"}},
		{name: "a key is as it is in the backup", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"exp":20`)}}, since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}},
			want: eventstest.KeyJSON(1, `"exp":20`), touched: []string{"key.orders.k1: changed"}},
		{name: "a key that was replaced under its kid does not return", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}}, since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(2)}},
			want: eventstest.KeyJSON(2), undone: eventstest.KeyJSON(1), kept: []string{"key.orders.k1: replaced by another key"}},
		{name: "and neither of the two, if the other was deleted", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}},
			since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(2)}, {bus.Keys, del, "key.orders.k1", ""}},
			want:  "deleted", undone: eventstest.KeyJSON(1), kept: []string{"key.orders.k1: replaced by another key"}},
		{name: "a key whose beginning was put off keeps that", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"exp":50`)}},
			since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"nbf":20`)}},
			want:  eventstest.KeyJSON(1, `"alg":"EdDSA","use":"sig","kid":"k1","nbf":20,"exp":50`), undone: eventstest.KeyJSON(1, `"exp":50`), kept: []string{"key.orders.k1: begins at 1970-01-01T00:00:20Z"},
			touched: []string{"key.orders.k1: changed"}},
		{name: "bounds that were narrowed stay so, and the others are those of the backup", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders",
				`{"type":"client","status":"active","aud":["https://a","https://b"],"scope":"a b admin","resource":["https://r","https://s"],"offline":true,"x":1}`}},
			since: []message{{bus.Keys, put, "issuer.orders",
				`{"type":"client","status":"active","aud":["https://c","https://b"],"scope":"a c","resource":["https://s"],"max_token_ttl":60}`}},
			want:   `{"type":"client","status":"active","aud":["https://b"],"scope":"a","resource":["https://s"],"max_token_ttl":60,"x":1}`,
			undone: `{"type":"client","status":"active","aud":["https://a","https://b"],"scope":"a b admin","resource":["https://r","https://s"],"offline":true,"x":1}`,
			kept: []string{"issuer.orders: scope without admin b", "issuer.orders: aud without https://a", "issuer.orders: resource without https://r",
				"issuer.orders: not offline", "issuer.orders: max_token_ttl 60"},
			touched: []string{"issuer.orders: changed"}},
		{name: "audiences without which there is no limit stay those of the bucket", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", `{"type":"client","status":"active","aud":["https://a"],"max_token_ttl":7200}`}},
			since: []message{{bus.Keys, put, "issuer.orders", `{"type":"client","status":"active","aud":["https://b"]}`}},
			want:  `{"type":"client","status":"active","aud":["https://b"]}`, undone: `{"type":"client","status":"active","aud":["https://a"],"max_token_ttl":7200}`,
			kept: []string{"issuer.orders: aud only https://b", "issuer.orders: max_token_ttl 3600"}},
		{name: "a limit of audiences that is new stays", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", `{"type":"client","status":"active"}`}},
			since: []message{{bus.Keys, put, "issuer.orders", `{"type":"client","status":"active","aud":["https://b"]}`}},
			want:  `{"type":"client","status":"active","aud":["https://b"]}`, undone: `{"type":"client","status":"active"}`,
			kept: []string{"issuer.orders: aud only https://b"}},
		{name: "an external issuer's use stays narrowed, and its keys where they are fetched", bucket: bus.Keys, record: "issuer.login",
			saved:  []message{{bus.Keys, put, "issuer.login", strings.Replace(external, `"use":["assertion"]`, `"use":["access_token","assertion"],"aud":["https://a"]`, 1)}},
			since:  []message{{bus.Keys, put, "issuer.login", strings.Replace(external, "/keys", "/new", 1)}},
			want:   `{"type":"external","status":"active","iss":"https://login.example.com","aud":["https://a"],"use":["assertion"],"jwks_uri":"https://login.example.com/new"}`,
			undone: strings.Replace(external, `"use":["assertion"]`, `"use":["access_token","assertion"],"aud":["https://a"]`, 1),
			kept:   []string{"issuer.login: use without access_token", "issuer.login: keys from https://login.example.com/new"}, touched: []string{"issuer.login: changed"}},
		{name: "an external issuer that is another one now does not return", bucket: bus.Keys, record: "issuer.login",
			saved: []message{{bus.Keys, put, "issuer.login", external}},
			since: []message{{bus.Keys, put, "issuer.login", strings.ReplaceAll(external, "login.", "other.")}},
			want:  strings.ReplaceAll(external, "login.", "other."), undone: external, kept: []string{"issuer.login: replaced by another issuer"}},
		{name: "a client whose name is an external issuer's now does not return", bucket: bus.Keys, record: "issuer.login",
			saved: []message{{bus.Keys, put, "issuer.login", clientJSON()}}, since: []message{{bus.Keys, put, "issuer.login", external}},
			want: external, undone: clientJSON(), kept: []string{"issuer.login: replaced by another issuer"}},
		{name: "what malformed values have pushed out is not known, and does not return", bucket: bus.Keys, record: "issuer.orders",
			saved: []message{{bus.Keys, put, "issuer.orders", clientJSON()}},
			since: append([]message{{bus.Keys, put, "issuer.orders", disabled}}, slices.Repeat([]message{{bus.Keys, put, "issuer.orders", "x"}}, events.History)...),
			want:  "x", undone: clientJSON(), kept: []string{"issuer.orders: pushed out by malformed values"}},
		{name: "assertions that must have a jti since must go on", bucket: bus.Clients, record: "orders",
			saved: []message{{bus.Clients, put, "orders", secretJSON("a")}},
			since: []message{{bus.Clients, put, "orders", strings.Replace(secretJSON("a"), "{", `{"require_jti":true,`, 1)}},
			want:  strings.Replace(secretJSON("a"), "{", `{"require_jti":true,`, 1), undone: secretJSON("a"), kept: []string{"orders: require_jti"}},
		{name: "a key that is not in the backup is deleted", bucket: bus.Keys, record: "key.orders.k2",
			since: []message{{bus.Keys, put, "key.orders.k2", eventstest.KeyJSON(2)}},
			want:  "deleted", touched: []string{"key.orders.k2: deleted: it is not in the backup"}},
		{name: "a key that was given an end keeps it", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}},
			since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"exp":20`)}},
			want:  eventstest.KeyJSON(1, `"exp":20`), undone: eventstest.KeyJSON(1), kept: []string{"key.orders.k1: ends at 1970-01-01T00:00:20Z"}},
		{name: "an end before the backup's beginning takes the beginning with it", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"nbf":30`)}},
			since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"nbf":5,"exp":20`)}},
			want:  eventstest.KeyJSON(1, `"nbf":5,"exp":20`), undone: eventstest.KeyJSON(1, `"nbf":30`), kept: []string{"key.orders.k1: ends at 1970-01-01T00:00:20Z"}},
		{name: "a key that its record revokes stays revoked", bucket: bus.Keys, record: "key.orders.k1",
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}},
			since: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1, `"revoked":{"reason":"leaked"}`)}},
			want:  eventstest.KeyJSON(1, `"revoked":{"reason":"leaked"}`), undone: eventstest.KeyJSON(1), kept: []string{"key.orders.k1: revoked by its record"}},
		{name: "a key that was revoked for ever stays so, whatever is asked", bucket: bus.Keys, record: "revoked.orders.k1", keptAlways: true,
			saved: []message{{bus.Keys, put, "key.orders.k1", eventstest.KeyJSON(1)}}, since: []message{{bus.Keys, put, "revoked.orders.k1", `{"reason":"leaked"}`}},
			want: `{"reason":"leaked"}`, kept: []string{"revoked.orders.k1: key revoked for ever"}},
		{name: "what the nodes have registered is left alone", bucket: bus.Keys, record: "key.platform.n2",
			saved: []message{{bus.Keys, put, "key.platform.n1", eventstest.KeyJSON(1, `"exp":4000000000`)}, {bus.Keys, put, "key.platform.n2", eventstest.KeyJSON(2, `"exp":4000000000`)}},
			since: []message{{bus.Keys, put, "key.platform.n2", eventstest.KeyJSON(2, `"exp":4000000001`)}},
			want:  eventstest.KeyJSON(2, `"exp":4000000001`)},
		{name: "a fetched key that its issuer has changed since is left alone", bucket: bus.Keys, record: "key.login.f1",
			saved: []message{{bus.Keys, put, "issuer.login", external}, {bus.Keys, put, "key.login.f1", eventstest.KeyJSON(1, fetched)}},
			since: []message{{bus.Keys, put, "key.login.f1", eventstest.KeyJSON(2, fetched)}}, want: eventstest.KeyJSON(2, fetched)},
		{name: "a fetched key that its issuer has taken away since does not return", bucket: bus.Keys, record: "key.login.f1",
			saved: []message{{bus.Keys, put, "issuer.login", external}, {bus.Keys, put, "key.login.f1", eventstest.KeyJSON(1, fetched)}},
			since: []message{{bus.Keys, del, "key.login.f1", ""}}, want: "deleted"},
		{name: "a fetched key that is new stays", bucket: bus.Keys, record: "key.login.f2",
			saved: []message{{bus.Keys, put, "issuer.login", external}}, since: []message{{bus.Keys, put, "key.login.f2", eventstest.KeyJSON(2, fetched)}},
			want: eventstest.KeyJSON(2, fetched)},
		{name: "a fetched key goes with its issuer", bucket: bus.Keys, record: "key.login.f2",
			since: []message{{bus.Keys, put, "issuer.login", external}, {bus.Keys, put, "key.login.f2", eventstest.KeyJSON(2, fetched)}},
			want:  "deleted", touched: []string{"issuer.login: deleted: it is not in the backup", "key.login.f2: deleted: it is not in the backup"}},
		{name: "an API key that was removed does not return", bucket: bus.Clients, record: "orders",
			saved: []message{{bus.Clients, put, "orders", secretJSON("a", "b")}}, since: []message{{bus.Clients, put, "orders", secretJSON("b", "c")}},
			want: secretJSON("b"), undone: secretJSON("a", "b"), kept: []string{"orders: API key a removed"}, touched: []string{"orders: changed"}},
		{name: "all credentials that were removed", bucket: bus.Clients, record: "orders",
			saved: []message{{bus.Clients, put, "orders", `{"tls":{"san_dns":"orders.example.com"},"federated":[{"issuer":"github","sub":"repo:x","aud":"https://auth.example.com"}]}`}},
			since: []message{{bus.Clients, put, "orders", `{}`}},
			want:  `{}`, undone: `{"tls":{"san_dns":"orders.example.com"},"federated":[{"issuer":"github","sub":"repo:x","aud":"https://auth.example.com"}]}`,
			kept: []string{"orders: identity of github removed", "orders: certificates by san_dns removed"}},
		{name: "credentials that were deleted as a whole return", bucket: bus.Clients, record: "orders",
			saved: []message{{bus.Clients, put, "orders", secretJSON("a")}}, since: []message{{bus.Clients, del, "orders", ""}},
			want: secretJSON("a"), touched: []string{"orders: returns: it was deleted"}},
		{name: "a revoked token stays revoked, whatever is asked", bucket: bus.Revocations, record: token(1).String(), keptAlways: true,
			since: []message{{bus.Revocations, put, token(1).String(), `{"exp":4000000000}`}},
			want:  `{"exp":4000000000}`, kept: []string{token(1).String() + ": token revoked"}},
		{name: "a token is revoked for the longer of two times", bucket: bus.Revocations, record: token(1).String(),
			saved: []message{{bus.Revocations, put, token(1).String(), `{"exp":4000000000}`}}, since: []message{{bus.Revocations, put, token(1).String(), `{"exp":4}`}},
			want: `{"exp":4000000000}`},
		{name: "and not for the shorter", bucket: bus.Revocations, record: token(1).String(),
			saved: []message{{bus.Revocations, put, token(1).String(), `{"exp":4}`}}, since: []message{{bus.Revocations, put, token(1).String(), `{"exp":4000000000}`}},
			want: `{"exp":4000000000}`},
		{name: "an assertion that was used since stays used", bucket: bus.Assertions, record: assertion(2),
			saved: []message{{bus.Assertions, put, assertion(1), ""}}, since: []message{{bus.Assertions, put, assertion(2), ""}}, want: ""},
		{name: "the last use is the later one", bucket: bus.Usage, record: "key.orders.k1",
			saved: []message{{bus.Usage, put, "key.orders.k1", `{"at":1}`}}, since: []message{{bus.Usage, put, "key.orders.k1", `{"at":2}`}}, want: `{"at":2}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			apply := func(messages []message) {
				for _, m := range messages {
					if m.op == del {
						w.Delete(m.bucket, m.name)
					} else {
						w.Write(m.bucket, m.name, m.value)
					}
				}
			}
			apply(tt.saved)
			file := w.save()
			apply(tt.since)
			for _, undo := range []bool{false, true} { // in this order: nothing is given back by the first
				want, kept := tt.want, tt.kept
				if undo && tt.undone != "" {
					want = tt.undone
				}
				before := w.sequences()
				plan := w.plan(file, backup.Options{Undo: undo})
				if !slices.Equal(before, w.sequences()) {
					t.Fatal("a plan has written something")
				}
				list := plan.Kept
				if undo && !tt.keptAlways {
					list = plan.Undone
				}
				if !slices.Equal(names(list), kept) {
					t.Errorf("undo %t: listed as taken away is %q, not %q", undo, names(list), kept)
				}
				if !undo && !slices.Equal(names(plan.Touched), tt.touched) {
					t.Errorf("listed as touched is %q, not %q", names(plan.Touched), tt.touched)
				}
				w.restore(file, backup.Options{Undo: undo})
				if have, ok := w.last(tt.bucket)[tt.record]; have != want || !ok {
					t.Errorf("undo %t: the bucket has\n%q, not\n%q", undo, have, want)
				}
				if undo {
					break
				}
				before = w.sequences()
				if again := w.restore(file, backup.Options{}); again.Writes() > 0 || !slices.Equal(before, w.sequences()) {
					t.Errorf("repeated, it writes %d messages", again.Writes())
				}
			}
		})
	}
}

// Malformed values that are all that there ever was have pushed nothing out.
func TestRestoreOverMalformedValues(t *testing.T) {
	t.Parallel()
	w := empty(t)
	w.Write(bus.Keys, "issuer.orders", "x")
	plan := w.restore(withLines(line("issuer.orders", 2, clientJSON())), backup.Options{})
	w.has(bus.Keys, map[string]string{"issuer.orders": clientJSON()})
	if have := names(plan.Touched); len(plan.Kept) > 0 || !slices.Equal(have, []string{"issuer.orders: returns: the values there are malformed"}) {
		t.Errorf("touched %q, kept %q", have, names(plan.Kept))
	}
}

func TestRestoreOfAnotherPlatformIsRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Write(bus.Keys, "issuer.orders", clientJSON())
	file := w.save()
	for name, platform := range map[string]string{
		"URL":     strings.Replace(platformJSON, "auth.", "login.", 1),
		"account": strings.Replace(platformJSON, "acc-0", "acc-1", 1),
	} {
		other := empty(t)
		other.Write(bus.Keys, "issuer.platform", platform)
		if _, err := open(t, file).Plan(t.Context(), other.conn, backup.Options{}, nil); !errors.Is(err, backup.ErrOtherPlatform) {
			t.Errorf("another %s: %v", name, err)
		}
		other.restore(file, backup.Options{OtherPlatform: true})
		other.has(bus.Keys, map[string]string{"issuer.platform": platformJSON, "issuer.orders": clientJSON()})
	}
	none := empty(t)
	none.Write(bus.Keys, "issuer.orders", clientJSON())
	if _, err := open(t, none.save()).Plan(t.Context(), w.conn, backup.Options{}, nil); !errors.Is(err, backup.ErrOtherPlatform) {
		t.Errorf("a backup without a platform: %v", err)
	}
	w.restore(none.save(), backup.Options{OtherPlatform: true})
	w.has(bus.Keys, map[string]string{"issuer.platform": platformJSON, "issuer.orders": clientJSON()})
}

// A revocation or used assertion is not written again when it is over, by the clock of the restore.
func TestWhatIsOverIsNotRestored(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Write(bus.Revocations, token(1).String(), revocation(10*time.Minute))
	w.Write(bus.Revocations, token(2).String(), revocation(48*time.Hour)) // no token lives as long
	w.Write(bus.Revocations, token(3).String(), "malformed")
	w.Publish(bus.Revocations, token(4).String(), "", nats.Header{"KV-Operation": {"DEL"}})
	w.Write(bus.Assertions, assertion(1), "")
	file := w.save()
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{
		{0, 5}, {12 * time.Minute, 4}, {69 * time.Minute, 4}, {71 * time.Minute, 3}, {24*time.Hour + time.Minute, 3}, {24*time.Hour + 3*time.Minute, 0},
	} {
		now := time.Now().Add(tt.after)
		plan, err := open(t, file).Plan(t.Context(), empty(t).conn, backup.Options{Now: func() time.Time { return now }}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if have := plan.Writes() - 1; have != tt.want { // the platform is the one
			t.Errorf("after %s %d are written, not %d", tt.after, have, tt.want)
		}
	}
}

// setBack is a server whose clock is behind ours.
type setBack struct {
	*bus.Conn
	by time.Duration
}

func (s setBack) Extent(ctx context.Context, b bus.Bucket) (bus.Extent, error) {
	x, err := s.Conn.Extent(ctx, b)
	x.Time = x.Time.Add(-s.by)
	return x, err
}

// Whoever restores may have a clock that is wrong: what it calls over may be what keeps a stolen token out.
func TestWhatIsOverIsSaidByTheServersClock(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Write(bus.Revocations, token(1).String(), revocation(-time.Hour)) // by the clock of the server that is behind, it has ten more
	w.Write(bus.Revocations, token(2).String(), revocation(-12*time.Hour))
	for behind, want := range map[time.Duration]int{0: 0, 11 * time.Hour: 1, 24 * time.Hour: 2} {
		plan, err := open(t, w.save()).Plan(t.Context(), setBack{empty(t).conn, behind}, backup.Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if have := plan.Writes() - 1; have != want { // the platform is the one
			t.Errorf("restored to a server that is %s behind, %d are written, not %d", behind, have, want)
		}
	}
}
