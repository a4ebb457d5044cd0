package issuer

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
)

// throttle bounds the authentications that may fail, for each address and for each client that they claim to come from.
//
// An address over its limit is turned away before anything is computed for it. A client is not: whoever knows its name could lock it out. Its
// good credentials are accepted at any time, and a bad one is answered with 429 in place of 401.
type throttle struct {
	addresses *lru.Cache[netip.Prefix, *rate.Limiter]
	clients   *lru.Cache[events.Name, *rate.Limiter]
}

func newThrottle() (*throttle, error) {
	addresses, err := lru.New[netip.Prefix, *rate.Limiter](throttleMemory)
	if err != nil {
		return nil, err
	}
	clients, err := lru.New[events.Name, *rate.Limiter](throttleMemory)
	if err != nil {
		return nil, err
	}
	return &throttle{addresses, clients}, nil
}

// blocked returns how long requests from an address are turned away; zero: not now.
func (t *throttle) blocked(address string, now time.Time) time.Duration {
	limiter, ok := t.addresses.Get(network(address))
	if !ok {
		return 0
	}
	return untilToken(limiter, now)
}

// failed counts an authentication that has failed, and returns for how long there should be no other of that client; zero: it
// is within the limit. The client need not exist.
func (t *throttle) failed(address string, client events.Name, now time.Time) time.Duration {
	limiterOf(t.addresses, network(address), addressRate, addressBurst).AllowN(now, 1)
	if client == "" {
		return 0
	}
	limiter := limiterOf(t.clients, client, clientRate, clientBurst)
	if limiter.AllowN(now, 1) {
		return 0
	}
	return untilToken(limiter, now)
}

// limiterOf returns the limiter of a key. Two requests that miss at the same time may each make one; one of them counts.
func limiterOf[K comparable](cache *lru.Cache[K, *rate.Limiter], key K, every time.Duration, burst int) *rate.Limiter {
	limiter, ok := cache.Get(key)
	if !ok {
		limiter = rate.NewLimiter(rate.Every(every), burst)
		cache.Add(key, limiter)
	}
	return limiter
}

// untilToken returns how long it is until the limiter allows something again.
func untilToken(limiter *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(limiter.Limit()) * float64(time.Second))
}

// network is what counts as one address: a host of IPv4, a /64 of IPv6, of which one host can have every address. What is not an
// address counts as one, too.
func network(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil { // not with these bits
		return netip.Prefix{}
	}
	return prefix
}

// checkAddress turns a request away whose address has failed too often.
func (n *Node) checkAddress(address string, now time.Time) error {
	wait := n.throttle.blocked(address, now)
	if wait == 0 {
		return nil
	}
	return tooManyFailures("too many failed authentications from this address", wait)
}

// countFailure counts a failed authentication, and returns the answer to it.
func (n *Node) countFailure(address string, auth *clientauth.Error, answer *oauthError, now time.Time) *oauthError {
	if auth.Code != clientauth.InvalidClient && auth.Code != clientauth.InvalidGrant {
		return answer
	}
	wait := n.throttle.failed(address, auth.Claimed, now)
	if wait == 0 {
		return answer
	}
	limited := tooManyFailures("too many failed authentications of this client", wait)
	limited.reason += ", the last: " + auth.Reason
	return limited
}

func tooManyFailures(what string, wait time.Duration) *oauthError {
	// RFC 6749 has no code for this; RFC 6585 §4 has the status.
	return &oauthError{
		Code: string(clientauth.Unavailable), Description: fmt.Sprintf("%s: try again in %s seconds", what, strconv.Itoa(wholeSeconds(wait))), reason: what,
		status: http.StatusTooManyRequests, retryAfter: wait,
	}
}

// wholeSeconds rounds up: who comes back then has waited long enough.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
