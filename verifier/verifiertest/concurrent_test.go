package verifiertest_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/verifiertest"
)

// A handler goes on verifying while the test changes everything. Under the race detector this finds what is not guarded; without it, that
// a change holds from when its method has returned.
func TestEverythingMayHappenWhileAHandlerVerifies(t *testing.T) {
	kit := newKit(t)
	v := kit.Verifier()
	steady := kit.Client("steady").Token(verifiertest.TTL(time.Hour))
	stop := make(chan struct{})
	var handlers, tests sync.WaitGroup
	for range 2 {
		handlers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// It lives for an hour, and the clock goes forward by less: nothing else may happen to it than to be undecided.
				if _, err := v.Verify(steady); err != nil && !errors.Is(err, verifier.ErrUndecided) {
					t.Errorf("somebody else's token: %v", err)
					return
				}
				v.Status()
			}
		})
	}
	for i := range 4 {
		tests.Go(func() {
			for j := range 10 {
				client := kit.Client(events.Name(fmt.Sprintf("client-%d-%d", i, j)))
				byKey, byID, byClient := client.Token(), client.OnlineToken(), client.OnlineToken()
				refused := func(what, token string) {
					if _, err := v.Verify(token); err == nil {
						t.Errorf("accepted after %s", what)
					}
				}
				kit.RevokeKey(client)
				refused("its key was revoked", byKey)
				kit.RevokeToken(byID)
				refused("it was revoked", byID)
				kit.Disable(client)
				refused("its client was disabled", byClient)
				kit.Advance(time.Second)
				kit.GoStale()
				kit.GoFresh()
			}
		})
	}
	tests.Wait()
	close(stop)
	handlers.Wait()
	expect(t, v, steady, accepted)
}

// The clock is put forward by more than MaxStaleness while a token is judged, and contact was never lost.
func TestAnAdvanceInTheMiddleOfAVerificationMakesNothingStale(t *testing.T) {
	var kit *verifiertest.Kit
	var asked int
	kit = verifiertest.New(t, verifier.Config{Now: func() time.Time {
		if kit != nil {
			asked++
			kit.Advance(2 * time.Hour)
		}
		return time.Unix(1_790_000_000, 0)
	}})
	if _, err := kit.Verifier().Verify("a.b.c"); errors.Is(err, verifier.ErrUndecided) || asked == 0 {
		t.Errorf("it says %v after %d advances", err, asked)
	}
}
