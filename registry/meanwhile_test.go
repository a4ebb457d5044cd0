package registry_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// widen gives a client more than any admin of these tests has.
func (w *world) widen(name events.Name) {
	w.t.Helper()
	scope := scopeOf(w.t, "root")
	w.ok(w.UpdateClient(w.t.Context(), alice, name, registry.ClientUpdate{Scope: &scope}))
}

// The record may change after it was looked at: the change of a client is refused, and a credential that was just added is revoked.
func TestAClientThatIsWidenedMeanwhileIsOutOfReach(t *testing.T) {
	for name, c := range map[string]struct {
		bucket bus.Bucket
		do     func(r *registry.Registry, caller registry.Caller) error
	}{
		"update": {bus.Keys, func(r *registry.Registry, caller registry.Caller) error {
			none := events.Scope{}
			_, err := r.UpdateClient(context.Background(), caller, "within", registry.ClientUpdate{Scope: &none})
			return err
		}},
		"disable": {bus.Keys, func(r *registry.Registry, caller registry.Caller) error {
			_, err := r.DisableClient(context.Background(), caller, "within")
			return err
		}},
		"add a key": {bus.Keys, func(r *registry.Registry, caller registry.Caller) error {
			key, err := r.AddKey(context.Background(), caller, "within", registry.KeySpec{KeyID: "k9"})
			if key.AccessKey != nil {
				return fmt.Errorf("the access key came back with %w", err)
			}
			return err
		}},
		"add an API key": {bus.Clients, func(r *registry.Registry, caller registry.Caller) error {
			secret, err := r.AddSecret(context.Background(), caller, "within", time.Time{})
			if secret.ID != "" {
				return fmt.Errorf("the API key came back with %w", err)
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			caller := w.admin(adminScopes)
			w.ok(w.CreateClient(t.Context(), alice, "within", registry.ClientSpec{Audience: []string{"https://billing"}}))
			widened := false
			other := w.join(func(s registry.Store) registry.Store {
				return &faultyStore{Store: s, decided: func(bucket bus.Bucket, _ string) {
					if bucket == c.bucket && !widened {
						widened = true
						w.widen("within")
					}
				}}
			})
			err := c.do(other.Registry, caller)
			wantError(t, err, registry.ErrForbidden, "scope root")
			if !widened {
				t.Fatal("nothing happened in between: the test proves nothing")
			}
			if record := w.set().Issuer("within").Record; record.Scope.String() != "root" || record.Status != events.Active {
				t.Errorf("the record is %+v", record)
			}
			if state := w.states("within")["k9"]; state.Usable() {
				t.Errorf("the key that was added is %s", state)
			}
			if left := must(w.Secrets(t.Context(), "within"))(t); len(left) != 0 {
				t.Errorf("API keys are left: %+v", left)
			}
		})
	}
}

// hangingStore answers no write of a credential after the first, as a server that is gone does: the writer waits as long as it was told to.
type hangingStore struct {
	registry.Store
	first func()                    // after the first
	hangs func(ctx context.Context) // every other
	n     int
}

func (s *hangingStore) Update(ctx context.Context, bucket bus.Bucket, name, caller string, decide func(events.Entry) (bus.Decision, error)) (uint64, error) {
	if s.n++; s.n > 1 {
		s.hangs(ctx)
		return 0, bus.ErrUnknownOutcome
	}
	revision, err := s.Store.Update(ctx, bucket, name, caller, decide)
	s.first()
	return revision, err
}

// The credential is taken back also when the caller has gone, and that does not hold up everybody else for ever.
func TestTakingACredentialBackOutlivesTheCallerAndHasAnEnd(t *testing.T) {
	for name, add := range map[string]func(ctx context.Context, r *registry.Registry, caller registry.Caller) error{
		"key": func(ctx context.Context, r *registry.Registry, caller registry.Caller) error {
			_, err := r.AddKey(ctx, caller, "within", registry.KeySpec{})
			return err
		},
		"API key": func(ctx context.Context, r *registry.Registry, caller registry.Caller) error {
			_, err := r.AddSecret(ctx, caller, "within", time.Time{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			caller := w.admin(adminScopes)
			w.ok(w.CreateClient(t.Context(), alice, "within", registry.ClientSpec{Audience: []string{"https://billing"}}))
			ctx, leave := context.WithCancel(t.Context())
			hung := false
			other := w.join(func(s registry.Store) registry.Store {
				return &hangingStore{Store: s, first: leave, hangs: func(ctx context.Context) {
					end, bounded := ctx.Deadline()
					if left := time.Until(end); ctx.Err() != nil || !bounded || left > 10*time.Second {
						t.Errorf("it is taken back for %s (%v), %v", left, bounded, ctx.Err())
					}
					hung = true
				}}
			})
			wantError(t, add(ctx, other.Registry, caller), bus.ErrUnknownOutcome, "could not be taken back")
			if !hung {
				t.Fatal("nothing was taken back: the test proves nothing")
			}
		})
	}
}
