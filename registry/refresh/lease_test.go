package refresh

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// two runs two nodes, a before b, on one issuer with a new set every five minutes.
func two(t *testing.T) (w *world, a, b *Refresher, stopA, stopB func()) {
	w = newWorld(t)
	w.issuer("idp", answer(leastLife, "k1"))
	a, b = w.refresher("a"), w.refresher("b")
	stopA = start(t, a)
	time.Sleep(time.Second)
	stopB = start(t, b)
	return w, a, b, stopA, stopB
}

// by tells who has fetched since the last call.
func (w *world) by() string {
	seen := ""
	for _, f := range w.fetches() {
		if !strings.Contains(seen, f.by) {
			seen += f.by
		}
	}
	return seen
}

func TestOneNodeRefreshesAndTheOtherTakesOverWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, stopA, _ := two(t)
		time.Sleep(time.Hour)
		if by := w.by(); by != "a" || !a.Status().Holding || b.Status().Holding || len(b.Status().Issuers) != 0 {
			t.Fatalf("fetched by %q, status %+v and %+v", by, a.Status(), b.Status())
		}
		e, err := w.store.Get(t.Context(), bus.Usage, leaseName)
		var record leaseRecord
		if err != nil || json.Unmarshal(e.Value, &record) != nil || record.Holder == "" || record.Expires < time.Now().Unix() || e.Caller != "a" {
			t.Errorf("the record is %s, %v", e.Value, err)
		}
		stopA() // a clean stop: no need to wait for a lease's length
		time.Sleep(defaultLease/renewals + time.Second)
		if by := w.by(); by != "b" || !b.Status().Holding || a.Status().Holding {
			t.Errorf("fetched by %q, status %+v", by, b.Status())
		}
	})
}

func TestASilentHolderIsReplacedAfterTheLeasesLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, _, _ := two(t)
		time.Sleep(10 * time.Minute)
		w.by()
		// a's writes do not arrive any more, as if it were cut off: it stops by itself, before b begins.
		w.store.SetFaults(eventstest.Faults{Write: func(p bus.Put) (bool, error) {
			if p.Caller == "a" {
				return false, bus.ErrUnreachable
			}
			return true, nil
		}})
		overlap, gap := 0, 0
		for range 60 {
			time.Sleep(time.Second)
			switch holdingA, holdingB := a.Status().Holding, b.Status().Holding; {
			case holdingA && holdingB:
				overlap++
			case !holdingA && !holdingB:
				gap++
			}
		}
		if !b.Status().Holding || a.Status().Holding || overlap > 0 || gap > 25 {
			t.Errorf("status %+v and %+v, %d s of both, %d s of none", a.Status(), b.Status(), overlap, gap)
		}
		if by := w.by(); by != "b" {
			t.Errorf("fetched by %q", by)
		}
		w.store.SetFaults(eventstest.Faults{})
		time.Sleep(time.Hour)
		if by := w.by(); by != "b" {
			t.Errorf("afterwards fetched by %q", by)
		}
	})
}

func TestWhoLosesTheLeaseStopsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, _, _, _ := two(t)
		time.Sleep(time.Minute)
		e, err := w.store.Get(t.Context(), bus.Usage, leaseName)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.store.Put(t.Context(), bus.Put{Name: leaseName, Value: []byte(`{"holder":"another","exp":99999999999}`), Replaces: e.Revision}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(defaultLease/renewals + time.Second)
		if a.Status().Holding || !strings.Contains(w.log.String(), "lost") {
			t.Errorf("status is %+v", a.Status())
		}
		// The exp of the record decides nothing: a clock that is years ahead keeps nobody out.
		time.Sleep(2 * defaultLease)
		w.fetches()
		time.Sleep(time.Hour)
		if by := w.by(); len(by) != 1 {
			t.Errorf("fetched by %q", by)
		}
	})
}

func TestALeaseIsTakenFromGarbageAndKeptThroughLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.Write(leaseName, "garbage")
		w.issuer("idp", answer(leastLife, "k1"))
		r := w.refresher("a")
		start(t, r)
		time.Sleep(defaultLease - time.Second)
		if r.Status().Holding {
			t.Error("it was taken at once")
		}
		time.Sleep(defaultLease)
		if !r.Status().Holding {
			t.Fatal("it was not taken")
		}
		// A write takes place and its answer gets lost: the lease is given up, and had again, since the record says whose it is.
		w.store.SetFaults(eventstest.Faults{Write: func(p bus.Put) (bool, error) {
			return true, errors.Join(bus.ErrUnknownOutcome, errors.New("simulated"))
		}})
		time.Sleep(defaultLease/renewals + time.Second)
		w.store.SetFaults(eventstest.Faults{})
		time.Sleep(defaultLease/renewals + time.Second)
		if !r.Status().Holding {
			t.Error("it was lost for good")
		}
	})
}

func TestNewAndRunRefuseWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	good := w.refresher("a").cfg
	for name, change := range map[string]func(*Config){
		"Store":    func(c *Config) { c.Store = nil },
		"Registry": func(c *Config) { c.Registry = nil },
		"Keys":     func(c *Config) { c.Keys = nil },
		"Fetcher":  func(c *Config) { c.Fetcher = nil },
		"Caller":   func(c *Config) { c.Caller.Name = "" },
		"Lease":    func(c *Config) { c.Lease = time.Millisecond },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := w.refresher("a")
	stop := start(t, r)
	stop()
	if err := r.Run(t.Context()); err == nil {
		t.Error("Run ran twice")
	}
}
