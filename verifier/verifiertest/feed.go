package verifiertest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// feed is what bus.KeySet is in production: real sets, filled by messages.
type feed struct {
	now         func() time.Time
	keys        *events.Set
	revocations *events.Revocations
	lost        atomic.Pointer[time.Time] // when contact was lost; nil: it was not

	mu       sync.Mutex // for writers
	revision uint64     // of the last message, of both buckets
}

var _ verifier.Feed = (*feed)(nil)

func newFeed(now func() time.Time) *feed {
	return &feed{now: now, keys: events.NewSet(nil), revocations: events.NewRevocations(nil)}
}

func (f *feed) Keys() *events.Set                { return f.keys }
func (f *feed) Revocations() *events.Revocations { return f.revocations }

// Confirmed is far ahead as long as there is contact. A verifier asks for it before it looks at the clock: if Advance came in
// between, a set confirmed now would look as old as the clock was put forward.
func (f *feed) Confirmed() time.Time {
	if lost := f.lost.Load(); lost != nil {
		return *lost
	}
	return f.now().Add(100 * 365 * 24 * time.Hour)
}

// put writes a message of KEYS. What the kit writes was encoded by package events, and so is what it reads.
func (f *feed) put(name events.RecordName, value []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.apply(name, value)
}

// create is put for the record of an issuer of which there is none yet.
func (f *feed) create(issuer events.Name, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys.Issuer(issuer) != nil {
		return fmt.Errorf("%s is registered already", issuer)
	}
	f.apply(events.IssuerRecord(issuer), value)
	return nil
}

// change rewrites the record of an issuer.
func (f *feed) change(issuer events.Name, edit func(*events.Issuer)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry := f.keys.Issuer(issuer)
	if entry == nil {
		return fmt.Errorf("%s is not registered", issuer)
	}
	record := *entry.Record
	edit(&record)
	value, err := record.Encode()
	if err == nil {
		f.apply(events.IssuerRecord(issuer), value)
	}
	return err
}

// apply folds a message. The caller holds mu.
func (f *feed) apply(name events.RecordName, value []byte) {
	f.revision++
	f.keys.Apply(events.Entry{Name: name.String(), Value: value, Revision: f.revision, Time: f.now()})
}

// revoke writes a message of REVOCATIONS.
func (f *feed) revoke(id events.TokenID, value []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revision++
	now := f.now()
	f.revocations.Apply(events.Entry{Name: id.String(), Value: value, Revision: f.revision, Time: now}, now)
}
