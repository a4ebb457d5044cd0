package bus_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestN_KeySetSurvivesAnyFaults is TestN_FeedSurvivesAnyFaults with real records and the real fold: what was seen revoked stays
// revoked, whatever happens to the buckets, and who listens to the changes knows what the set knows.
func TestN_KeySetSurvivesAnyFaults(t *testing.T) {
	simulate(t, *seedCount/5, func(t *testing.T, seed uint64) {
		k := newKeySimulation(t, seed)
		actions := append(k.keys.ofConnection(), k.keys.ofBucket(k.write)...)
		actions = append(actions, k.revs.ofConnection()...)
		actions = append(actions, k.revs.ofBucket(k.revoke)...)
		for range 8 {
			actions = append(actions, k.write, k.write, k.revoke)
		}
		for range 60 {
			actions[k.keys.random.IntN(len(actions))]()
			k.keys.pause()
			k.check()
		}
		k.quiet()
	})
}

// keySimulation is a live key set in two worlds.
type keySimulation struct {
	t          *testing.T
	keys, revs *world
	set        *bus.KeySet
	changes    *bus.Subscription
	heard      map[string]events.Event // the last change of each name
	deadKeys   map[string]bool         // names of keys that were seen revoked
	deadTokens map[events.TokenID]bool // until the end of the test; none of them expires before
	value      int
}

func newKeySimulation(t *testing.T, seed uint64) *keySimulation {
	k := &keySimulation{
		t: t, keys: newWorld(seed), revs: newWorld(seed | 1<<32),
		heard: map[string]events.Event{}, deadKeys: map[string]bool{}, deadTokens: map[events.TokenID]bool{},
	}
	k.set = bus.NewKeySetFromSources(k.keys.stream, k.revs.stream, bus.KeySetConfig{}, jitter(seed))
	t.Cleanup(k.set.Close)
	if err := k.set.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.changes = k.set.Subscribe(1 << 16)
	return k
}

func (k *keySimulation) write() {
	k.value++
	random := k.keys.random
	issuer, kid := fmt.Sprintf("c%d", random.IntN(3)), fmt.Sprintf("k%d", random.IntN(4))
	name, value := "key."+issuer+"."+kid, eventstest.KeyJSON(byte(random.IntN(3)), fmt.Sprintf(`"exp":%d`, 2_000_000_000+random.IntN(100)))
	switch random.IntN(12) {
	case 0, 1, 2:
		name, value = "issuer."+issuer, fmt.Sprintf(`{"type":"client","status":"active","scope":"s%d"}`, k.value)
	case 3:
		name, value = "issuer."+issuer, `{"type":"client","status":"disabled"}`
	case 4:
		name, value = "issuer."+issuer, "not json"
	case 5:
		k.keys.stream.Delete("issuer." + issuer)
		return
	case 6:
		k.keys.stream.Delete(name)
		return
	case 7:
		name, value = "revoked."+issuer+"."+kid, `{"reason":"leaked"}`
	}
	for range 1 + random.IntN(2)*random.IntN(events.History) {
		k.keys.stream.Write(name, value)
	}
}

// revoke revokes a token. Its record goes away long before the token expires, as if the bucket had lost it.
func (k *keySimulation) revoke() {
	id := events.TokenByID("https://auth.example.com", fmt.Sprint(k.revs.random.IntN(30)))
	value := fmt.Sprintf(`{"exp":%d}`, time.Now().Add(time.Hour).Unix())
	k.revs.stream.WriteTTL(id.String(), value, time.Duration(3+k.revs.random.IntN(10))*time.Second)
}

func (k *keySimulation) check() {
	k.t.Helper()
	set := k.set.Keys()
	for e := range set.AllKeys() {
		if e.RevokedBy != 0 {
			k.deadKeys[events.KeyRecord(e.Issuer, e.KeyID).String()] = true
		}
	}
	for name := range k.deadKeys {
		record, err := events.ParseRecordName(name)
		if err != nil {
			k.t.Fatal(err)
		}
		if e := set.Key(record.Issuer, record.KeyID); e == nil || e.State(time.Now()) != events.KeyRevoked {
			k.t.Fatalf("%s was revoked and is %+v", name, e)
		}
	}
	for _, e := range k.revs.stream.Retained() {
		id, err := events.ParseTokenID(e.Name)
		if err != nil {
			k.t.Fatal(err)
		}
		if confirmed := k.set.RevocationsFeed().Confirmed(); e.Time.Before(confirmed) && confirmed.After(k.revs.brokenAt) {
			k.deadTokens[id] = true
		}
	}
	for id := range k.deadTokens {
		if !k.set.Revocations().Revoked(id) {
			k.t.Fatalf("%s was revoked when everything was confirmed to be there, and is not", id)
		}
	}
	older := k.set.KeysFeed().Confirmed()
	if r := k.set.RevocationsFeed().Confirmed(); r.Before(older) {
		older = r
	}
	if !k.set.Confirmed().Equal(older) {
		k.t.Fatalf("confirmed is %s, want that of the older feed, %s", k.set.Confirmed(), older)
	}
}

func (k *keySimulation) quiet() {
	k.t.Helper()
	k.keys.settle()
	k.revs.settle()
	now := time.Now()
	eventstest.Eventually(k.t, "the set is confirmed again", func() bool { return k.set.Confirmed().After(now) })
	k.check()

	fresh := events.NewSet(nil)
	for _, e := range k.keys.stream.Retained() {
		fresh.Apply(e)
	}
	fresh.KeepRevocations(k.set.Keys())
	have, want := eventstest.Describe(k.t, k.set.Keys()), eventstest.Describe(k.t, fresh)
	if have != want {
		k.t.Fatalf("the live set has\n%s\na fresh one would have\n%s", have, want)
	}
	k.set.Close()
	k.hear()
}

// hear compares what a listener made of the changes with the set.
func (k *keySimulation) hear() {
	k.t.Helper()
	for c := range k.changes.C() {
		kind, rest, _ := strings.Cut(c.Name, ".")
		if c.Event == events.RecordRejected || c.Event == events.TokenRevoked {
			continue
		}
		if kind == "revoked" {
			c.Name = "key." + rest
		}
		k.heard[c.Name] = c.Event
	}
	if k.changes.Slow() {
		k.t.Fatal("the listener was too slow")
	}
	have, want := map[string]string{}, map[string]string{}
	for name, event := range k.heard {
		switch event {
		case events.IssuerAdded, events.IssuerChanged, events.KeyRegistered, events.KeyScheduled, events.KeyRetired:
			have[name] = "good"
		case events.KeyWasRevoked:
			have[name] = "revoked"
		}
	}
	set := k.set.Keys()
	for e := range set.Issuers() {
		if e.Record.Status != events.Disabled {
			want[events.IssuerRecord(e.Name).String()] = "good"
		}
	}
	for e := range set.AllKeys() {
		name := events.KeyRecord(e.Issuer, e.KeyID).String()
		want[name] = "good"
		if e.RevokedBy != 0 {
			want[name] = "revoked"
			if k.heard[name] == events.KeyRemoved { // its record was
				have[name] = "revoked"
			}
		}
	}
	if !maps.Equal(have, want) {
		k.t.Fatalf("a listener thinks %v, and the set has %v", have, want)
	}
}
