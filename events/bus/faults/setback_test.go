//go:build linux

package faults_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestF_ClusterBucketIsRestoredOrMadeAgain(t *testing.T) {
	t.Parallel()
	setBack(t, eventstest.StartCluster(t))
}

func TestF_ServeBucketIsRestoredOrMadeAgain(t *testing.T) {
	t.Parallel()
	setBack(t, startServe(t))
}

// setBack lets KEYS lose a revocation, by a restore or altogether, and be written to again. What was seen revoked stays so, whoever
// looks at a verifier's log finds out, and everything else is as it is for a verifier that starts now.
func setBack(t *testing.T, c *eventstest.Cluster) {
	ways := []string{"restored", "made again"}
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			tr := begin(t, c, max(*oneSeed, 1), false)
			looking, blind := context.WithCancel(t.Context())
			defer blind()
			var watching sync.WaitGroup
			for _, w := range tr.watchers {
				w.lossy = true
				watching.Go(func() { w.run(looking) })
			}
			lose := tr.Backup(bus.Keys)
			if way == "made again" {
				lose = func() { tr.Recreate(bus.Keys) }
			}
			tr.revoke(0)
			for _, w := range tr.watchers {
				eventstest.Eventually(t, w.name+" knows that the key is revoked", func() bool { return w.state() == events.KeyRevoked.String() })
			}

			lose()
			for i := range tr.random.IntN(10) { // some of them, and the sequence is what it was
				name := events.KeyRecord(tr.client, events.KeyID(fmt.Sprint("k", i)))
				eventstest.Eventually(t, "it can be written to", func() bool { return tr.write(name, eventstest.KeyJSON(byte(i))) == nil })
			}
			tr.converge()
			blind()
			watching.Wait()
			for _, w := range tr.watchers {
				if w.look(); w.state() != events.KeyRevoked.String() {
					t.Errorf("%s has forgotten that the key is revoked: it is %s", w.name, w.state())
				}
				if !strings.Contains(w.log.String(), "the bucket has lost key revocations that were seen") {
					t.Errorf("%s does not say that a revocation is lost:\n%s", w.name, w.log.String())
				}
			}
		})
	}
}

// state is that of the key of the token.
func (w *watcher) state() string {
	e := w.set.Keys().Key(w.history.client, "token")
	if e == nil {
		return "unknown"
	}
	return e.State(time.Now()).String()
}

// converge waits until all verifiers have what one has that starts now.
func (tr *trial) converge() {
	t := tr.t
	t.Helper()
	now := time.Now()
	fresh := tr.Connect(bus.Verifier).FollowKeySet(bus.KeySetConfig{})
	defer fresh.Close()
	eventstest.Eventually(t, "a fresh verifier is up to date", func() bool { return fresh.Confirmed().After(now) })
	for _, w := range tr.watchers {
		eventstest.Eventually(t, w.name+" is up to date", func() bool { return w.set.Confirmed().After(now) })
		fresh.Keys().KeepRevocations(w.set.Keys())
		if have, want := eventstest.Describe(t, w.set.Keys()), eventstest.Describe(t, fresh.Keys()); have != want {
			t.Errorf("%s has\n%s\na fresh one has\n%s", w.name, have, want)
		}
	}
}
