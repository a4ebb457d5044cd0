package events

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// effect is what somebody knows who has only read changes: by record, what may be done with it. What is not there may not.
type effect map[string]Event

// effectOf is the effect of a whole set.
func effectOf(s *Set) effect {
	f := effect{}
	for e := range s.Issuers() {
		if event, _ := s.issuerEvent(e, true); event == IssuerAdded {
			f[IssuerRecord(e.Name).String()] = IssuerAdded
		}
	}
	for e := range s.AllKeys() {
		if e.RevokedBy != 0 {
			f[RevokedRecord(e.Issuer, e.KeyID).String()] = KeyWasRevoked
			continue // whatever its record says
		}
		f[KeyRecord(e.Issuer, e.KeyID).String()] = KeyRegistered
		if e.Record.Revoked != nil {
			f[KeyRecord(e.Issuer, e.KeyID).String()] = KeyWasRevoked
		} else if event, _ := keyEvent(nil, e, unixOf(e)); event == KeyScheduled {
			f[KeyRecord(e.Issuer, e.KeyID).String()] = KeyScheduled
		}
	}
	return f
}

// after is the effect of changes that come next.
func (f effect) after(changes []Change) effect {
	f = maps.Clone(f)
	for _, c := range changes {
		switch c.Event {
		case IssuerAdded, IssuerChanged:
			f[c.Name] = IssuerAdded
		case KeyRegistered, KeyRetired:
			f[c.Name] = KeyRegistered
		case KeyScheduled, KeyWasRevoked:
			f[c.Name] = c.Event
		case IssuerDisabled, KeyRemoved:
			delete(f, c.Name)
		}
	}
	for name := range f { // a record of a key that is revoked for ever means nothing
		if r, err := ParseRecordName(name); err == nil && r.Kind == KindRevoked {
			delete(f, KeyRecord(r.Issuer, r.KeyID).String())
		}
	}
	return f
}

func (f effect) difference(want effect) (d string) {
	names := slices.Sorted(maps.Keys(f))
	for name := range want {
		names = append(names, name)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if f[name] != want[name] {
			d += fmt.Sprintf("%s: %q, want %q\n", name, f[name], want[name])
		}
	}
	return d
}

func TestChangesOfKeys(t *testing.T) {
	at := start.Unix()
	exp := func(sec int64) string { return keyJSON(1, fmt.Sprintf(`"exp":%d`, at+sec)) }
	for _, c := range []struct {
		name  string
		write func(b *bucket)
		want  []string
	}{
		{"a first record", func(b *bucket) { b.put("key.orders.k1", keyJSON(1)) }, []string{"key registered key.orders.k1"}},
		{"a first record with an end", func(b *bucket) { b.put("key.orders.k1", exp(100)) }, []string{"key registered key.orders.k1"}},
		{"a key for later", func(b *bucket) { b.put("key.orders.k1", keyJSON(1, fmt.Sprintf(`"nbf":%d`, at+10))) }, []string{"key scheduled key.orders.k1"}},
		{"an end, an earlier one, a later one, none", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.put("key.orders.k1", exp(200))
			b.put("key.orders.k1", exp(100))
			b.put("key.orders.k1", exp(300))
			b.put("key.orders.k1", keyJSON(1))
		}, []string{"key registered key.orders.k1", "key retired key.orders.k1", "key retired key.orders.k1", "key registered key.orders.k1", "key registered key.orders.k1"}},
		{"revoked by its record, and back", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1, `"revoked":{"reason":"x"}`))
			b.put("key.orders.k1", keyJSON(1))
		}, []string{"key revoked key.orders.k1", "key registered key.orders.k1"}},
		{"revoked by name, once", func(b *bucket) {
			b.put("revoked.orders.k1", `{"reason":"x"}`)
			b.put("revoked.orders.k1", `{"reason":"y"}`)
			b.del("revoked.orders.k1")
		}, []string{"key revoked revoked.orders.k1"}},
		{"a record for a dead key is not called registered", func(b *bucket) {
			b.put("revoked.orders.k1", `{}`)
			b.put("key.orders.k1", keyJSON(1))
		}, []string{"key revoked revoked.orders.k1", "key revoked key.orders.k1"}},
		{"deleted, once", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.del("key.orders.k1")
			b.del("key.orders.k1")
		}, []string{"key registered key.orders.k1", "key removed key.orders.k1"}},
		{"malformed", func(b *bucket) { b.put("key.orders.k1", "{"); b.put("foo", "{"); b.del("foo") },
			[]string{"record rejected key.orders.k1", "record rejected foo"}},
		{"a lease that has ended", func(b *bucket) {
			b.put("key.platform.n1", exp(100))
			b.now = start.Add(100*1e9 + LeaseKeep)
			b.put("key.platform.n2", keyJSON(2))
		}, []string{"key registered key.platform.n1", "key registered key.platform.n2", "key removed key.platform.n1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told recorder
			s, b := NewSet(told.emit), newBucket()
			c.write(b)
			for _, e := range b.all {
				s.Apply(e)
			}
			if got := told.take(); !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func TestChangesOfIssuers(t *testing.T) {
	disabled := with(clientJSON, "status", `"disabled"`)
	for _, c := range []struct {
		name  string
		write func(b *bucket)
		want  []string
	}{
		{"added, changed, disabled, enabled, deleted", func(b *bucket) {
			b.put("issuer.orders", clientJSON)
			b.put("issuer.orders", with(clientJSON, "scope", `"a"`))
			b.put("issuer.orders", disabled)
			b.put("issuer.orders", clientJSON)
			b.del("issuer.orders")
			b.del("issuer.orders")
		}, []string{"issuer added issuer.orders", "issuer changed issuer.orders", "issuer disabled issuer.orders", "issuer changed issuer.orders", "issuer disabled issuer.orders"}},
		{"a second external issuer with one iss disables both, and its end brings the first one back", func(b *bucket) {
			b.put("issuer.a", externalJSON)
			b.put("issuer.b", externalJSON)
			b.put("issuer.c", externalJSON)
			b.del("issuer.c")
			b.put("issuer.b", external("https://b"))
		}, []string{"issuer added issuer.a", "issuer disabled issuer.a", "issuer disabled issuer.b", "issuer disabled issuer.c", "issuer disabled issuer.c",
			"issuer changed issuer.a", "issuer changed issuer.b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told recorder
			s, b := NewSet(told.emit), newBucket()
			c.write(b)
			for _, e := range b.all {
				s.Apply(e)
			}
			if got := told.take(); !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

func TestAChangeSaysWhoWroteItAndWhy(t *testing.T) {
	var told recorder
	s, b := NewSet(told.emit), newBucket()
	e := b.put("key.orders.k1", keyJSON(1, `"revoked":{"reason":"leaked"}`))
	e.Caller = "ops@example.com"
	s.Apply(e)
	e = b.put("key.orders.k1", "{")
	s.Apply(e)
	want := []Change{
		{KeyWasRevoked, "key.orders.k1", 1, start, "ops@example.com", "leaked"},
		{RecordRejected, "key.orders.k1", 2, e.Time, UnknownCaller, s.Rejected()[0].Reason},
	}
	if !slices.Equal(told.changes, want) {
		t.Errorf("%+v, want %+v", told.changes, want)
	}
}
