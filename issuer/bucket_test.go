package issuer

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// bucket is KEYS in memory: a log with compare-and-set, and the node's own copy of it, which can be held back.
type bucket struct {
	mu        sync.Mutex
	log       []message
	set       *events.Set
	revoked   *events.Revocations
	waiting   []events.Entry // while held
	held      bool
	confirmed time.Time // zero: now
	// fault decides about a publish: whether it takes effect, and what is said of it.
	fault func(kid events.KeyID) (apply bool, err error)

	revocations uint64 // revision of the last one
	revokeFault error  // instead of the next ones
}

type message struct {
	entry   events.Entry
	ttl     time.Duration
	expires time.Time // when the bucket drops it; zero: never
}

func newBucket() *bucket {
	return &bucket{set: events.NewSet(nil), revoked: events.NewRevocations(nil)}
}

func (b *bucket) Revocations() *events.Revocations { return b.revoked }

// revoke is the node's TokenRevoker.
func (b *bucket) revoke(_ context.Context, client events.Name, token events.TokenID, exp time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revokeFault != nil {
		return b.revokeFault
	}
	value, err := (&events.TokenRevocation{Expires: exp.Unix(), Reason: string(client)}).Encode()
	if err != nil {
		return err
	}
	b.revocations++
	b.revoked.Apply(events.Entry{Name: token.String(), Value: value, Revision: b.revocations, Time: time.Now()}, time.Now())
	return nil
}

func (b *bucket) Keys() *events.Set {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set
}

func (b *bucket) Confirmed() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.confirmed.IsZero() {
		return time.Now()
	}
	return b.confirmed
}

// publish is the node's LeasePublisher.
func (b *bucket) publish(_ context.Context, kid events.KeyID, value []byte, replaces uint64, ttl time.Duration) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	apply, fault := true, error(nil)
	if b.fault != nil {
		apply, fault = b.fault(kid)
	}
	if !apply {
		return 0, fault
	}
	name := events.KeyRecord(events.Platform, kid).String()
	if b.last(name) != replaces {
		return 0, ErrConflict
	}
	revision := b.append(events.Entry{Name: name, Value: value}, ttl)
	if fault != nil {
		return 0, fault
	}
	return revision, nil
}

// put writes a record as an operator does.
func (b *bucket) put(name, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append(events.Entry{Name: name, Value: []byte(value)}, 0)
}

func (b *bucket) del(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.append(events.Entry{Name: name, Deleted: true}, 0)
}

func (b *bucket) last(name string) uint64 {
	for _, m := range slices.Backward(b.log) {
		if m.entry.Name == name && m.kept(time.Now()) {
			return m.entry.Revision
		}
	}
	return 0
}

func (b *bucket) append(e events.Entry, ttl time.Duration) uint64 {
	e.Time, e.Revision = time.Now(), uint64(len(b.log)+1)
	m := message{entry: e, ttl: ttl}
	if ttl > 0 {
		m.expires = e.Time.Add(ttl)
	}
	b.log = append(b.log, m)
	if b.held {
		b.waiting = append(b.waiting, e)
	} else {
		b.set.Apply(e)
	}
	return e.Revision
}

func (m *message) kept(now time.Time) bool { return m.expires.IsZero() || now.Before(m.expires) }

// hold keeps what is written from the node's own set until release.
func (b *bucket) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = true
}

func (b *bucket) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.waiting {
		b.set.Apply(e)
	}
	b.held, b.waiting = false, nil
}

// swap gives the node a new set, made from the messages that keep lets pass, as after a bucket was restored.
func (b *bucket) swap(keep func(events.Entry) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = slices.DeleteFunc(b.log, func(m message) bool { return !keep(m.entry) })
	b.set = fold(b.log, time.Now())
}

// fresh is the set of a node that starts now: it has only what the bucket has kept.
func (b *bucket) fresh() *events.Set {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fold(b.log, time.Now())
}

func fold(log []message, now time.Time) *events.Set {
	set := events.NewSet(nil)
	for _, m := range log {
		if m.kept(now) {
			set.Apply(m.entry)
		}
	}
	return set
}

// leases returns what was written about the platform's keys.
func (b *bucket) leases() (written []message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.log {
		if strings.HasPrefix(m.entry.Name, "key.platform.") && !m.entry.Deleted {
			written = append(written, m)
		}
	}
	return written
}

// key reads the key record of a message.
func (m *message) key(t *testing.T) (events.KeyID, *events.Key) {
	t.Helper()
	name, err := events.ParseRecordName(m.entry.Name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := events.ParseKey(name.KeyID, m.entry.Value)
	if err != nil {
		t.Fatal(err)
	}
	return name.KeyID, key
}

// replays is a replay memory.
type replays struct {
	mu   sync.Mutex
	used map[string]time.Time
	err  error
}

func (r *replays) Use(_ context.Context, client events.Name, jti string, exp time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	id := string(client) + "\n" + jti
	if _, ok := r.used[id]; ok {
		return ErrReplayed
	}
	r.used[id] = exp
	return nil
}

// encodeKey is the record of an Ed25519 key.
func encodeKey(t testing.TB, kid events.KeyID, key events.Key) string {
	t.Helper()
	key.Algorithm = cmp.Or(key.Algorithm, events.EdDSA)
	value, err := key.Encode(kid)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

func newPrivateKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return private
}
