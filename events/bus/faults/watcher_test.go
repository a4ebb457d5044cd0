//go:build linux

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// maxStaleness is the policy of the verifiers under test: not much longer than it takes to confirm a set.
const maxStaleness = 6 * time.Second

// watcher is a verifier that is held to what it says, all the time.
type watcher struct {
	t        *testing.T
	name     string
	history  *history
	set      *bus.KeySet
	verifier *verifier.Verifier
	token    string // of a key that is going to be revoked
	revoked  *moment
	lossy    bool // the buckets may lose what was in them
	log      eventstest.Log

	// The rest belongs to the goroutine of run, until it ends.
	seen     int               // how many acknowledged writes are in need
	need     map[string]uint64 // by name: what must be there
	silent   time.Duration     // the longest time for which it lacked what it said to have
	refused  bool              // it has said that the key is revoked
	complete []completeness
}

// moment is when something happened, once it has.
type moment struct {
	mu sync.Mutex
	at time.Time
}

func (m *moment) set() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Now()
}

func (m *moment) get() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

// completeness is what a set had when it said that it was complete.
type completeness struct {
	revision uint64
	have     map[string]uint64
}

func newWatcher(t *testing.T, name string, conn *bus.Conn, h *history, token string, revoked *moment) *watcher {
	t.Helper()
	w := &watcher{t: t, name: name, history: h, token: token, revoked: revoked, need: map[string]uint64{}}
	w.set = conn.FollowKeySet(bus.KeySetConfig{Logger: zerolog.New(&w.log)})
	t.Cleanup(w.set.Close)
	var err error
	if w.verifier, err = verifier.New(verifier.Config{Audience: audience, MaxStaleness: maxStaleness}, w.set); err != nil {
		t.Fatal(err)
	}
	return w
}

// run looks at the verifier until ctx ends.
func (w *watcher) run(ctx context.Context) {
	const pace = 10 * time.Millisecond
	for ctx.Err() == nil {
		w.look()
		select {
		case <-ctx.Done():
		case <-time.After(pace):
		}
	}
}

func (w *watcher) look() {
	confirmed, status := w.set.Confirmed(), w.set.Status().Keys // before the set, which only grows
	keys := w.set.Keys()
	w.checkConfirmed(keys, confirmed)
	if n := len(w.complete); status.CaughtUp && (n == 0 || w.complete[n-1].revision != status.Revision) {
		w.complete = append(w.complete, completeness{status.Revision, w.revisions(keys)})
	}
	w.checkToken()
}

// checkConfirmed: what was acknowledged before the set was confirmed is in it.
func (w *watcher) checkConfirmed(keys *events.Set, confirmed time.Time) {
	for _, a := range w.history.acknowledged(w.seen) {
		if !w.history.began.Add(a.returned).Before(confirmed) {
			break
		}
		w.need[a.name] = max(w.need[a.name], a.revision)
		w.seen++
		if have := revisionOf(keys, a.name); have < a.revision {
			silent := confirmed.Sub(w.history.began.Add(a.returned))
			if w.silent < silent {
				w.silent = silent
				w.t.Errorf("%s says that it was complete %v after %s was written at revision %d, and has revision %d", w.name, silent, a.name, a.revision, have)
			}
		}
	}
	for name, revision := range w.need {
		if have := revisionOf(keys, name); have < revision {
			w.t.Errorf("%s had %s at revision %d, and has revision %d", w.name, name, revision, have)
			delete(w.need, name) // once is enough
		}
	}
}

func revisionOf(keys *events.Set, record string) uint64 {
	name, err := events.ParseRecordName(record)
	if err != nil {
		panic(err) // it is ours
	}
	if e := keys.Key(name.Issuer, name.KeyID); e != nil {
		return e.Revision
	}
	return 0
}

func (w *watcher) revisions(keys *events.Set) map[string]uint64 {
	have := map[string]uint64{}
	for _, e := range keys.Keys(w.history.client) {
		have[events.KeyRecord(e.Issuer, e.KeyID).String()] = e.Revision
	}
	return have
}

// checkToken: it is accepted by no set that is older than the policy allows, and never again once the key was seen revoked.
func (w *watcher) checkToken() {
	revoked, before := w.revoked.get(), time.Now()
	_, err := w.verifier.Verify(w.token)
	var why *verifier.Error
	switch {
	case err == nil:
		if w.refused {
			w.t.Errorf("%s accepts a token of a key that it has seen revoked", w.name)
		}
		if age := before.Sub(revoked); !revoked.IsZero() && age > maxStaleness {
			w.t.Errorf("%s accepts a token of a key that was revoked %v ago", w.name, age)
		}
	case errors.Is(err, verifier.ErrUndecided):
	case errors.As(err, &why) && why.Reason == verifier.ReasonKeyState:
		w.refused = true
	case w.lossy:
	default:
		w.t.Errorf("%s refuses the token: %v", w.name, err)
	}
}

// check compares what the set had whenever it said that it was complete with what was in the bucket, and what it has now.
func (w *watcher) check(log []events.Entry) {
	w.t.Helper()
	w.complete = append(w.complete, completeness{log[len(log)-1].Revision, w.revisions(w.set.Keys())})
	for _, c := range w.complete {
		want := map[string]uint64{}
		for _, e := range log {
			if e.Revision <= c.revision {
				want[e.Name] = e.Revision
			}
		}
		for name, revision := range want {
			if kind, err := events.ParseRecordName(name); err != nil || kind.Kind != events.KindKey {
				continue
			}
			if c.have[name] < revision {
				w.t.Errorf("%s was complete up to revision %d, with %s at %d: it was written at %d", w.name, c.revision, name, c.have[name], revision)
			}
		}
	}
	if !w.refused {
		w.t.Errorf("%s has never seen that the key is revoked", w.name)
	}
}

func (w *watcher) String() string { return fmt.Sprintf("%s %+v", w.name, w.set.Status().Keys) }
