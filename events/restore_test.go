package events

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestSeenRevocationsSurviveABucketThatLostThem(t *testing.T) {
	b := newBucket()
	for i := range 3 {
		b.put(fmt.Sprintf("key.orders.k%d", i), keyJSON(i))
	}
	b.put("key.idp.b64.YS9i", keyJSON(7))
	backup := slices.Clone(b.all)
	b.put("revoked.orders.k2", `{"reason":"leaked"}`)
	b.put("revoked.orders.k1", `{}`)
	b.put("revoked.idp.b64.YS9i", `{}`)
	b.put("revoked.ghost.k1", `{}`)
	old := fold(b.all)

	restored := &bucket{now: b.now, all: backup, expires: b.expires}
	restored.put("revoked.orders.k1", `{"reason":"again"}`) // the one that somebody has written again
	fresh := fold(restored.all)
	lost := fresh.KeepRevocations(old)
	if want := []string{"revoked.ghost.k1", "revoked.idp.b64.YS9i", "revoked.orders.k2"}; !slices.Equal(lost, want) {
		t.Errorf("lost: %q, want %q", lost, want)
	}
	rejects(t, fresh, lost...)
	for _, r := range fresh.Rejected() {
		if r.Reason != lostRevocation || r.Caller == "" {
			t.Errorf("%+v", r)
		}
	}
	state(t, fresh, "orders", "k0", KeyActive)
	state(t, fresh, "orders", "k1", KeyRevoked)
	state(t, fresh, "orders", "k2", KeyRevoked)
	state(t, fresh, "idp", "a/b", KeyRevoked)
	state(t, fresh, "ghost", "k1", KeyRevoked)
	if e := fresh.Key("orders", "k2"); e.Reason.Reason != "leaked" || e.Record == nil {
		t.Errorf("%+v", e)
	}
	if e := fresh.Key("orders", "k1"); e.Reason.Reason != "again" {
		t.Errorf("what the bucket has is overwritten: %+v", e.Reason)
	}

	// The next loss, and the one after it, take nothing away either.
	for range 3 {
		next := fold(backup)
		next.KeepRevocations(fresh)
		state(t, next, "orders", "k2", KeyRevoked)
		state(t, next, "ghost", "k1", KeyRevoked)
		fresh = next
	}
	// Written again, it is not reported any more.
	fresh.Apply(restored.put("revoked.orders.k2", `{}`))
	if slices.Contains(rejectedNames(fresh), "revoked.orders.k2") {
		t.Error("a revocation that is there again is reported as lost")
	}
	state(t, fresh, "orders", "k2", KeyRevoked)
	// And a new key of the old name is dead.
	fresh.Apply(restored.del("key.orders.k2"))
	fresh.Apply(restored.put("key.orders.k2", keyJSON(9)))
	state(t, fresh, "orders", "k2", KeyRevoked)
}

func TestNothingIsKeptWhenNothingIsLost(t *testing.T) {
	b := newBucket()
	b.put("key.orders.k1", keyJSON(1))
	b.put("revoked.orders.k1", `{}`)
	old, fresh := fold(b.all), fold(b.retained())
	if lost := fresh.KeepRevocations(old); lost != nil {
		t.Errorf("lost: %q", lost)
	}
	if d := viewOf(t, old, b.now).difference(viewOf(t, fresh, b.now)); d != "" {
		t.Error(d)
	}
}

func TestOnlyRevokedIsNothingElse(t *testing.T) {
	b := newBucket()
	b.put("issuer.orders", clientJSON)
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.orders.k2", keyJSON(2))
	b.put("key.orders.k3", "{")
	b.put("revoked.orders.k1", `{"reason":"leaked"}`)
	b.put("revoked.stock.k1", `{}`)
	s := fold(b.all).OnlyRevoked(func(name Name) bool { return name == "orders" })
	if issuers, keys := s.Len(); issuers != 0 || keys != 1 || s.Revoked() != 1 || len(s.Rejected()) != 0 || s.Revision() != 0 {
		t.Errorf("%d issuers, %d keys, %d revoked, %+v, revision %d", issuers, keys, s.Revoked(), s.Rejected(), s.Revision())
	}
	if e := s.Key("orders", "k1"); e.State(start) != KeyRevoked || e.Record != nil || e.Reason.Reason != "leaked" {
		t.Errorf("%+v", e)
	}
}

// A key that is revoked by its own record is as the bucket says it is: the record was restored, or somebody changed it.
func TestARevokedMemberHoldsAsLongAsItsRecord(t *testing.T) {
	b := newBucket()
	b.put("key.orders.k1", keyJSON(1, `"revoked":{}`))
	s := fold(b.all)
	state(t, s, "orders", "k1", KeyRevoked)
	s.Apply(b.put("key.orders.k1", "{"))
	state(t, s, "orders", "k1", KeyRevoked)
	s.Apply(b.put("key.orders.k1", keyJSON(1)))
	state(t, s, "orders", "k1", KeyActive)
}

func TestDiffTellsWhatWasLostAndWhatWasRejected(t *testing.T) {
	b := newBucket()
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.orders.k2", "{")
	before := fold(b.all)
	b.put("revoked.orders.k1", `{"reason":"leaked"}`)
	b.put("key.orders.k3", "{")
	old := fold(b.all)
	after := fold(b.all[:2])
	after.KeepRevocations(old)

	var told recorder
	Diff(before, fold(b.all), told.emit)
	if got, want := told.take(), []string{"key revoked revoked.orders.k1", "record rejected key.orders.k3"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	Diff(old, after, told.emit)
	if got, want := told.take(), []string{"record rejected revoked.orders.k1"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	Diff(old, old, told.emit)
	if got := told.take(); got != nil {
		t.Errorf("nothing has changed, and %q is told", got)
	}
}

// TestDiffTellsOfOtherRecordsAtTheSameRevision: a bucket was set back and written to again, as often as before.
func TestDiffTellsOfOtherRecordsAtTheSameRevision(t *testing.T) {
	written := func(issuer, key string) *Set {
		b := newBucket()
		b.put("issuer.orders", issuer)
		b.put("key.orders.k1", key)
		return fold(b.all)
	}
	before := written(`{"type":"client","status":"active"}`, keyJSON(1))
	var told recorder
	Diff(before, written(`{"type":"client","status":"active"}`, keyJSON(1)), told.emit)
	if got := told.take(); got != nil {
		t.Errorf("the same was written, and %q is told", got)
	}
	Diff(before, written(`{"type":"client","status":"disabled"}`, keyJSON(2)), told.emit)
	if got, want := told.take(), []string{"issuer disabled issuer.orders", "key registered key.orders.k1"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestLeases(t *testing.T) {
	lease := func(b *bucket, kid string, n int, exp time.Time) {
		b.putUntil("key.platform."+kid, keyJSON(n, fmt.Sprintf(`"exp":%d`, exp.Unix())), exp.Add(LeaseKeep))
	}
	run(t, []story{
		{"a lease is there until its exp, and an hour longer as expired", func(b *bucket) {
			lease(b, "n1", 1, start.Add(time.Hour))
			b.now = start.Add(2*time.Hour - 3*time.Second)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) {
			state(t, s, "platform", "n1", KeyRetiring)
			if got := s.Key("platform", "n1").State(start.Add(time.Hour)); got != KeyExpired {
				t.Errorf("at its exp: %s", got)
			}
		}},
		{"an hour after its exp the next node's message makes it forgotten", func(b *bucket) {
			lease(b, "n1", 1, start.Add(time.Hour))
			b.now = start.Add(2 * time.Hour)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) {
			if s.Key("platform", "n1") != nil || s.Key("platform", "n2") == nil || len(s.Keys("platform")) != 1 {
				t.Errorf("n1 %v, n2 %v", s.Key("platform", "n1"), s.Key("platform", "n2"))
			}
		}},
		{"a lease that is renewed stays", func(b *bucket) {
			lease(b, "n1", 1, start.Add(time.Hour))
			b.now = start.Add(50 * time.Minute)
			lease(b, "n1", 1, start.Add(3*time.Hour))
			b.now = start.Add(2*time.Hour + time.Minute)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) { state(t, s, "platform", "n1", KeyRetiring) }},
		{"a key of the platform without an end is no lease", func(b *bucket) {
			b.put("key.platform.fixed", keyJSON(1))
			b.now = start.Add(1000 * time.Hour)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) { state(t, s, "platform", "fixed", KeyActive) }},
		{"keys of others are no leases", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1, fmt.Sprintf(`"exp":%d`, start.Unix()+1)))
			b.now = start.Add(1000 * time.Hour)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) {
			if s.Key("orders", "k1") == nil {
				t.Error("k1 of orders is forgotten")
			}
		}},
		{"a lease that is revoked is forgotten, but not that it is revoked", func(b *bucket) {
			lease(b, "n1", 1, start.Add(time.Hour))
			b.put("revoked.platform.n1", `{}`)
			b.now = start.Add(3 * time.Hour)
			lease(b, "n2", 2, b.now.Add(time.Hour))
		}, func(t *testing.T, s *Set) {
			state(t, s, "platform", "n1", KeyRevoked)
			if e := s.Key("platform", "n1"); e.Record != nil {
				t.Errorf("%+v", e.Record)
			}
		}},
		{"many leases come and go", func(b *bucket) {
			for i := range 200 {
				b.now = start.Add(time.Duration(i) * 30 * time.Minute)
				lease(b, fmt.Sprintf("n%d", i), i%5, b.now.Add(2*time.Hour))
			}
		}, func(t *testing.T, s *Set) {
			// exp + 1 h has passed for all but those of the last three hours
			if n := len(s.Keys("platform")); n != 6 || s.keys.len() != 6 {
				t.Errorf("%d keys", n)
			}
		}},
	})
}
