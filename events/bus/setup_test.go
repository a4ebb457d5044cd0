package bus_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestServersThatAreTooOldAreTold(t *testing.T) {
	for version, want := range map[string]bool{
		"2.15.0": true, "2.15.2": true, "2.16.0-RC.1": true, "3.0.0": true, "2.100.0": true,
		"2.14.9": false, "2.9.25": false, "1.99.0": false, "0.0.0": false, "": false, "unknown": false, "2": false,
	} {
		if err := bus.CheckVersion(version); (err == nil) != want || err != nil && !errors.Is(err, bus.ErrOldServer) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestSetUpMayRunInManyPlacesAtOnce(t *testing.T) {
	n := eventstest.Server(t)
	js := n.Admin()
	for _, b := range bus.Buckets() {
		if err := js.DeleteStream(t.Context(), b.Stream()); err != nil {
			t.Fatal(err)
		}
	}
	var at []*bus.Conn
	for range 8 {
		at = append(at, n.Connect(bus.Admin))
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	made := map[bus.Bucket]bool{}
	for _, conn := range at {
		running.Go(func() {
			buckets, err := conn.SetUp(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, b := range buckets {
				made[b] = true
			}
		})
	}
	running.Wait()
	if len(made) != len(bus.Buckets()) {
		t.Errorf("made %v", made)
	}
	if again, err := at[0].SetUp(t.Context(), 1); err != nil || len(again) != 0 {
		t.Errorf("again: %v, %v", again, err)
	}
	if drifts, err := at[0].Check(t.Context(), 3); err != nil || len(drifts) != 5 || drifts[0].Setting != "num_replicas" {
		t.Errorf("against three replicas: %v, %v", drifts, err)
	}
	if err := js.DeleteStream(t.Context(), bus.Usage.Stream()); err != nil {
		t.Fatal(err)
	}
	drifts, err := at[0].Check(t.Context(), 0)
	if err != nil || !slices.ContainsFunc(drifts, bus.Drift.IsMissing) || len(drifts) != 1 {
		t.Errorf("one is missing: %v, %v", drifts, err)
	}
}
