package registry_test

import (
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// until is a key with an exp, in so long from the start of the test.
func (p *provider) until(kid events.KeyID, d time.Duration) registry.ProviderKey {
	key := p.key(kid, 1)
	key.Expires = p.clock.start.Add(d).Unix()
	return key
}

// wantEnd checks the exp of a record, in so long from the start of the test; zero is none.
func (p *provider) wantEnd(kid events.KeyID, d time.Duration) {
	p.t.Helper()
	want := int64(0)
	if d != 0 {
		want = p.clock.start.Add(d).Unix()
	}
	if have := p.set().Key("idp", kid).Record.Expires; have != want {
		p.t.Errorf("key %s ends at %d, want %d", kid, have, want)
	}
}

func TestSyncKeysEndsAKeyWhenItsIssuerSays(t *testing.T) {
	p := newProvider(t)
	a := p.key("a", 1)
	active, ends := states{"a": events.KeyActive, "b": events.KeyActive}, states{"a": events.KeyActive, "b": events.KeyRetiring}
	p.want(p.syncKeys(a, p.until("b", time.Hour)), registry.KeySync{Added: kids{"a", "b"}}, ends)
	p.wantEnd("b", time.Hour)
	p.want(p.syncKeys(a, p.until("b", time.Hour)), registry.KeySync{}, ends)
	issued := p.set().Key("idp", "b").Record.IssuedAt
	p.clock.advance(time.Minute)
	for _, d := range []time.Duration{3 * time.Hour, 2 * time.Hour} { // later, and earlier
		if n := registry.NewKeys(p.set(), "idp", []registry.ProviderKey{a, p.until("b", d)}); n != 1 {
			t.Errorf("another exp counts %d", n)
		}
		p.want(p.syncKeys(a, p.until("b", d)), registry.KeySync{Changed: kids{"b"}}, ends)
		p.wantEnd("b", d)
	}
	p.want(p.sync("a", "b"), registry.KeySync{Changed: kids{"b"}}, active)
	if m := members(t, p.stored(bus.Keys, "key.idp.b")); m["jwks_exp"] != nil || m["exp"] != nil || m["iat"] != float64(issued) {
		t.Errorf("record is %v", m)
	}
	// Withdrawn and published again it is trusted again, as any other.
	p.syncKeys(a, p.until("b", 2*time.Hour))
	p.want(p.sync("a"), registry.KeySync{Removed: kids{"b"}}, states{"a": events.KeyActive})
	p.want(p.syncKeys(a, p.until("b", 2*time.Hour)), registry.KeySync{Added: kids{"b"}}, ends)
	// It ends by itself, and the same set again, as after a 304, does not change that. Its issuer may think again.
	ends["b"] = events.KeyExpired
	p.clock.advance(2 * time.Hour)
	p.want(p.syncKeys(a, p.until("b", 2*time.Hour)), registry.KeySync{}, ends)
	p.want(p.syncKeys(p.until("b", 2*time.Hour), p.until("a", 2*time.Hour)), registry.KeySync{Removed: kids{"a"}}, states{"b": events.KeyExpired})
	p.want(p.syncKeys(a, p.until("b", 4*time.Hour)), registry.KeySync{Added: kids{"a"}, Changed: kids{"b"}},
		states{"a": events.KeyActive, "b": events.KeyRetiring})
}

func TestSyncKeysKeepsAnOperatorsEnd(t *testing.T) {
	const hand = 2 * time.Hour
	for _, r := range []struct {
		name          string
		before, after time.Duration // what the issuer says
		at            time.Duration // what the operator chooses; zero: the end that there is
		want          time.Duration
	}{
		{"of a key without one", 0, 3 * time.Hour, hand, hand},
		{"earlier", 3 * time.Hour, 4 * time.Hour, hand, hand},
		{"earlier, and then the issuer has none", 3 * time.Hour, 0, hand, hand},
		{"that is the issuer's for now", time.Hour, 5 * time.Hour, 0, time.Hour},
		{"that the issuer happens to choose, too", 0, hand, hand, hand},
	} {
		t.Run(r.name, func(t *testing.T) {
			p := newProvider(t)
			says := func(d time.Duration) registry.ProviderKey {
				if d == 0 {
					return p.key("b", 1)
				}
				return p.until("b", d)
			}
			p.syncKeys(says(r.before))
			end := registry.Retirement{}
			if r.at != 0 {
				end.At = p.clock.start.Add(r.at)
			}
			must(p.RetireKey(t.Context(), alice, "idp", "b", end))(t)
			p.wantEnd("b", r.want)
			for _, d := range []time.Duration{r.before, r.after, 6 * time.Hour} {
				p.want(p.syncKeys(says(d)), registry.KeySync{}, states{"b": events.KeyRetiring})
				p.wantEnd("b", r.want)
			}
			p.want(p.sync("a"), registry.KeySync{Added: kids{"a"}, Removed: kids{"b"}}, states{"a": events.KeyActive, "b": events.KeyExpired})
		})
	}
}

// An operator's end may be later than the issuer's: then the issuer's counts as long as it is heard of.
func TestSyncKeysLetsNoOperatorExtendWhatItsIssuerEnds(t *testing.T) {
	p := newProvider(t)
	a, b := p.key("a", 1), p.until("b", time.Hour)
	p.syncKeys(a, b)
	must(p.RetireKey(t.Context(), alice, "idp", "b", registry.Retirement{At: p.clock.start.Add(9 * time.Hour)}))(t)
	p.want(p.syncKeys(a, b), registry.KeySync{}, states{"a": events.KeyActive, "b": events.KeyRetiring})
	p.clock.advance(time.Hour)
	p.want(p.syncKeys(a, b), registry.KeySync{Removed: kids{"b"}}, states{"a": events.KeyActive, "b": events.KeyExpired})
}
