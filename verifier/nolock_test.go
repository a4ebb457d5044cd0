package verifier_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// patience is how long a test waits for what must happen, on a machine that may be busy with other things.
const patience = 30 * time.Second

// P1: while a writer holds the locks of both sets, in the middle of a change, every kind of token is decided.
func TestP1_VerifyTakesNoLockThatAWriterHolds(t *testing.T) {
	var holding sync.WaitGroup
	block := make(chan struct{})
	var armed atomic.Bool
	f := newFeed(t, func(events.Change) {
		if armed.Load() {
			holding.Done()
			<-block
		}
	})
	f.fill()
	v, tokens := f.verifier(), doubts(t)
	rows := []row{
		{"online", online(t, onlineClaims), accepted},
		{"offline", offline(t, offlineClaims), accepted},
		{"external", external(t, externalClaims), accepted},
		{"no token", "garbage", verifier.ReasonMalformed},
		{"forged", tokens.forged, verifier.ReasonSignature},
		{"unknown issuer", tokens.unknownIssuer, verifier.ReasonIssuer},
		{"unknown key", tokens.unknownKey, verifier.ReasonKey},
		{"unknown client", tokens.unknownClient, verifier.ReasonClient},
		{"revoked", offline(t, offlineClaims.with("jti", `"gone"`)), verifier.ReasonRevoked},
	}
	f.revokeToken(events.TokenByID(ordersURL, "gone"), "")
	for i := 0; v.Stats().KeyTables == 0; i++ { // that of orders
		expect(t, v, offline(t, offlineClaims.with("jti", fmt.Sprintf(`"%d"`, i))), accepted)
	}

	armed.Store(true)
	holding.Add(2)
	var writers sync.WaitGroup
	writers.Go(func() {
		f.keys.Load().Apply(events.Entry{Name: "revoked.orders.k9", Revision: f.revision + 1, Time: now})
	})
	writers.Go(func() {
		f.revocations.Apply(events.Entry{Name: events.TokenByID("i", "j").String(), Revision: f.revision + 1, Time: now}, now)
	})
	holding.Wait()
	// These do take the locks: that they wait shows that the locks are held.
	var waiting sync.WaitGroup
	listed := make(chan string, 2)
	waiting.Go(func() { f.keys.Load().Rejected(); listed <- "keys" })
	waiting.Go(func() { f.revocations.Malformed(); listed <- "revocations" })

	decided := make(chan struct{})
	go func() {
		defer close(decided)
		before := v.Stats().CacheHits
		for range 2 { // the second time from the cache
			for _, r := range rows {
				if _, err := v.Verify(r.token); reasonOf(err) != r.want {
					t.Errorf("%s: %v", r.name, err)
				}
			}
		}
		if hits := v.Stats().CacheHits - before; hits != 3 {
			t.Errorf("%d tokens came from the cache", hits)
		}
	}()
	select {
	case <-decided:
	case <-time.After(patience):
		t.Error("Verify waits for a lock that a writer holds")
	}
	select {
	case which := <-listed:
		t.Errorf("the lock of the %s was not held: this test shows nothing", which)
	default:
	}
	close(block)
	writers.Wait()
	waiting.Wait()
	<-decided
}

func reasonOf(err error) verifier.Reason {
	if err == nil {
		return accepted
	}
	return err.(*verifier.Error).Reason
}
