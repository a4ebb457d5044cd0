package refresh

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// churn answers with n keys that are always other ones, under the same kids.
func churn(t *testing.T, n int) func() (document, error) {
	return func() (document, error) {
		var keys []string
		for i := range n {
			public, _, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Error(err)
			}
			keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q,"kid":"k%d"}`, base64.RawURLEncoding.EncodeToString(public), i))
		}
		return document{body: jwks(keys...), life: mostLife}, nil
	}
}

// storm reports a made-up kid of evil as often as it is listened to.
func (w *world) storm(d time.Duration) {
	for i := range int(d / forcedEvery) {
		w.report("evil", events.KeyID(fmt.Sprint("x", i)))
		time.Sleep(forcedEvery)
	}
}

// writes is how often KEYS was written, the issuer's record not counted.
func (w *world) writes() int {
	all := w.keys.Retained()
	return int(all[len(all)-1].Revision) - 1
}

func TestI21_AnIssuerCannotRewriteItsKeysWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer("evil", churn(t, maxKeys))
		r := w.registered("a")
		start(t, r)
		time.Sleep(time.Second)
		w.storm(10 * time.Minute)
		if n := w.writes(); n != maxNewKeys {
			t.Errorf("%d keys were written in ten minutes of %d fetches, want %d", n, r.Status().Fetches, maxNewKeys)
		}
		if s := r.Status().Issuers[0]; !strings.Contains(s.LastError, "50 new ones, or other ones") {
			t.Errorf("status is %+v", s)
		}
		time.Sleep(newKeysPer)
		if n := w.writes() - maxNewKeys; n == 0 || n > maxNewKeys+maxKeys {
			t.Errorf("%d keys were written the next day", n)
		}
	})
}

func TestI21_AnIssuerGetsNoMoreOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer("evil", churn(t, maxKeys))
		for i := range 5 {
			r := w.registered(fmt.Sprint("node", i))
			stop := start(t, r)
			time.Sleep(time.Second)
			w.storm(2 * time.Minute)
			if !r.Status().Holding {
				t.Fatal("the node does not refresh")
			}
			stop()
		}
		if n := w.writes(); n != maxNewKeys {
			t.Errorf("%d keys were written by five nodes in ten minutes, want %d", n, maxNewKeys)
		}
	})
}

// What another node has left is believed as far as it can be true, and it is waited for.
func TestI21_TheBudgetThatWasLeft(t *testing.T) {
	for _, r := range []struct {
		name  string
		state string
		fault error
		want  int // keys that are written in ten minutes; afterwards it goes on
	}{
		{"nothing", "", nil, maxNewKeys},
		{"garbage", "garbage", nil, maxNewKeys},
		{"the distant past", `{"spent_until":-9007199254740991}`, nil, maxNewKeys},
		{"the distant future", `{"spent_until":9007199254740991}`, nil, 0},
		{"no answer", "", bus.ErrUnreachable, 0},
	} {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if r.state != "" {
					w.store.Write(StateRecord("evil"), r.state)
				}
				w.issuer("evil", churn(t, 25))
				refresher := w.registered("a")
				refresher.cfg.Store = &deafStore{w.store, r.fault}
				start(t, refresher)
				time.Sleep(time.Second)
				w.storm(10 * time.Minute)
				if n := w.writes(); n < r.want || n > r.want+4 {
					t.Errorf("%d keys were written, want %d", n, r.want)
				}
				time.Sleep(newKeysPer)
				if n := w.writes(); r.fault == nil && n <= r.want {
					t.Errorf("a day later it is %d", n)
				}
			})
		})
	}
}

// deafStore cannot read states.
type deafStore struct {
	memory
	deaf error
}

func (s *deafStore) Get(ctx context.Context, bucket bus.Bucket, name string) (events.Entry, error) {
	if s.deaf != nil && name != leaseName {
		return events.Entry{}, s.deaf
	}
	return s.memory.Get(ctx, bucket, name)
}

func TestI21_AWriteThatFailedHalfwayIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer("evil", churn(t, maxKeys))
		w.keys.SetFaults(eventstest.Faults{Write: func(p bus.Put) (bool, error) {
			if p.Name == "key.evil.k49" {
				return false, bus.ErrUnreachable
			}
			return true, nil
		}})
		start(t, w.registered("a"))
		time.Sleep(time.Second)
		w.storm(10 * time.Minute)
		if n := w.writes(); n < 49 || n > maxNewKeys {
			t.Errorf("%d keys were written, want up to %d", n, maxNewKeys)
		}
	})
}
