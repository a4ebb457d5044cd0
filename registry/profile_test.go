package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

var profile = events.Profile{Name: "Orders", Options: []byte(`{"a":[1]}`), Tags: map[string]string{"team": "a"}}

func TestAProfileIsKeptWithWhatTheClientAuthenticatesWith(t *testing.T) {
	w := newWorld(t)
	w.ok(w.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{Profile: &profile}))
	if e := w.stored(bus.Clients, "orders"); string(e.Value) != `{"profile":{"name":"Orders","options":{"a":[1]},"tags":{"team":"a"}}}` || e.Caller != alice.Name {
		t.Errorf("record is %s by %s", e.Value, e.Caller)
	}
	secret := must(w.AddSecret(t.Context(), alice, "orders", time.Time{}))(t)
	w.ok(w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Profile: &events.Profile{Name: "New"}}))
	if got := must(w.Profile(t.Context(), "orders"))(t); got.Name != "New" || got.Options != nil || len(got.Tags) != 0 {
		t.Errorf("profile is %+v", got)
	}
	if left := must(w.Secrets(t.Context(), "orders"))(t); len(left) != 1 || left[0].ID != secret.ID {
		t.Errorf("API keys are %+v", left)
	}
	before := w.stored(bus.Clients, "orders").Revision
	w.ok(w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Profile: &events.Profile{Name: "New"}}))
	if after := w.stored(bus.Clients, "orders").Revision; after != before {
		t.Error("the same profile was written again")
	}
	w.ok(w.CreateClient(t.Context(), alice, "plain", registry.ClientSpec{Profile: new(events.Profile)}))
	w.absent(bus.Clients, "plain")
	w.server.Write(bus.Clients, "orders", "{")
	if got := must(w.Profile(t.Context(), "orders"))(t); got.Name != "" {
		t.Errorf("profile of a malformed record is %+v", got)
	}
}

func TestAProfileThatCannotBeARecordIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	before := w.set().Revision()
	for name, p := range map[string]events.Profile{
		"a name of 129 bytes":        {Name: strings.Repeat("a", 129)},
		"a name with a line break":   {Name: "a\nb"},
		"options that are a list":    {Options: []byte(`[]`)},
		"options twice the same":     {Options: []byte(`{"a":1,"a":2}`)},
		"options of 3 KiB":           {Options: []byte(`{"a":"` + strings.Repeat("a", 3<<10) + `"}`)},
		"a tag without a name":       {Tags: map[string]string{"": "a"}},
		"a tag with an escape in it": {Tags: map[string]string{"a": "\x1b[2J"}},
	} {
		_, err := w.CreateClient(t.Context(), alice, "", registry.ClientSpec{Profile: &p})
		wantError(t, err, registry.ErrInvalid, "profile")
		_, err = w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Profile: &p})
		if !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: update: %v", name, err)
		}
	}
	if after := w.set().Revision(); after != before {
		t.Error("something was written")
	}
}

// The writes of two records are no transaction: after a failure of either one nothing means anything that should not, and the same
// done again completes it.
func TestWhatWasCutOffBetweenTwoWritesIsCompletedByDoingItAgain(t *testing.T) {
	for _, c := range []struct {
		bucket bus.Bucket
		apply  bool
	}{{bus.Clients, false}, {bus.Clients, true}, {bus.Keys, false}} {
		t.Run(fmt.Sprintf("%s %v", c.bucket, c.apply), func(t *testing.T) {
			w := newWorld(t)
			fail := true
			other := w.join(func(s registry.Store) registry.Store {
				return &faultyStore{Store: s, fault: func(bucket bus.Bucket, _ string) (bool, error) {
					if fail && bucket == c.bucket {
						return c.apply, fmt.Errorf("cut off: %w", bus.ErrUnknownOutcome)
					}
					return true, nil
				}}
			})
			spec := registry.ClientSpec{Profile: &profile, Audience: []string{"https://a"}}
			_, err := other.CreateClient(t.Context(), alice, "orders", spec)
			wantError(t, err, bus.ErrUnknownOutcome)
			w.absent(bus.Keys, "issuer.orders")
			fail = false
			w.ok(other.CreateClient(t.Context(), alice, "orders", spec))
			if got := must(w.Profile(t.Context(), "orders"))(t); !got.Equal(&profile) {
				t.Errorf("profile is %+v", got)
			}

			fail = true
			u := registry.ClientUpdate{Audience: &[]string{"https://b"}, Profile: &events.Profile{Name: "New"}}
			_, err = other.UpdateClient(t.Context(), alice, "orders", u)
			wantError(t, err, bus.ErrUnknownOutcome)
			fail = false
			w.ok(other.UpdateClient(t.Context(), alice, "orders", u))
			if got := must(w.Profile(t.Context(), "orders"))(t); got.Name != "New" || w.set().Issuer("orders").Record.Audience[0] != "https://b" {
				t.Errorf("profile is %+v", got)
			}
		})
	}
}

func TestAnUpdateMayDependOnNothingHavingChanged(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	seen := w.set().Revision()
	scope := scopeOf(t, "a")
	w.ok(w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Scope: &scope, Unchanged: seen}))
	_, err := w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Scope: &scope, Unchanged: seen})
	wantError(t, err, registry.ErrChanged, "read it again")
	w.add("orders", "k1") // another record
	w.ok(w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Scope: &scope, Unchanged: w.set().Revision()}))
	_, err = w.UpdateClient(t.Context(), alice, "orders", registry.ClientUpdate{Unchanged: 1})
	wantError(t, err, registry.ErrInvalid, "nothing to change")
}

func TestActiveClientsComeInPages(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 25 {
		name := events.Name(fmt.Sprintf("c%02d", (i*7)%25)) // in no order
		w.ok(w.CreateClient(t.Context(), alice, name, registry.ClientSpec{}))
	}
	w.ok(w.DisableClient(t.Context(), alice, "c03"))
	w.ok(w.AddIssuer(t.Context(), alice, "c04x", github))
	for i := range 25 {
		if i != 3 {
			want = append(want, fmt.Sprintf("c%02d", i))
		}
	}
	for _, limit := range []int{1, 7, 23, 24, 25, 100} {
		var got []string
		after, more := events.Name(""), true
		for more {
			page, next, err := w.ActiveClients(t.Context(), after, limit)
			if err != nil || len(page) == 0 || len(page) > limit {
				t.Fatalf("limit %d after %q: %d clients, %v", limit, after, len(page), err)
			}
			for _, e := range page {
				got = append(got, string(e.Name))
			}
			after, more = page[len(page)-1].Name, next
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}
