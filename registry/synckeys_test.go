package registry_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

const idpKeys = "https://idp.example/jwks?v=1&x=2"

// provider is a world with an external issuer idp that publishes its keys.
type provider struct {
	*world
	keys map[events.KeyID]registry.ProviderKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	w := newWorld(t)
	if _, err := w.AddIssuer(t.Context(), alice, "idp", registry.IssuerSpec{
		Iss: "https://idp.example", Use: []string{events.UseAccessToken}, Audience: []string{"https://billing"}, JWKSURI: idpKeys,
	}); err != nil {
		t.Fatal(err)
	}
	return &provider{w, map[events.KeyID]registry.ProviderKey{}}
}

// key is always the same for a kid and a generation.
func (p *provider) key(kid events.KeyID, generation int) registry.ProviderKey {
	id := events.KeyID(fmt.Sprint(kid, generation))
	if p.keys[id].Public == nil {
		p.keys[id] = registry.ProviderKey{KeyID: kid, Algorithm: events.EdDSA, Public: newPublic(p.t)}
	}
	return p.keys[id]
}

// sync publishes the first generation of the given keys.
func (p *provider) sync(kids ...events.KeyID) registry.KeySync {
	p.t.Helper()
	var keys []registry.ProviderKey
	for _, kid := range kids {
		keys = append(keys, p.key(kid, 1))
	}
	return p.syncKeys(keys...)
}

func (p *provider) syncKeys(keys ...registry.ProviderKey) registry.KeySync {
	p.t.Helper()
	did, err := p.SyncKeys(p.t.Context(), alice, "idp", registry.Published{Source: idpKeys, Keys: keys})
	if err != nil {
		p.t.Fatal(err)
	}
	return did
}

// want checks what was done, by kid, and the states of the keys that are left.
func (p *provider) want(did, want registry.KeySync, states map[events.KeyID]events.KeyState) {
	p.t.Helper()
	if fmt.Sprint(did) != fmt.Sprint(want) {
		p.t.Errorf("did %v, want %v", did, want)
	}
	if have := p.states("idp"); fmt.Sprint(have) != fmt.Sprint(states) {
		p.t.Errorf("the keys are %v, want %v", have, states)
	}
}

type (
	kids   = []events.KeyID
	states = map[events.KeyID]events.KeyState
)

func TestSyncKeysFollowsWhatAnIssuerPublishes(t *testing.T) {
	p := newProvider(t)
	const foreign = events.KeyID("https://idp.example/#1")
	p.want(p.sync("a", foreign), registry.KeySync{Added: kids{"a", foreign}}, states{"a": events.KeyActive, foreign: events.KeyActive})
	e := p.stored(bus.Keys, "key.idp.a")
	if m := members(t, e); m["jwks_uri"] != idpKeys || e.Caller != alice.Name || m["iat"] != float64(p.clock.Now().Unix()) {
		t.Errorf("record is %s", e.Value)
	}
	lines := strings.Count(p.audit.String(), "\n")
	p.want(p.sync(foreign, "a"), registry.KeySync{}, states{"a": events.KeyActive, foreign: events.KeyActive})
	if strings.Count(p.audit.String(), "\n") != lines {
		t.Errorf("there is a line about nothing:\n%s", p.audit.String())
	}
	p.want(p.sync("b"), registry.KeySync{Added: kids{"b"}, Removed: kids{foreign, "a"}}, states{"b": events.KeyActive})
	if line := p.audit.last(t); line["op"] != "key sync" || line["outcome"] != "done" || line["source"] != idpKeys ||
		fmt.Sprint(line["added"], line["removed"], line["changed"]) != fmt.Sprintf("[b] [%s a] <nil>", foreign) {
		t.Errorf("line is %v", line)
	}
	p.want(p.sync("a", "b"), registry.KeySync{Added: kids{"a"}}, states{"a": events.KeyActive, "b": events.KeyActive})
}

func TestSyncKeysWritesAndTellsAnotherKeyUnderAKid(t *testing.T) {
	p := newProvider(t)
	p.sync("a", "b")
	p.want(p.syncKeys(p.key("a", 2), p.key("b", 1)), registry.KeySync{Changed: kids{"a"}}, states{"a": events.KeyActive, "b": events.KeyActive})
	if live := p.set().Key("idp", "a"); !p.key("a", 2).Public.(ed25519.PublicKey).Equal(live.Record.Public) {
		t.Error("the old key is still there")
	}
	if line := p.audit.last(t); fmt.Sprint(line["changed"]) != "[a]" {
		t.Errorf("line is %v", line)
	}
}

func TestSyncKeysLeavesAloneWhatOperatorsDecided(t *testing.T) {
	p := newProvider(t)
	p.sync("a", "ends", "dead", "gone")
	hand := newPublic(t)
	must(p.AddKey(t.Context(), alice, "idp", registry.KeySpec{KeyID: "hand", Public: hand}))(t)
	// The issuer publishes another key under a kid that an operator has registered: the operator's stays. And it does not
	// publish it at all: it stays, too.
	hands := p.key("hand", 1)
	did := p.syncKeys(p.key("a", 1), p.key("ends", 1), p.key("dead", 1), p.key("gone", 1), hands)
	all := states{"a": events.KeyActive, "ends": events.KeyActive, "dead": events.KeyActive, "gone": events.KeyActive, "hand": events.KeyActive}
	p.want(did, registry.KeySync{Kept: kids{"hand"}}, all)
	p.want(p.sync("a", "ends", "dead", "gone"), registry.KeySync{}, all)
	if live := p.set().Key("idp", "hand"); !hand.Equal(live.Record.Public) {
		t.Error("the operator's key was replaced")
	}

	must(p.RevokeKey(t.Context(), alice, "idp", "dead", "leaked"))(t)
	must(p.RetireKey(t.Context(), alice, "idp", "ends", registry.Retirement{At: p.clock.Now().Add(2 * time.Hour)}))(t)
	all["dead"], all["ends"] = events.KeyRevoked, events.KeyRetiring
	p.want(p.sync("a", "ends", "dead", "gone"), registry.KeySync{}, all)
	// Another key under a revoked kid is as dead; one under a kid with an end gets that end.
	did = p.syncKeys(p.key("a", 1), p.key("ends", 2), p.key("dead", 2), p.key("gone", 1))
	p.want(did, registry.KeySync{Changed: kids{"ends"}}, all)
	// Withdrawn at once, and not without its end when it comes back.
	all["ends"] = events.KeyExpired
	p.want(p.sync("a", "gone"), registry.KeySync{Removed: kids{"ends"}}, all)
	p.clock.advance(time.Second)
	p.want(p.syncKeys(p.key("a", 1), p.key("gone", 1), p.key("ends", 2), p.key("dead", 1)), registry.KeySync{}, all)
	// Revoked before it was ever published.
	must(p.RevokeKey(t.Context(), alice, "idp", "never", "known elsewhere"))(t)
	p.sync("a", "gone", "never")
	p.absent(bus.Keys, "key.idp.never")
}

func TestSyncKeysRevokedByTheRecordStaysSo(t *testing.T) {
	p := newProvider(t)
	p.sync("a", "b")
	record := *p.set().Key("idp", "b").Record
	record.Revoked = &events.KeyRevocation{Reason: "by hand"}
	p.server.Write(bus.Keys, "key.idp.b", string(must(record.Encode("b"))(t)))
	dead := states{"a": events.KeyActive, "b": events.KeyRevoked}
	p.want(p.sync("a", "b"), registry.KeySync{}, dead)
	p.want(p.sync("a"), registry.KeySync{}, dead)
	p.want(p.syncKeys(p.key("a", 1), p.key("b", 2)), registry.KeySync{Changed: kids{"b"}}, dead)
}

func TestSyncKeysMovesWithTheJWKSURI(t *testing.T) {
	p := newProvider(t)
	p.sync("a", "b")
	moved := "https://idp.example/keys"
	must(p.UpdateIssuer(t.Context(), alice, "idp", registry.IssuerUpdate{JWKSURI: &moved}))(t)
	_, err := p.SyncKeys(t.Context(), alice, "idp", registry.Published{Source: idpKeys, Keys: []registry.ProviderKey{p.key("c", 1)}})
	wantError(t, err, registry.ErrInvalid, "its jwks_uri is", moved)
	did := must(p.SyncKeys(t.Context(), alice, "idp", registry.Published{Source: moved, Keys: []registry.ProviderKey{p.key("b", 1), p.key("c", 1)}}))(t)
	p.want(did, registry.KeySync{Added: kids{"c"}, Removed: kids{"a"}}, states{"b": events.KeyActive, "c": events.KeyActive})
	if m := members(t, p.stored(bus.Keys, "key.idp.b")); m["jwks_uri"] != moved {
		t.Errorf("record is %v", m)
	}
	// A write is in the audit log, also when it changes nothing but the place.
	again := "https://idp.example/again"
	must(p.UpdateIssuer(t.Context(), alice, "idp", registry.IssuerUpdate{JWKSURI: &again}))(t)
	did = must(p.SyncKeys(t.Context(), alice, "idp", registry.Published{Source: again, Keys: []registry.ProviderKey{p.key("b", 1), p.key("c", 1)}}))(t)
	p.want(did, registry.KeySync{}, states{"b": events.KeyActive, "c": events.KeyActive})
	if line := p.audit.last(t); line["op"] != "key sync" || line["source"] != again || line["revision"] == nil {
		t.Errorf("line is %v", line)
	}
}

func TestSyncKeysRefuses(t *testing.T) {
	p := newProvider(t)
	p.sync("a")
	p.client("orders")
	must(p.AddIssuer(t.Context(), alice, "byhand", github))(t)
	off := registry.IssuerSpec{Iss: "https://off.example", Use: github.Use, JWKSURI: idpKeys}
	must(p.AddIssuer(t.Context(), alice, "off", off))(t)
	must(p.DisableIssuer(t.Context(), alice, "off"))(t)
	good := []registry.ProviderKey{p.key("b", 1)}
	for _, r := range []struct {
		name   string
		issuer events.Name
		source string
		keys   []registry.ProviderKey
		want   error
	}{
		{"an empty set", "idp", idpKeys, nil, registry.ErrInvalid},
		{"another source", "idp", "https://evil.example/jwks", good, registry.ErrInvalid},
		{"an issuer without jwks_uri", "byhand", "", good, registry.ErrInvalid},
		{"a client", "orders", "", good, registry.ErrNotFound},
		{"the platform", "platform", "", good, registry.ErrNotFound},
		{"nobody", "nobody", idpKeys, good, registry.ErrNotFound},
		{"a name that is none", "a.b", idpKeys, good, registry.ErrInvalid},
		{"a disabled issuer", "off", idpKeys, good, registry.ErrDisabled},
		{"one kid twice", "idp", idpKeys, []registry.ProviderKey{good[0], good[0]}, registry.ErrInvalid},
		{"a kid that is none", "idp", idpKeys, []registry.ProviderKey{{KeyID: "", Algorithm: events.EdDSA, Public: newPublic(t)}}, registry.ErrInvalid},
		{"a key that is none", "idp", idpKeys, []registry.ProviderKey{{KeyID: "b", Algorithm: events.RS256, Public: newPublic(t)}}, registry.ErrInvalid},
	} {
		t.Run(r.name, func(t *testing.T) {
			_, err := p.SyncKeys(t.Context(), alice, r.issuer, registry.Published{Source: r.source, Keys: r.keys})
			wantError(t, err, r.want)
			if line := p.audit.last(t); line["outcome"] != "refused" || line["op"] != "key sync" {
				t.Errorf("line is %v", line)
			}
		})
	}
	p.want(registry.KeySync{}, registry.KeySync{}, states{"a": events.KeyActive})
}

// Two that refresh at one time write each key once, and what a slow one decided long ago removes nothing new.
func TestSyncKeysAtTwoPlacesIsAsOne(t *testing.T) {
	p := newProvider(t)
	other := p.join(nil)
	keys := []registry.ProviderKey{p.key("a", 1), p.key("b", 1)}
	errs := make(chan error, 2)
	for _, w := range []*world{p.world, other} {
		go func() {
			_, err := w.SyncKeys(context.WithoutCancel(t.Context()), alice, "idp", registry.Published{Source: idpKeys, Keys: keys})
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	before := p.set().Revision()
	p.sync("a", "b")
	if after := p.set().Revision(); after != before || before > p.set().Issuer("idp").Revision+2 {
		t.Errorf("the revisions are %d and %d", before, after)
	}
}

func TestUpdateIssuerChangesWhatIsNamed(t *testing.T) {
	p := newProvider(t)
	scope := must(events.ParseScope("billing:read"))(t)
	both := []string{events.UseAccessToken, events.UseAssertion}
	entry := must(p.UpdateIssuer(t.Context(), alice, "idp", registry.IssuerUpdate{Scope: &scope, Use: &both}))(t)
	if r := p.set().Issuer("idp").Record; r.JWKSURI != idpKeys || r.Scope.String() != "billing:read" || !slices.Equal(r.Use, both) || entry.Revision == 0 {
		t.Errorf("record is %+v", r)
	}
	bad, none, life := "http://idp.example/jwks", []string{}, time.Second/2
	for _, u := range []registry.IssuerUpdate{{}, {JWKSURI: &bad}, {Audience: &none}, {Use: &none}, {MaxTokenTTL: &life}} {
		_, err := p.UpdateIssuer(t.Context(), alice, "idp", u)
		wantError(t, err, registry.ErrInvalid)
	}
	p.client("orders")
	_, err := p.UpdateIssuer(t.Context(), alice, "orders", registry.IssuerUpdate{Scope: &scope})
	wantError(t, err, registry.ErrNotFound)
}

func TestAnUnfinishedSyncTellsWhatItDid(t *testing.T) {
	for _, r := range []struct {
		name  string
		at    string // where it fails
		fault error
		added kids
		part  bool
	}{
		{"nothing was done", "key.idp.a", bus.ErrUnreachable, nil, false},
		{"perhaps something", "key.idp.a", bus.ErrUnknownOutcome, nil, true},
		{"a part", "key.idp.c", bus.ErrUnreachable, kids{"a", "b"}, true},
	} {
		t.Run(r.name, func(t *testing.T) {
			p := newProvider(t)
			failing := p.join(func(s registry.Store) registry.Store {
				return &faultyStore{Store: s, fault: func(_ bus.Bucket, name string) (bool, error) {
					if name == r.at {
						return false, r.fault
					}
					return true, nil
				}}
			})
			_, err := failing.SyncKeys(t.Context(), alice, "idp", registry.Published{Source: idpKeys, Keys: []registry.ProviderKey{p.key("a", 1), p.key("b", 1), p.key("c", 1)}})
			wantError(t, err, r.fault)
			var part *registry.UnfinishedSync
			if errors.As(err, &part) != r.part || part != nil && !slices.Equal(part.Did.Added, r.added) {
				t.Errorf("the part is %+v", part)
			}
		})
	}
}

func TestSyncKeysAsksBeforeEachWriteWhetherTheSetIsCurrent(t *testing.T) {
	outdated := errors.New("outdated")
	for asked, want := range []struct {
		part   *registry.KeySync
		states states
	}{
		{nil, states{"gone": events.KeyActive}},
		{&registry.KeySync{Added: kids{"a"}}, states{"gone": events.KeyActive, "a": events.KeyActive}},
		{&registry.KeySync{Added: kids{"a", "b"}}, states{"gone": events.KeyActive, "a": events.KeyActive, "b": events.KeyActive}},
	} {
		p := newProvider(t)
		p.sync("gone")
		left := asked
		set := registry.Published{Source: idpKeys, Keys: []registry.ProviderKey{p.key("a", 1), p.key("b", 1)}, Current: func(context.Context) error {
			if left--; left < 0 {
				return outdated
			}
			return nil
		}}
		_, err := p.SyncKeys(t.Context(), alice, "idp", set)
		wantError(t, err, outdated)
		var part *registry.UnfinishedSync
		if errors.As(err, &part) != (want.part != nil) || part != nil && fmt.Sprint(part.Did) != fmt.Sprint(*want.part) {
			t.Errorf("after %d writes the part is %+v", asked, part)
		}
		p.want(registry.KeySync{}, registry.KeySync{}, want.states)
		left = 3
		p.want(must(p.SyncKeys(t.Context(), alice, "idp", set))(t), registry.KeySync{Added: kids{"a", "b"}[asked:], Removed: kids{"gone"}},
			states{"a": events.KeyActive, "b": events.KeyActive})
		left = 0
		p.want(must(p.SyncKeys(t.Context(), alice, "idp", set))(t), registry.KeySync{}, states{"a": events.KeyActive, "b": events.KeyActive})
	}
}

func TestNewKeysAreThoseThatWouldBeWritten(t *testing.T) {
	p := newProvider(t)
	p.sync("same", "other", "gone", "dead")
	p.sync("same", "other", "dead")
	must(p.RevokeKey(t.Context(), alice, "idp", "dead", "leaked"))(t)
	must(p.AddKey(t.Context(), alice, "idp", registry.KeySpec{KeyID: "hand", Public: newPublic(t)}))(t)
	for kid, want := range map[events.KeyID]int{"same": 0, "other": 1, "gone": 1, "never": 1, "dead": 0, "hand": 0} {
		key := p.key(kid, 2)
		if kid == "same" {
			key = p.key(kid, 1)
		}
		if n := registry.NewKeys(p.set(), "idp", []registry.ProviderKey{key}); n != want {
			t.Errorf("%s counts %d, want %d", kid, n, want)
		}
	}
}

// What is not published any more is removed only if it still is a fetched key when that is written.
func TestSyncKeysDoesNotRemoveWhatAnOperatorPutThereMeanwhile(t *testing.T) {
	p := newProvider(t)
	p.sync("a", "b")
	hand := events.Key{Algorithm: events.EdDSA, Public: newPublic(t)}
	value := string(must(hand.Encode("b"))(t))
	slow := p.join(func(s registry.Store) registry.Store {
		return &faultyStore{Store: s, fault: func(_ bus.Bucket, name string) (bool, error) {
			if name == "key.idp.b" {
				p.server.Write(bus.Keys, name, value)
			}
			return true, nil
		}}
	})
	did := must(slow.SyncKeys(t.Context(), alice, "idp", registry.Published{Source: idpKeys, Keys: []registry.ProviderKey{p.key("a", 1)}}))(t)
	p.want(did, registry.KeySync{}, states{"a": events.KeyActive, "b": events.KeyActive})
	if live := p.set().Key("idp", "b"); !isKey(live, hand) {
		t.Error("the operator's key is not there")
	}
}

func isKey(have *events.KeyEntry, want events.Key) bool {
	return have != nil && have.Record != nil && want.Public.(ed25519.PublicKey).Equal(have.Record.Public)
}
