package events

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A story writes to a bucket and says what then is true of the set, both of one that has followed from the start and
// of one that begins with what the bucket has retained.
type story struct {
	name  string
	write func(b *bucket)
	check func(t *testing.T, s *Set)
}

func run(t *testing.T, stories []story) {
	t.Helper()
	for _, c := range stories {
		t.Run(c.name, func(t *testing.T) {
			b := newBucket()
			c.write(b)
			live, fresh := fold(b.all), fold(b.retained())
			t.Run("live", func(t *testing.T) { c.check(t, live) })
			t.Run("fresh", func(t *testing.T) { c.check(t, fresh) })
			if d := viewOf(t, live, b.now).difference(viewOf(t, fresh, b.now)); d != "" {
				t.Errorf("live and fresh differ:\n%s", d)
			}
		})
	}
}

// state fails unless the key has the state when the tests begin.
func state(t *testing.T, s *Set, issuer Name, kid KeyID, want KeyState) {
	t.Helper()
	got := KeyUnknown
	if e := s.Key(issuer, kid); e != nil {
		got = e.State(start)
	}
	if got != want {
		t.Errorf("key %s of %s is %s, want %s", kid, issuer, got, want)
	}
}

// rejectedNames are the names that the set reports, in order.
func rejectedNames(s *Set) []string {
	var names []string
	for _, r := range s.Rejected() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return names
}

func rejects(t *testing.T, s *Set, want ...string) {
	t.Helper()
	if got := rejectedNames(s); !slices.Equal(got, want) {
		t.Errorf("rejected: %q, want %q", got, want)
	}
}

func putTimes(b *bucket, n int, name, value string) {
	for range n {
		b.put(name, value)
	}
}

func TestTheLastValidRevisionCounts(t *testing.T) {
	run(t, []story{
		{"a key that was put is active", func(b *bucket) { b.put("key.orders.k1", keyJSON(1)) },
			func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive); rejects(t, s) }},
		{"a key put again has the later record", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.put("key.orders.k1", keyJSON(2, `"exp":1795000000`))
		}, func(t *testing.T, s *Set) {
			state(t, s, "orders", "k1", KeyRetiring)
			if e := s.Key("orders", "k1"); e.Revision != 2 || !publicKey(2).Equal(e.Record.Public) {
				t.Errorf("%+v", e)
			}
		}},
		{"a malformed value does not replace a good one, and is reported", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.put("key.orders.k1", "not json")
		}, func(t *testing.T, s *Set) {
			state(t, s, "orders", "k1", KeyActive)
			rejects(t, s, "key.orders.k1")
			if r := s.Rejected()[0]; r.Revision != 2 || r.Caller != UnknownCaller || !strings.Contains(r.Reason, "json") || !r.Time.Equal(start.Add(time.Second)) {
				t.Errorf("%+v", r)
			}
		}},
		{"an empty value is malformed and no marker", func(b *bucket) { b.put("key.orders.k1", keyJSON(1)); b.put("key.orders.k1", "") },
			func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive); rejects(t, s, "key.orders.k1") }},
		{"a valid value after a malformed one takes the report back", func(b *bucket) {
			b.put("key.orders.k1", "{")
			b.put("key.orders.k1", keyJSON(1))
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive); rejects(t, s) }},
		{"a valid issuer after a malformed one takes the report back", func(b *bucket) {
			b.put("issuer.orders", "{")
			b.put("issuer.stock", "{")
			b.put("issuer.orders", clientJSON)
			b.del("issuer.stock")
		}, func(t *testing.T, s *Set) { rejects(t, s) }},
		{"a key that was only ever malformed is not there", func(b *bucket) { putTimes(b, 20, "key.orders.k1", "{") },
			func(t *testing.T, s *Set) {
				if e := s.Key("orders", "k1"); e != nil {
					t.Errorf("%+v", e)
				}
				rejects(t, s, "key.orders.k1")
			}},
		{"15 malformed revisions leave the good one", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			putTimes(b, 15, "key.orders.k1", "{")
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive) }},
		{"16 malformed revisions push the good one out", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			putTimes(b, 16, "key.orders.k1", "{")
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyUnknown); rejects(t, s, "key.orders.k1") }},
		{"malformed revisions of other names do not count", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			putTimes(b, 15, "key.orders.k1", "{")
			putTimes(b, 16, "key.orders.k2", "{")
			putTimes(b, 16, "key.stock.k1", "{")
			putTimes(b, 16, "issuer.orders", "{")
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive) }},
		{"a good one in between starts the count again", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			putTimes(b, 15, "key.orders.k1", "{")
			b.put("key.orders.k1", keyJSON(2))
			putTimes(b, 15, "key.orders.k1", "{")
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive) }},
		{"a good one after 16 malformed ones counts", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			putTimes(b, 40, "key.orders.k1", "{")
			b.put("key.orders.k1", keyJSON(2))
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive); rejects(t, s) }},
		{"16 malformed revisions push an issuer out, 15 do not", func(b *bucket) {
			b.put("issuer.orders", clientJSON)
			b.put("issuer.stock", clientJSON)
			b.put("issuer.platform", platformJSON)
			putTimes(b, 16, "issuer.orders", "{")
			putTimes(b, 15, "issuer.stock", "{")
			putTimes(b, 16, "issuer.platform", "{")
		}, func(t *testing.T, s *Set) {
			if s.Issuer("orders") != nil || s.Issuer("stock") == nil || s.Platform() != nil {
				t.Errorf("orders %v, stock %v, platform %v", s.Issuer("orders"), s.Issuer("stock"), s.Platform())
			}
		}},
	})
}

func TestMarkersRemove(t *testing.T) {
	run(t, []story{
		{"a deleted key is gone", func(b *bucket) { b.put("key.orders.k1", keyJSON(1)); b.del("key.orders.k1") },
			func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyUnknown); rejects(t, s) }},
		{"a deleted key may come back", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.del("key.orders.k1")
			b.put("key.orders.k1", keyJSON(1))
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyActive) }},
		{"a marker is valid: what was before it does not come back", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.del("key.orders.k1")
			b.put("key.orders.k1", "{")
		}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyUnknown); rejects(t, s, "key.orders.k1") }},
		{"a marker takes the report of a malformed value back", func(b *bucket) { b.put("key.orders.k1", "{"); b.del("key.orders.k1") },
			func(t *testing.T, s *Set) { rejects(t, s) }},
		{"a marker for nothing is nothing", func(b *bucket) { b.del("key.orders.k1"); b.del("issuer.orders") },
			func(t *testing.T, s *Set) {
				if i, k := s.Len(); i != 0 || k != 0 {
					t.Errorf("%d issuers, %d keys", i, k)
				}
			}},
		{"a deleted issuer is gone, its keys are known", func(b *bucket) {
			b.put("issuer.orders", clientJSON)
			b.put("key.orders.k1", keyJSON(1))
			b.del("issuer.orders")
		}, func(t *testing.T, s *Set) {
			if s.Issuer("orders") != nil {
				t.Error("the issuer is there")
			}
			state(t, s, "orders", "k1", KeyActive)
		}},
		{"when issuer and keys are gone nothing is left", func(b *bucket) {
			b.put("issuer.orders", clientJSON)
			b.put("key.orders.k1", keyJSON(1))
			b.put("key.orders.k2", keyJSON(2))
			b.del("issuer.orders")
			b.del("key.orders.k2")
			b.del("key.orders.k1")
		}, func(t *testing.T, s *Set) {
			if i, k := s.Len(); i != 0 || k != 0 || s.issuers.len() != 0 || s.Keys("orders") != nil {
				t.Errorf("%d issuers, %d keys, %d slots", i, k, s.issuers.len())
			}
		}},
	})
}

func TestV24_RevokedNamesAccumulateOnly(t *testing.T) {
	for what, write := range map[string]func(b *bucket){
		"a reason":          func(b *bucket) { b.put("revoked.orders.k1", `{"reason":"leaked"}`) },
		"an empty object":   func(b *bucket) { b.put("revoked.orders.k1", `{}`) },
		"nothing":           func(b *bucket) { b.put("revoked.orders.k1", ``) },
		"what is malformed": func(b *bucket) { b.put("revoked.orders.k1", `not json`) },
		"a huge value":      func(b *bucket) { b.put("revoked.orders.k1", strings.Repeat("x", 1<<20)) },
		"a marker":          func(b *bucket) { b.del("revoked.orders.k1") },
		"a put and its deletion": func(b *bucket) {
			b.put("revoked.orders.k1", `{}`)
			b.del("revoked.orders.k1")
		},
		"40 messages": func(b *bucket) { putTimes(b, 39, "revoked.orders.k1", `{"reason":"x"}`); b.del("revoked.orders.k1") },
	} {
		run(t, []story{
			{"a key is dead after " + what, func(b *bucket) { b.put("key.orders.k1", keyJSON(1)); write(b) },
				func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyRevoked); rejects(t, s) }},
			{"a key that comes later is dead from the start after " + what, func(b *bucket) { write(b); b.put("key.orders.k1", keyJSON(1)) },
				func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyRevoked) }},
			{"no other key is dead after " + what, func(b *bucket) {
				b.put("key.orders.k2", keyJSON(2))
				b.put("key.stock.k1", keyJSON(3))
				b.put("key.Orders.k1", keyJSON(3))
				write(b)
			}, func(t *testing.T, s *Set) {
				state(t, s, "orders", "k2", KeyActive)
				state(t, s, "stock", "k1", KeyActive)
				state(t, s, "Orders", "k1", KeyActive)
			}},
			{"a revoked key without a record is known after " + what, write,
				func(t *testing.T, s *Set) {
					state(t, s, "orders", "k1", KeyRevoked)
					if e := s.Key("orders", "k1"); e.Record != nil || e.Revision != 0 || e.Reason == nil {
						t.Errorf("%+v", e)
					}
				}},
			{"deleting the key and putting it again brings nothing back after " + what, func(b *bucket) {
				b.put("key.orders.k1", keyJSON(1))
				write(b)
				b.del("key.orders.k1")
				b.put("key.orders.k1", keyJSON(1))
				putTimes(b, 16, "key.orders.k1", "{")
				b.put("key.orders.k1", keyJSON(9))
			}, func(t *testing.T, s *Set) { state(t, s, "orders", "k1", KeyRevoked) }},
		})
	}
}

func TestRevocationsThatCanBeReadAreShown(t *testing.T) {
	run(t, []story{
		{"with reason and time", func(b *bucket) { b.put("revoked.orders.k1", `{"reason":"leaked","revoked_at":5,"by":"ops"}`) },
			func(t *testing.T, s *Set) {
				if e := s.Key("orders", "k1"); e.RevokedBy != 1 || e.Reason.Reason != "leaked" || e.Reason.RevokedAt != 5 || string(e.Reason.Extra["by"]) != `"ops"` {
					t.Errorf("%+v %+v", e, e.Reason)
				}
			}},
		{"without a time they have that of the message", func(b *bucket) { b.put("revoked.orders.k1", `{"reason":"leaked"}`) },
			func(t *testing.T, s *Set) {
				if r := s.Key("orders", "k1").Reason; r.Reason != "leaked" || r.RevokedAt != start.Unix() {
					t.Errorf("%+v", r)
				}
			}},
		{"malformed they have only that", func(b *bucket) { b.put("revoked.orders.k1", `{"reason":5}`) },
			func(t *testing.T, s *Set) {
				if r := s.Key("orders", "k1").Reason; r.Reason != "" || r.RevokedAt != start.Unix() {
					t.Errorf("%+v", r)
				}
			}},
		{"the last one of many is shown, because the bucket drops the first", func(b *bucket) {
			for i := range 30 {
				b.put("revoked.orders.k1", fmt.Sprintf(`{"reason":"reason %d"}`, i))
			}
		}, func(t *testing.T, s *Set) {
			if e := s.Key("orders", "k1"); e.RevokedBy != 30 || e.Reason.Reason != "reason 29" {
				t.Errorf("%+v %+v", e, e.Reason)
			}
		}},
		{"a name that is none revokes nothing, and says so", func(b *bucket) {
			b.put("key.orders.k1", keyJSON(1))
			b.put("revoked.orders.b64.azE", `{}`) // k1
		}, func(t *testing.T, s *Set) {
			state(t, s, "orders", "k1", KeyActive)
			if r := s.Rejected(); len(r) != 1 || !strings.Contains(r[0].Reason, `no key was revoked: kid after b64 has a plain name: use "k1"`) {
				t.Errorf("%+v", r)
			}
		}},
	})
}

func TestNamesThatMeanNothingAreReported(t *testing.T) {
	run(t, []story{
		{"a put on an unknown name", func(b *bucket) { b.put("foo.bar", "x"); b.put("key.orders", keyJSON(1)) },
			func(t *testing.T, s *Set) { rejects(t, s, "foo.bar", "key.orders") }},
		{"until it is deleted", func(b *bucket) { b.put("foo.bar", "x"); b.del("foo.bar") },
			func(t *testing.T, s *Set) { rejects(t, s) }},
		{"a private key on an unknown name changes nothing", func(b *bucket) { b.put("k1", with(ed, "d", `"AAAA"`)) },
			func(t *testing.T, s *Set) { rejects(t, s, "k1") }},
		{"the type platform under another name", func(b *bucket) { b.put("issuer.orders", platformJSON) },
			func(t *testing.T, s *Set) { rejects(t, s, "issuer.orders") }},
		{"another type under the name platform", func(b *bucket) { b.put("issuer.platform", clientJSON) },
			func(t *testing.T, s *Set) { rejects(t, s, "issuer.platform") }},
		{"the name Platform is a client's like any other", func(b *bucket) { b.put("issuer.Platform", clientJSON) },
			func(t *testing.T, s *Set) { rejects(t, s) }},
	})
}

func TestMessagesThatAreNotNewerAreIgnored(t *testing.T) {
	b := newBucket()
	b.put("issuer.orders", clientJSON)
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.orders.k1", "{")
	b.del("key.orders.k1")
	b.put("key.orders.k2", keyJSON(2))
	b.put("revoked.orders.k2", "{}")
	putTimes(b, 10, "key.orders.k3", "{")
	b.put("key.orders.k3", keyJSON(3))
	putTimes(b, 9, "key.orders.k3", "{")
	want := viewOf(t, fold(b.all), b.now)

	var told recorder
	twice := NewSet(told.emit)
	for i, e := range b.all {
		twice.Apply(e)
		told.take()
		for _, old := range b.all[max(0, i-5) : i+1] {
			twice.Apply(old)
		}
		if again := told.take(); again != nil {
			t.Errorf("what is not newer than revision %d is told: %q", e.Revision, again)
		}
	}
	if d := want.difference(viewOf(t, twice, b.now)); d != "" {
		t.Errorf("messages that come twice, and out of order, change something:\n%s", d)
	}
	if twice.Revision() != uint64(len(b.all)) {
		t.Errorf("revision %d", twice.Revision())
	}
}
