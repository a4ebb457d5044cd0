package issuer

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

// withSigningKey gives a node a key.
func withSigningKey(key ed25519.PrivateKey) func(*Config) {
	return func(c *Config) { c.SigningKey = key }
}

// kidOf is the kid under which a given key is registered.
func kidOf(t *testing.T, key ed25519.PrivateKey) events.KeyID {
	t.Helper()
	thumbprint, err := events.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return events.KeyID(thumbprint)
}

// beside starts another node on the same bucket.
func (f *fixture) beside(modify ...func(*Config)) *fixture {
	f.t.Helper()
	other := newFixture(f.t, append(modify, func(c *Config) { c.Keys, c.Leases = f.bucket, f.bucket.publish })...)
	other.bucket, other.private, other.apiKey = f.bucket, f.private, f.apiKey
	other.putClient("orders", events.Secret{ID: "s1", SHA256: f.apiKey.Hash()})
	return other.start()
}

// leaseOf is the record of a key in the set.
func (f *fixture) leaseOf(kid events.KeyID) *events.Key {
	f.t.Helper()
	entry := f.bucket.Keys().Key(events.Platform, kid)
	if entry == nil || entry.Record == nil {
		f.t.Fatalf("there is no record of %s", kid)
	}
	return entry.Record
}

func (b *bucket) setFault(fault func(events.KeyID) (bool, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fault
}

func TestAGivenKeyIsRegisteredByItsThumbprintAndNeverReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newPrivateKey(t)
		start := time.Now()
		f := startReady(t, withSigningKey(key), func(c *Config) { c.KeyRotation = MinKeyRotation })
		kid := kidOf(t, key)
		if record := f.leaseOf(kid); record.Expires != start.Add(leaseLife).Unix() || record.IssuedAt != start.Unix() {
			t.Errorf("record %+v", record)
		}
		for range 30 {
			if token := f.granted(f.withKey()); token.Header.KeyID != string(kid) {
				t.Fatalf("a token has kid %s, not %s", token.Header.KeyID, kid)
			}
			time.Sleep(time.Hour)
		}
		for _, m := range f.bucket.leases() {
			if written, record := m.key(t); written != kid || record.IssuedAt != start.Unix() {
				t.Fatalf("wrote %s %+v", written, record)
			}
		}
	})
}

func TestNodesWithTheSameKeyKeepItsOneRecordTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newPrivateKey(t)
		kid := kidOf(t, key)
		f := newFixture(t, withSigningKey(key))
		f.bucket.hold() // none sees what another has written
		nodes := []*fixture{f.start(), f.beside(withSigningKey(key)), f.beside(withSigningKey(key))}
		time.Sleep(time.Second)
		if n := len(f.bucket.leases()); n != 1 {
			t.Fatalf("%d records were written at the start, want 1", n)
		}
		f.bucket.release()
		time.Sleep(2 * time.Second)
		for i, node := range nodes {
			if err := node.node.Ready(); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
		before := int64(0)
		for range 6 * 10 { // ten hours
			time.Sleep(10 * time.Minute)
			for i, node := range nodes {
				if token := node.granted(node.withKey()); token.Header.KeyID != string(kid) {
					t.Fatalf("node %d signs with %s", i, token.Header.KeyID)
				}
			}
			exp := f.leaseOf(kid).Expires
			if exp < before {
				t.Fatalf("exp went from %d back to %d", before, exp)
			}
			before = exp
		}
		if n := len(f.bucket.leases()); n > 65 {
			t.Errorf("three nodes wrote %d times in ten hours: no less than if each kept a record of its own", n)
		}
		for i, node := range nodes {
			if strings.Contains(node.log.String(), "lost") {
				t.Errorf("node %d: a conflict counts as a loss: %s", i, node.log.String())
			}
		}
	})
}

func TestANodeThatStopsLeavesTheLeaseOfASharedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newPrivateKey(t)
		f := startReady(t, withSigningKey(key))
		other := f.beside(withSigningKey(key))
		kid := kidOf(t, key)
		time.Sleep(33 * time.Minute)
		before := *f.leaseOf(kid)
		f.stop()
		if after := *f.leaseOf(kid); after.Expires != before.Expires {
			t.Errorf("the lease went from %d to %d", before.Expires, after.Expires)
		}
		if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
			t.Errorf("status %d after the stop, want 503", a.status)
		}
		time.Sleep(5 * time.Hour)
		other.granted(other.withKey())

		// Without any node the key ends by itself.
		other.stop()
		end := time.Unix(f.leaseOf(kid).Expires, 0)
		if left := time.Until(end); left > leaseLife || left < leaseLife-renewEvery-time.Second {
			t.Errorf("the lease ends %v after the last node", left)
		}
		time.Sleep(time.Until(end))
		for name, set := range map[string]*events.Set{"live": f.bucket.Keys(), "fresh": f.bucket.fresh()} {
			if state := set.Key(events.Platform, kid).State(time.Now()); state != events.KeyExpired {
				t.Errorf("in a %s set the key is %s", name, state)
			}
		}
	})
}

// TestASharedKeyComesBack is about what is no decision of anybody: the node goes on by itself, with the settle time of a new key.
func TestASharedKeyComesBack(t *testing.T) {
	record := func(kid events.KeyID) string { return events.KeyRecord(events.Platform, kid).String() }
	tests := []struct {
		name   string
		happen func(f *fixture, kid events.KeyID)
	}{
		{"after a malformed record", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), "malformed")
			time.Sleep(2 * time.Hour)
		}},
		{"after the bucket was restored to before its first record", func(f *fixture, kid events.KeyID) {
			f.bucket.swap(func(e events.Entry) bool { return e.Name != record(kid) })
		}},
		{"after the bucket was restored to an earlier one of its records", func(f *fixture, kid events.KeyID) {
			first := f.bucket.leases()[0].entry.Revision
			time.Sleep(time.Hour)
			f.bucket.swap(func(e events.Entry) bool { return e.Name != record(kid) || e.Revision == first })
		}},
		{"after NATS was away for longer than the bucket keeps the record", func(f *fixture, kid events.KeyID) {
			f.bucket.setFault(func(events.KeyID) (bool, error) { return false, errors.New("no responders") })
			time.Sleep(4 * time.Hour)
			if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
				f.t.Errorf("status %d without a lease", a.status)
			}
			f.bucket.setFault(nil)
		}},
		{"after a write whose answer got lost", func(f *fixture, kid events.KeyID) {
			f.bucket.setFault(func(events.KeyID) (bool, error) { return true, errors.New("timeout") })
			time.Sleep(time.Hour)
			f.bucket.setFault(nil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newPrivateKey(t)
				f := startReady(t, withSigningKey(key))
				kid := kidOf(t, key)
				test.happen(f, kid)
				time.Sleep(2*retryMost + 2*time.Second)
				if token := f.granted(f.withKey()); token.Header.KeyID != string(kid) {
					t.Errorf("kid %s", token.Header.KeyID)
				}
				if left := time.Until(time.Unix(f.leaseOf(kid).Expires, 0)); left < leaseLife-renewEvery-time.Second {
					t.Errorf("the lease ends in %v", left)
				}
			})
		})
	}
}

// TestWhatAnOperatorDoesToASharedKeyHolds: no node undoes it, nor does one that starts later where the record says so itself.
func TestWhatAnOperatorDoesToASharedKeyHolds(t *testing.T) {
	record := func(kid events.KeyID) string { return events.KeyRecord(events.Platform, kid).String() }
	tests := []struct {
		name    string
		happen  func(f *fixture, kid events.KeyID)
		reason  string
		forever bool // for nodes that start later, too
	}{
		{"revoked for ever", func(f *fixture, kid events.KeyID) {
			f.bucket.put(events.RevokedRecord(events.Platform, kid).String(), `{"reason":"leaked"}`)
		}, "revoked", true},
		{"revoked in its record", func(f *fixture, kid events.KeyID) {
			old := f.leaseOf(kid)
			f.bucket.put(record(kid), encodeKey(f.t, kid, events.Key{Public: old.Public, Expires: old.Expires, Revoked: &events.KeyRevocation{RevokedAt: 1}}))
		}, "revoked", true},
		{"deleted", func(f *fixture, kid events.KeyID) { f.bucket.del(record(kid)) }, "deleted", true},
		{"replaced by another key", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(f.t, kid, events.Key{Public: newPrivateKey(f.t).Public(), Expires: time.Now().Add(time.Hour).Unix()}))
		}, "another key", true},
		{"made unlimited", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(f.t, kid, events.Key{Public: f.leaseOf(kid).Public}))
		}, "no exp", true},
		{"ended early", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(f.t, kid, events.Key{Public: f.leaseOf(kid).Public, Expires: time.Now().Add(20 * time.Minute).Unix()}))
		}, "earlier end", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				key := newPrivateKey(t)
				f := startReady(t, withSigningKey(key))
				kid := kidOf(t, key)
				f.granted(f.withKey())
				test.happen(f, kid)
				if test.forever && f.node.ring.acquire(f.bucket.Keys(), time.Now(), time.Now().Unix()+900) != nil {
					t.Error("the key signs, though the node's set says that it is not good any more")
				}
				writes := f.bucket.last(record(kid))
				nodes := []*fixture{f}
				time.Sleep(time.Minute)
				if test.forever {
					nodes = append(nodes, f.beside(withSigningKey(key)))
				}
				time.Sleep(3 * time.Minute)
				for i, node := range nodes {
					if err := node.node.Ready(); err == nil || !strings.Contains(err.Error(), test.reason) {
						t.Errorf("node %d is ready: %v, want a reason with %q", i, err, test.reason)
					}
					if a := node.token(node.withKey()); a.status != http.StatusServiceUnavailable {
						t.Errorf("node %d: status %d, want 503", i, a.status)
					}
				}
				if f.bucket.last(record(kid)) != writes {
					t.Error("a node has written over it")
				}
			})
		})
	}
}

func TestADeletedRecordThatIsPutBackBringsTheSharedKeyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := newPrivateKey(t)
		f := startReady(t, withSigningKey(key))
		kid := kidOf(t, key)
		name, old := events.KeyRecord(events.Platform, kid).String(), f.leaseOf(kid)
		f.bucket.del(name)
		time.Sleep(10 * time.Minute)
		if f.node.Ready() == nil {
			t.Error("ready without a record")
		}
		f.bucket.put(name, encodeKey(t, kid, events.Key{Public: old.Public, Expires: old.Expires}))
		if f.node.Ready() == nil {
			t.Error("ready before the key was known for a second again")
		}
		time.Sleep(settleTime + 2*lookEvery)
		f.granted(f.withKey())
	})
}

func TestALeaseThatHasEndedIsAsGoodAsNewWhenItIsRenewed(t *testing.T) {
	for name, given := range map[string]bool{"own key": false, "given key": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t, func(c *Config) {
					if given {
						c.SigningKey = newPrivateKey(t)
					}
				})
				kid := f.kid()
				f.bucket.setFault(func(events.KeyID) (bool, error) { return false, errors.New("no responders") })
				time.Sleep(2*time.Hour + time.Minute)
				f.bucket.setFault(nil)
				for f.leaseOf(kid).State(time.Now()) == events.KeyExpired {
					time.Sleep(10 * time.Millisecond)
				}
				if f.node.Ready() == nil {
					t.Error("ready in the moment of the renewal: verifiers may still have the key as ended")
				}
				time.Sleep(settleTime - 50*time.Millisecond)
				if f.node.Ready() == nil {
					t.Error("ready before the renewal was known for a second")
				}
				time.Sleep(3 * lookEvery)
				if token := f.granted(f.withKey()); token.Header.KeyID != string(kid) {
					t.Error("the key was changed")
				}
			})
		})
	}
}
