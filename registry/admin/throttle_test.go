package admin

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// turnedAway is what a caller is told to wait; zero: the request goes on.
func turnedAway(t *testing.T, throttle *throttle, method string, now time.Time) time.Duration {
	t.Helper()
	err := throttle.check(method, "sc_admin", now)
	if err == nil {
		return 0
	}
	var p *problem
	if !errors.As(err, &p) || p.Status != http.StatusTooManyRequests || p.retryAfter <= 0 {
		t.Fatalf("%s: %v", method, err)
	}
	return p.retryAfter
}

func TestACallerThatWritesTooOftenWaitsAndGoesOn(t *testing.T) {
	throttle, err := newThrottle()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range writeBurst {
		if wait := turnedAway(t, throttle, []string{http.MethodPost, http.MethodPut}[i%2], now); wait != 0 {
			t.Fatalf("write %d has to wait %s", i, wait)
		}
	}
	wait := turnedAway(t, throttle, http.MethodPost, now)
	if wait == 0 || wait > writeRate {
		t.Fatalf("one more has to wait %s", wait)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
		for range 2 * writeBurst {
			if wait := turnedAway(t, throttle, method, now); wait != 0 {
				t.Fatalf("%s has to wait %s", method, wait)
			}
		}
	}
	if turnedAway(t, throttle, "PATCH", now) == 0 {
		t.Error("a method that is not there yet has no limit")
	}
	if err := throttle.check(http.MethodPost, "sc_other", now); err != nil {
		t.Errorf("another caller: %v", err)
	}
	now = now.Add(wait)
	if wait := turnedAway(t, throttle, http.MethodPost, now); wait != 0 {
		t.Errorf("who has waited has to wait %s", wait)
	}
	if turnedAway(t, throttle, http.MethodPost, now) == 0 {
		t.Error("a second one does not wait")
	}
	for range 5 { // a second's
		now = now.Add(writeRate)
		if wait := turnedAway(t, throttle, http.MethodPost, now); wait != 0 {
			t.Errorf("one in %s has to wait %s", writeRate, wait)
		}
	}
}
