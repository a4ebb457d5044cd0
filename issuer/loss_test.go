package issuer

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

// lossCase is a way in which a node loses its key.
type lossCase struct {
	name   string
	happen func(f *fixture, kid events.KeyID)
}

func lossCases(t *testing.T) []lossCase {
	record := func(kid events.KeyID) string { return events.KeyRecord(events.Platform, kid).String() }
	return []lossCase{
		{"revoked for ever", func(f *fixture, kid events.KeyID) {
			f.bucket.put(events.RevokedRecord(events.Platform, kid).String(), `{"reason":"leaked"}`)
		}},
		{"revoked in its record", func(f *fixture, kid events.KeyID) {
			entry := f.bucket.Keys().Key(events.Platform, kid)
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: entry.Record.Public, Expires: entry.Record.Expires,
				Revoked: &events.KeyRevocation{RevokedAt: 1}}))
		}},
		{"removed", func(f *fixture, kid events.KeyID) { f.bucket.del(record(kid)) }},
		{"replaced by another key", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: newPrivateKey(t).Public(), Expires: time.Now().Add(2 * time.Hour).Unix()}))
		}},
		{"replaced by another key with the same exp", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: newPrivateKey(t).Public(),
				Expires: f.bucket.Keys().Key(events.Platform, kid).Record.Expires}))
		}},
		{"made unlimited by somebody else", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: f.bucket.Keys().Key(events.Platform, kid).Record.Public}))
		}},
		{"ended early by somebody else", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: f.bucket.Keys().Key(events.Platform, kid).Record.Public,
				Expires: time.Now().Add(15 * time.Minute).Unix()}))
		}},
		{"lost with the bucket's latest messages", func(f *fixture, kid events.KeyID) {
			f.bucket.swap(func(e events.Entry) bool { return e.Name != record(kid) })
		}},
	}
}

func TestANodeThatLostItsKeyStopsUsingItAndMakesAnother(t *testing.T) {
	for _, test := range lossCases(t) {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				kid := f.kid()
				f.granted(f.withKey())
				test.happen(f, kid)
				if key := f.node.ring.acquire(f.bucket.Keys(), time.Now(), time.Now().Add(15*time.Minute).Unix()); key != nil {
					t.Error("the key signs, though the node's set says that it is not good any more")
				}
				if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
					t.Errorf("status %d, want 503", a.status)
				}
				time.Sleep(settleTime + 4*lookEvery)
				if err := f.node.Ready(); err != nil {
					t.Fatalf("no new key: %v", err)
				}
				if token := f.granted(f.withKey()); token.Header.KeyID == string(kid) {
					t.Error("the new token has the old key")
				}
				if len(linesOf(t, f.log, "signing key lost: a new one will be made")) != 1 {
					t.Errorf("log: %s", f.log)
				}
			})
		})
	}
}

func TestAConflictOnTheNodesOwnLeaseMakesANewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		kid := f.kid()
		f.bucket.put(events.KeyRecord(events.Platform, kid).String(), "malformed") // changes nothing, but for the revision
		time.Sleep(9 * time.Minute)
		if f.kid() != kid {
			t.Error("a malformed record ended the key")
		}
		time.Sleep(2 * time.Minute)
		if f.kid() == kid {
			t.Error("the key is in use, though its lease cannot be renewed")
		}
		f.granted(f.withKey())
	})
}

func TestAKeyThatNeverArrivesIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.hold()
		f.start()
		time.Sleep(2 * time.Second)
		first, _ := f.bucket.leases()[0].key(t)
		// The bucket is restored to before the write; the node's set, which is confirmed complete, does not have it.
		f.bucket.mu.Lock()
		f.bucket.waiting = nil
		f.bucket.mu.Unlock()
		f.bucket.release()
		f.bucket.swap(func(e events.Entry) bool { return !strings.HasPrefix(e.Name, "key.platform.") })
		time.Sleep(lostAfter + 3*time.Second)
		if err := f.node.Ready(); err != nil {
			t.Fatal(err)
		}
		if f.kid() == first {
			t.Error("the lost key is in use")
		}
	})
}

func TestKeysThatAreAlwaysTakenAwayAreNotMadeWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.fault = func(events.KeyID) (bool, error) { return false, ErrConflict }
		f.start()
		time.Sleep(10 * time.Minute)
		if n := len(linesOf(t, f.log, "signing key lost: a new one will be made")); n < 15 || n > 60 {
			t.Errorf("%d keys were made in 10 minutes", n)
		}
	})
}
