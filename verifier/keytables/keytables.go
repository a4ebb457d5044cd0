// Package keytables verifies Ed25519 signatures with the tables of package ed25519fast, for those keys that are worth one.
//
// A table makes each verification by its key three times as fast. It takes 14 KiB, and as long to make as two or three
// verifications. So it is made for a key that has verified several signatures, beside the requests and one at a time; all
// tables together stay within a budget. When that is used up, the table that was used least recently makes room, if it has not been
// used for a while: as long as all are in use, a key more is verified by the standard library, and nobody loses a table that is
// about to be needed.
//
// Only signatures that verify count for a key: who has no key cannot cause any work but that of one verification. What
// is accepted is the same with a table and without.
package keytables

import (
	"crypto/ed25519"
	"crypto/fips140"
	"encoding/binary"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/verifier/ed25519fast"
)

const (
	// buildAfter is how many signatures a key has verified when it gets a table.
	buildAfter = 8
	// idleFor is how long a table must not have been used for another one to take its place.
	idleFor = 10 * time.Second
	// counters is how many counts of verified signatures there are: two keys may share one, and get their tables sooner.
	counters = 1 << 12
)

// Tables are the tables of many keys. They may be used by any number of goroutines, who take no lock and never wait.
type Tables struct {
	most     int                                  // tables within the budget; zero: there are none, ever
	tables   atomic.Pointer[map[publicKey]*table] // copied for every change
	verified []atomic.Uint32                      // signatures, by keys without a table
	builder  chan struct{}                        // holds a token while a table is made, and for ever after Close
	full     atomic.Int64                         // Unix seconds: until then there is no room for another table, as all are in use
	built    atomic.Uint64
	closing  sync.Once
}

type publicKey = [ed25519.PublicKeySize]byte

type table struct {
	key  *ed25519fast.Key
	used atomic.Int64 // Unix seconds
}

// New returns tables that take no more than so many bytes of memory in all. Where crypto/fips140 is enabled there are
// none, and the validated module does all the work.
func New(memory int64) *Tables {
	t := &Tables{most: int(memory / ed25519fast.TableSize), builder: make(chan struct{}, 1)}
	if fips140.Enabled() {
		t.most = 0
	}
	if t.most > 0 {
		t.verified = make([]atomic.Uint32, counters)
	}
	t.tables.Store(&map[publicKey]*table{})
	return t
}

// Verify reports what [ed25519.Verify] does. The key must have its right length.
func (t *Tables) Verify(public ed25519.PublicKey, message, signature []byte) bool {
	if e := (*t.tables.Load())[publicKey(public)]; e != nil {
		e.touch()
		return e.key.Verify(message, signature)
	}
	if !ed25519.Verify(public, message, signature) {
		return false
	}
	if t.most > 0 {
		t.count(public)
	}
	return true
}

// touch notes that the table is in use.
func (e *table) touch() {
	if now := time.Now().Unix(); e.used.Load() != now { // else every core would write to it all the time
		e.used.Store(now)
	}
}

// count notes a signature that public has verified, and has a table made if these are enough. If another one is being
// made, the next signature asks again.
func (t *Tables) count(public ed25519.PublicKey) {
	n := &t.verified[binary.LittleEndian.Uint16(public)%counters]
	if n.Add(1) < buildAfter {
		return
	}
	if time.Now().Unix() < t.full.Load() { // else every few signatures would have all tables looked through in vain
		n.Store(0)
		return
	}
	select {
	case t.builder <- struct{}{}:
		n.Store(0)
		go func() {
			defer func() { <-t.builder }()
			t.build(public)
		}()
	default:
	}
}

// build makes the table of public, if there is room for it. It runs in one goroutine at a time.
func (t *Tables) build(public ed25519.PublicKey) {
	tables := *t.tables.Load()
	if tables[publicKey(public)] != nil {
		return // it shares its count with another key
	}
	now := time.Now()
	var victim *publicKey
	if len(tables) >= t.most {
		if victim = leastRecent(tables, now.Add(-idleFor).Unix()); victim == nil {
			t.full.Store(now.Unix() + 1)
			return
		}
	}
	key, err := ed25519fast.New(public)
	if err != nil {
		return // never: it has verified signatures
	}
	next := maps.Clone(tables)
	if victim != nil {
		delete(next, *victim)
	}
	e := &table{key: key}
	e.used.Store(now.Unix())
	next[publicKey(public)] = e
	t.tables.Store(&next)
	t.built.Add(1)
}

// leastRecent returns the key whose table was used least recently, if that was before the given time.
func leastRecent(tables map[publicKey]*table, before int64) *publicKey {
	var least *publicKey
	for public, e := range tables {
		if used := e.used.Load(); used < before {
			least, before = &public, used
		}
	}
	return least
}

// Close waits for a table that is being made. No more are made after it; those that there are stay in use.
func (t *Tables) Close() {
	t.closing.Do(func() { t.builder <- struct{}{} })
}

// Stats tells how many tables there are, how many bytes they take, and how many were made so far.
func (t *Tables) Stats() (tables int, memory int64, built uint64) {
	n := len(*t.tables.Load())
	return n, int64(n) * ed25519fast.TableSize, t.built.Load()
}
