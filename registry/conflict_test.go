package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// rivals are two registries that decide about the same name before either of them writes.
func rivals(w *world, name string) [2]*world {
	var both sync.WaitGroup
	both.Add(2)
	var pair [2]*world
	for i := range pair {
		var once sync.Once
		pair[i] = w.join(func(s registry.Store) registry.Store {
			return &faultyStore{Store: s, decided: func(_ bus.Bucket, decided string) {
				if decided == name {
					once.Do(func() { both.Done(); both.Wait() })
				}
			}}
		})
	}
	return pair
}

// compete runs do with both and returns the errors.
func compete(pair [2]*world, do func(i int, r *world) error) [2]error {
	var errs [2]error
	var wg sync.WaitGroup
	for i, r := range pair {
		wg.Go(func() { errs[i] = do(i, r) })
	}
	wg.Wait()
	return errs
}

func TestOfTwoThatCreateOneClientOneWins(t *testing.T) {
	w := newWorld(t)
	scopes := [2]events.Scope{must(events.ParseScope("a"))(t), must(events.ParseScope("b"))(t)}
	errs := compete(rivals(w, "issuer.orders"), func(i int, r *world) error {
		_, err := r.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{Scope: scopes[i]})
		return err
	})
	winner := slices.Index(errs[:], nil)
	if winner < 0 || errs[1-winner] == nil {
		t.Fatalf("the outcomes are %v, want one winner", errs)
	}
	wantError(t, errs[1-winner], registry.ErrExists, "orders exists already")
	if got := w.set().Issuer("orders").Record.Scope.String(); got != scopes[winner].String() {
		t.Errorf("the record is the loser's, with scope %s", got)
	}
}

func TestOfTwoThatMakeThePlatformTheLoserAdopts(t *testing.T) {
	w := emptyWorld(t)
	var records [2]*events.Issuer
	errs := compete(rivals(w, "issuer.platform"), func(i int, r *world) (err error) {
		records[i], err = r.EnsurePlatform(t.Context(), alice, platformURL)
		return err
	})
	if errs != [2]error{} {
		t.Fatal(errs)
	}
	stored := members(t, w.stored(bus.Keys, "issuer.platform"))
	if records[0].Account != records[1].Account || stored["account"] != records[0].Account {
		t.Errorf("the accounts are %s and %s, the bucket has %v", records[0].Account, records[1].Account, stored["account"])
	}
	if revision := w.set().Revision(); revision != 1 {
		t.Errorf("%d writes, want 1", revision)
	}
}

func TestOfTwoThatMakePlatformsOfTwoURLsOneIsRefused(t *testing.T) {
	w := emptyWorld(t)
	urls := [2]string{platformURL, "https://other.example.com"}
	errs := compete(rivals(w, "issuer.platform"), func(i int, r *world) error {
		_, err := r.EnsurePlatform(t.Context(), alice, urls[i])
		return err
	})
	winner := slices.Index(errs[:], nil)
	if winner < 0 {
		t.Fatalf("the outcomes are %v, want one winner", errs)
	}
	wantError(t, errs[1-winner], registry.ErrOtherPlatform, urls[winner], urls[1-winner])
}

func TestOfTwoChangesOfOneRecordBothLand(t *testing.T) {
	for name, c := range map[string]struct {
		record string
		do     func(ctx context.Context, i int, r *world) error
		check  func(t *testing.T, w *world)
	}{
		"an update and another": {"issuer.orders", func(ctx context.Context, i int, r *world) error {
			audience, resource := []string{"https://a"}, []string{"https://r"}
			u := registry.ClientUpdate{Audience: &audience}
			if i == 1 {
				u = registry.ClientUpdate{Resource: &resource}
			}
			_, err := r.UpdateClient(ctx, alice, "orders", u)
			return err
		}, func(t *testing.T, w *world) {
			if r := w.set().Issuer("orders").Record; !slices.Equal(r.Audience, []string{"https://a"}) || !slices.Equal(r.Resource, []string{"https://r"}) {
				t.Errorf("the record is %+v", r)
			}
		}},
		"an update and a disable": {"issuer.orders", func(ctx context.Context, i int, r *world) error {
			audience := []string{"https://a"}
			if i == 0 {
				_, err := r.UpdateClient(ctx, alice, "orders", registry.ClientUpdate{Audience: &audience})
				return err
			}
			_, err := r.DisableClient(ctx, alice, "orders")
			return err
		}, func(t *testing.T, w *world) {
			if r := w.set().Issuer("orders").Record; r.Status != events.Disabled || !slices.Equal(r.Audience, []string{"https://a"}) {
				t.Errorf("the record is %+v", r)
			}
		}},
		"two API keys": {"orders", func(ctx context.Context, _ int, r *world) error {
			_, err := r.AddSecret(ctx, alice, "orders", time.Time{})
			return err
		}, func(t *testing.T, w *world) {
			if list := must(w.Secrets(t.Context(), "orders"))(t); len(list) != 2 {
				t.Errorf("the API keys are %v", list)
			}
		}},
		"one revocation and the same": {"revoked.orders.k1", func(ctx context.Context, _ int, r *world) error {
			_, err := r.RevokeKey(ctx, alice, "orders", "k1", "")
			return err
		}, func(t *testing.T, w *world) {
			if got := w.states("orders")["k1"]; got != events.KeyRevoked {
				t.Errorf("the key is %s", got)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.client("orders")
			w.add("orders", "k1")
			errs := compete(rivals(w, c.record), func(i int, r *world) error { return c.do(t.Context(), i, r) })
			if errs != [2]error{} {
				t.Fatal(errs)
			}
			c.check(t, w)
		})
	}
}

// Within one registry, what depends on several records is decided one at a time.
func TestConcurrentAddKeysKeepTheLimit(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	errs := make([]error, 12)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.AddKey(t.Context(), alice, "orders", registry.KeySpec{}) })
	}
	wg.Wait()
	added := 0
	for _, err := range errs {
		if err == nil {
			added++
		} else if !errors.Is(err, registry.ErrTooManyKeys) {
			t.Error(err)
		}
	}
	if n := len(w.states("orders")); added != events.MaxClientKeys || n != added {
		t.Errorf("%d keys were added and %d are there, want %d", added, n, events.MaxClientKeys)
	}
}

func TestConcurrentAddKeysKeepAPublicKeyUnique(t *testing.T) {
	w := newWorld(t)
	public := newPublic(t)
	errs := make([]error, 6)
	for i := range errs {
		w.client(events.Name(fmt.Sprint("c", i)))
	}
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = w.AddKey(t.Context(), alice, events.Name(fmt.Sprint("c", i)), registry.KeySpec{Public: public})
		})
	}
	wg.Wait()
	added := 0
	for _, err := range errs {
		if err == nil {
			added++
		} else if !errors.Is(err, registry.ErrKeyTaken) {
			t.Error(err)
		}
	}
	if added != 1 {
		t.Errorf("the key has %d owners", added)
	}
}

func TestConcurrentAddIssuersKeepAnIssUnique(t *testing.T) {
	w := newWorld(t)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.AddIssuer(t.Context(), alice, events.Name(fmt.Sprint("idp", i)), github) })
	}
	wg.Wait()
	if live := w.set().IssuerOf(github.Iss); live == nil {
		t.Errorf("nobody is trusted with %s: %v", github.Iss, errs)
	}
}

func TestAWaitingOperationEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := w.join(func(s registry.Store) registry.Store {
		return &faultyStore{Store: s, decided: func(_ bus.Bucket, name string) {
			if name == "key.orders.slow" {
				close(entered)
				<-leave
			}
		}}
	})
	done := make(chan error, 1)
	go func() {
		_, err := slow.AddKey(t.Context(), alice, "orders", registry.KeySpec{KeyID: "slow"})
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := slow.AddKey(ctx, alice, "orders", registry.KeySpec{KeyID: "k1"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	// A revocation waits for nobody.
	if _, err := slow.RevokeKey(t.Context(), alice, "orders", "k0", ""); err != nil {
		t.Error(err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
