package issuer

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

func TestALeaseIsTwoHoursWithNoBeginningAndKeptForAnHourMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := startReady(t)
		written := f.bucket.leases()
		kid, key := written[0].key(t)
		if thumbprint, _ := events.Thumbprint(key.Public); string(kid) != thumbprint {
			t.Errorf("kid %s is not the thumbprint %s", kid, thumbprint)
		}
		if key.Algorithm != events.EdDSA || key.NotBefore != 0 || key.IssuedAt != start.Unix() {
			t.Errorf("record %+v", key)
		}
		if want := start.Add(2 * time.Hour).Unix(); key.Expires != want {
			t.Errorf("exp %d, want %d", key.Expires, want)
		}
		if written[0].ttl != 3*time.Hour {
			t.Errorf("the bucket keeps it for %v, want 3 h", written[0].ttl)
		}
	})
}

func TestALeaseIsRenewedEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		time.Sleep(time.Hour)
		written := f.bucket.leases()
		if len(written) != 7 {
			t.Errorf("%d writes in an hour, want 7", len(written))
		}
		first, _ := written[0].key(t)
		var before int64
		for _, m := range written {
			kid, key := m.key(t)
			if kid != first || key.Expires <= before {
				t.Errorf("lease of %s until %d does not follow the one of %s until %d", kid, key.Expires, first, before)
			}
			before = key.Expires
		}
	})
}

func TestALeaseThatCannotBeRenewedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		kid := f.kid()
		var mu sync.Mutex
		var attempts []time.Time
		f.bucket.mu.Lock()
		f.bucket.fault = func(events.KeyID) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, time.Now())
			return false, errors.New("no responders")
		}
		f.bucket.mu.Unlock()
		time.Sleep(2 * time.Hour)
		if f.node.Ready() == nil {
			t.Error("ready, though the lease has ended")
		}
		mu.Lock()
		for i := 1; i < len(attempts); i++ {
			if wait := attempts[i].Sub(attempts[i-1]); wait < retryFirst/2 || wait > retryMost+time.Second {
				t.Errorf("attempt %d after %v", i, wait)
			}
		}
		if n := len(attempts); n < 100 || n > 500 {
			t.Errorf("%d attempts in 110 minutes", n)
		}
		mu.Unlock()
		if n := len(linesOf(t, f.log, "lease not written")); n != len(attempts) {
			t.Errorf("%d lines in the log for %d attempts", n, len(attempts))
		}
		f.bucket.mu.Lock()
		f.bucket.fault = nil
		f.bucket.mu.Unlock()
		time.Sleep(retryMost + time.Second)
		if err := f.node.Ready(); err != nil {
			t.Errorf("not ready after NATS came back: %v", err)
		}
		if f.kid() != kid {
			t.Error("the key was changed, though nobody else wrote its record")
		}
	})
}

func TestAWriteWhoseAnswerGotLostIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		n := 0
		f.bucket.fault = func(events.KeyID) (bool, error) {
			n++
			if n <= 3 {
				return true, errors.New("timeout") // it took effect
			}
			return true, nil
		}
		f.start()
		time.Sleep(2 * time.Second)
		kid := f.kid()
		time.Sleep(time.Hour)
		if f.kid() != kid {
			t.Error("the key was changed")
		}
		if got := len(f.bucket.leases()); got != 7 {
			t.Errorf("%d writes in an hour, want 7", got)
		}
		if err := f.node.Ready(); err != nil {
			t.Error(err)
		}
	})
}
