package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
)

// throttle bounds the authentications that may fail, for each address and for each client that they claim to come from.
//
// Over its limit, a bad credential is answered with 429 in place of 401; a good one is accepted at any time. Whoever knows a client's name, or shares
// its address, could lock it out otherwise. Only an address that fails at a rate at which the computing itself does harm is turned away
// before anything is computed for it.
type throttle struct {
	addresses *lru.Cache[netip.Prefix, *failures]
	clients   *lru.Cache[events.Name, *rate.Limiter]
	revokers  *lru.Cache[events.Name, *rate.Limiter] // clients that revoke tokens
}

// failures are the limits of an address: for the answer, and for being heard at all.
type failures struct{ answered, heard *rate.Limiter }

func newThrottle() (*throttle, error) {
	addresses, err := lru.New[netip.Prefix, *failures](throttleMemory)
	if err != nil {
		return nil, err
	}
	clients, err := lru.New[events.Name, *rate.Limiter](throttleMemory)
	if err != nil {
		return nil, err
	}
	revokers, err := lru.New[events.Name, *rate.Limiter](throttleMemory)
	if err != nil {
		return nil, err
	}
	return &throttle{addresses, clients, revokers}, nil
}

// blocked returns how long requests from an address are turned away; zero: not now.
func (t *throttle) blocked(address string, now time.Time) time.Duration {
	limits, ok := t.addresses.Get(network(address))
	if !ok {
		return 0
	}
	return untilToken(limits.heard, now)
}

// failed counts an authentication that has failed, and returns for how long there should be no other from that address or of that client;
// zero: it is within the limits. The client need not exist.
func (t *throttle) failed(address string, client events.Name, now time.Time) time.Duration {
	limits := valueOf(t.addresses, network(address), func() *failures {
		return &failures{rate.NewLimiter(rate.Every(addressEvery), addressBurst), rate.NewLimiter(floodRate, floodBurst)}
	})
	limits.heard.AllowN(now, 1)
	wait := take(limits.answered, now)
	if client != "" {
		limiter := valueOf(t.clients, client, func() *rate.Limiter { return rate.NewLimiter(rate.Every(clientEvery), clientBurst) })
		wait = max(wait, take(limiter, now))
	}
	return wait
}

// revoked counts a revocation by a client, and returns how long it has to wait for it; zero: it need not.
func (t *throttle) revoked(client events.Name, now time.Time) time.Duration {
	return take(valueOf(t.revokers, client, func() *rate.Limiter { return rate.NewLimiter(revokeRate, revokeBurst) }), now)
}

// take takes something off a limit, or returns how long it is until that can be done.
func take(limiter *rate.Limiter, now time.Time) time.Duration {
	if limiter.AllowN(now, 1) {
		return 0
	}
	return untilToken(limiter, now)
}

// valueOf returns the value of a key. Two requests that miss at the same time may each make one; one of them counts.
func valueOf[K comparable, V any](cache *lru.Cache[K, V], key K, make func() V) V {
	value, ok := cache.Get(key)
	if !ok {
		value = make()
		cache.Add(key, value)
	}
	return value
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

// checkAddress turns a request away whose address floods us. It is asked when the body has been read: a body may take its time.
func (n *Node) checkAddress(address string, now time.Time) error {
	wait := n.throttle.blocked(address, now)
	if wait == 0 {
		return nil
	}
	return tooMany("too many failed authentications from this address", wait)
}

// countFailure counts a failed authentication, and returns the answer to it. An assertion that was used before is none: the client has
// proved itself once, and a proxy may have repeated its request.
func (n *Node) countFailure(address string, auth *clientauth.Error, answer *oauthError, now time.Time) *oauthError {
	if auth.Code != clientauth.InvalidClient && auth.Code != clientauth.InvalidGrant || errors.Is(auth, clientauth.ErrReplayed) {
		return answer
	}
	wait := n.throttle.failed(address, auth.Claimed, now)
	if wait == 0 {
		return answer
	}
	limited := tooMany("too many failed authentications from this address or of this client", wait)
	limited.reason += ", the last: " + auth.Reason
	return limited
}

func tooMany(what string, wait time.Duration) *oauthError {
	// RFC 6749 has no code for this; RFC 6585 §4 has the status.
	return &oauthError{
		Code: string(clientauth.Unavailable), Description: fmt.Sprintf("%s: try again in %d seconds", what, wholeSeconds(wait)), reason: what,
		status: http.StatusTooManyRequests, retryAfter: wait,
	}
}

// wholeSeconds rounds up: who comes back then has waited long enough.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
