package admin

import (
	"fmt"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/keyherald/keyherald/events"
)

// throttle bounds the writes of each caller, whatever becomes of them. What takes something away (DELETE) is never turned away: who
// revokes is in a hurry, and there is no more to revoke than was added.
type throttle struct {
	callers *lru.Cache[events.Name, *rate.Limiter]
}

func newThrottle() (*throttle, error) {
	callers, err := lru.New[events.Name, *rate.Limiter](throttleMemory)
	if err != nil {
		return nil, err
	}
	return &throttle{callers}, nil
}

// check counts a request, and returns the answer to one too many.
func (t *throttle) check(method string, caller events.Name, now time.Time) error {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete:
		return nil
	}
	limiter, ok := t.callers.Get(caller)
	if !ok { // two requests at the same time may each make one; one of them counts
		limiter = rate.NewLimiter(rate.Every(writeRate), writeBurst)
		t.callers.Add(caller, limiter)
	}
	if limiter.AllowN(now, 1) {
		return nil
	}
	wait := max(time.Duration((1-limiter.TokensAt(now))*float64(writeRate)), time.Nanosecond)               // not zero: that would not be said
	p := newProblem(http.StatusTooManyRequests, "too-many-requests", "The caller changes too much at once", // RFC 6585 §4
		fmt.Sprintf("more than %d changes, and then one in %s, are too many: try again in %d seconds; DELETE has no limit", writeBurst, writeRate, wholeSeconds(wait)))
	p.retryAfter = wait
	return p
}

// wholeSeconds rounds up: who comes back then has waited long enough.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
