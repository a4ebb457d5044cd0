package refresh

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// A holder that was suspended after it had fetched a set does not publish it once another node may have published a newer one.
func TestI21_WhatMayHaveBeenReplacedMeanwhileIsNotPublished(t *testing.T) {
	for _, r := range []struct {
		name      string
		suspended time.Duration // less than a lease's length, but for one
		meanwhile func(*testing.T, *world)
		want      bool // it is published
	}{
		{"nothing has happened", defaultLease - time.Second, func(*testing.T, *world) {}, true},
		{"it is too old", defaultLease + time.Second, func(*testing.T, *world) {}, false},
		{"another has the lease", time.Second, func(t *testing.T, w *world) {
			e, err := w.store.Get(t.Context(), bus.Usage, leaseName)
			if err != nil {
				t.Error(err)
			}
			if _, err := w.store.Put(t.Context(), bus.Put{Name: leaseName, Value: []byte(`{"holder":"another"}`), Replaces: e.Revision}); err != nil {
				t.Error(err)
			}
		}, false},
		{"the lease cannot be asked for", time.Second, func(t *testing.T, w *world) {
			w.store.SetFaults(eventstest.Faults{Write: func(p bus.Put) (bool, error) { return false, bus.ErrUnreachable }})
		}, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.issuer("idp", answer(mostLife, "old"))
				resumed := make(chan struct{})
				w.syncing = func() {
					time.Sleep(r.suspended)
					r.meanwhile(t, w)
					close(resumed)
				}
				start(t, w.refresher("a"))
				<-resumed
				synctest.Wait()
				w.mu.Lock()
				published := w.synced != nil
				w.syncing = func() {}
				w.mu.Unlock()
				if published != r.want {
					t.Errorf("published: %t, want %t", published, r.want)
				}
			})
		})
	}
}

// The whole of it: a is suspended with a set in its hands, b takes over and publishes the next one, a goes on.
func TestI21_AWithdrawnKeyDoesNotComeBackWithASuspendedHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer("idp", answer(mostLife, "withdrawn"))
		var calls atomic.Int32
		holding, resume, resumed := make(chan struct{}), make(chan struct{}), make(chan struct{})
		w.syncing = func() {
			if calls.Add(1) > 1 {
				return
			}
			close(holding)
			<-resume
			close(resumed)
		}
		start(t, w.refresher("a"))
		<-holding
		w.store.SetFaults(eventstest.Faults{Write: func(p bus.Put) (bool, error) {
			if p.Caller == "a" {
				return false, bus.ErrUnreachable
			}
			return true, nil
		}})
		w.issuer("idp", answer(mostLife, "new"))
		b := w.refresher("b")
		start(t, b)
		time.Sleep(2 * defaultLease)
		if !b.Status().Holding || len(w.synced) != 1 || w.synced[0].KeyID != "new" {
			t.Fatalf("published %v, status %+v", w.synced, b.Status())
		}
		w.store.SetFaults(eventstest.Faults{})
		close(resume)
		<-resumed
		synctest.Wait()
		if w.synced[0].KeyID != "new" {
			t.Errorf("published %v", w.synced)
		}
	})
}

// The monotonic clock stops while the machine is suspended, and the other one may be set back: the age is what either says.
func TestAnAgeIsByTheClockThatWentOn(t *testing.T) {
	now := present()
	for _, r := range []struct{ monotonic, wall, want time.Duration }{
		{time.Minute, time.Minute, time.Minute},
		{time.Second, time.Hour, time.Hour},
		{time.Hour, -time.Hour, time.Hour},
	} {
		asked := moment{now.monotonic.Add(-r.monotonic), now.wall.Add(-r.wall)}
		if age := asked.age(now); age != r.want {
			t.Errorf("%s and %s is %s, want %s", r.monotonic, r.wall, age, r.want)
		}
	}
	if now.wall != now.wall.Round(0) || now.monotonic == now.wall {
		t.Error("both are one clock")
	}
}
