package registry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// still is a key set to which nothing comes any more.
type still struct {
	registry.Store
	set *events.Set
}

func (s still) Keys() *events.Set          { return s.set }
func (s still) Sync(context.Context) error { return nil }

// BenchmarkActiveClients is one page out of 100,000 clients, without the question to NATS whether the set is up to date.
func BenchmarkActiveClients(b *testing.B) {
	set := events.NewSet(nil)
	for i := range 100_000 {
		set.Apply(events.Entry{
			Name: fmt.Sprintf("issuer.c%06d", i), Value: []byte(`{"type":"client","status":"active","scope":"a"}`), Revision: uint64(i + 1), Time: time.Now(),
		})
	}
	r, err := registry.New(registry.Config{Store: still{}, Keys: still{set: set}})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := r.ActiveClients(b.Context(), "", 1); err != nil { // has the names sorted
		b.Fatal(err)
	}
	b.Run("after a change", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			set.Apply(events.Entry{Name: "key.c000001.k1", Deleted: true, Revision: uint64(100_001 + i), Time: time.Now()})
			if page, _, err := r.ActiveClients(b.Context(), "c050000", 100); err != nil || len(page) == 0 {
				b.Fatal(len(page), err)
			}
		}
	})
	for name, after := range map[string]events.Name{"first": "", "middle": "c050000", "last": "c099950"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if page, _, err := r.ActiveClients(b.Context(), after, 100); err != nil || len(page) == 0 {
					b.Fatal(len(page), err)
				}
			}
		})
	}
}
