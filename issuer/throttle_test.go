package issuer

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
)

// from sends a request from an address.
func (f *fixture) from(address string, r *http.Request) answer {
	f.t.Helper()
	r.RemoteAddr = address
	return f.token(r)
}

func wrongKey(client events.Name) *http.Request {
	return tokenRequestWith("grant_type", "client_credentials", "client_secret", events.NewAPIKey(client).Reveal())
}

// retryAfter is what the answer says, which must be a number of seconds above zero.
func (a answer) retryAfter(t *testing.T) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || n <= 0 {
		t.Errorf("Retry-After %q with status %d", a.header.Get("Retry-After"), a.status)
	}
	return time.Duration(n) * time.Second
}

func TestI13_AnAddressThatFailsTooOftenIsToldToWaitAndItsGoodClientsAreNot(t *testing.T) {
	for name, c := range map[string]struct{ address, same, other string }{
		"IPv4": {"192.0.2.7:1000", "192.0.2.7:2000", "192.0.2.8:1000"},
		"IPv6": {"[2001:db8::1]:1000", "[2001:db8::ffff:2]:1000", "[2001:db8:0:1::1]:1000"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				for i := range addressBurst {
					if a := f.from(c.address, wrongKey(events.Name(fmt.Sprintf("c%d", i)))); a.status != http.StatusUnauthorized {
						t.Fatalf("failure %d: status %d", i+1, a.status)
					}
				}
				limited := f.from(c.same, wrongKey("last"))
				if limited.status != http.StatusTooManyRequests || limited.Error != "temporarily_unavailable" {
					t.Errorf("after too many failures: status %d, %s", limited.status, limited.Error)
				}
				if a := f.from(c.other, wrongKey("another")); a.status != http.StatusUnauthorized {
					t.Errorf("from another address: status %d", a.status)
				}
				if a := f.from(c.same, f.withKey()); a.status != http.StatusOK {
					t.Errorf("a good client at the same address: status %d", a.status)
				}
				time.Sleep(limited.retryAfter(t))
				if a := f.from(c.address, wrongKey("later")); a.status != http.StatusUnauthorized {
					t.Errorf("after the wait: status %d", a.status)
				}
			})
		})
	}
}

func TestI13_AnAddressThatFloodsIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for range floodBurst {
			f.from("192.0.2.7:1", wrongKey("orders"))
		}
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]*http.Request{"assertion": withAssertion(assertion), "grant": withGrant(f.signed(nil))} {
			blocked := f.from("192.0.2.7:1", r)
			if blocked.status != http.StatusTooManyRequests {
				t.Errorf("%s: status %d", name, blocked.status)
			}
			blocked.retryAfter(t)
		}
		if a := f.from("192.0.2.8:1", f.withKey()); a.status != http.StatusOK {
			t.Errorf("another address: status %d", a.status)
		}
		time.Sleep(time.Second)
		if a := f.from("192.0.2.7:1", withAssertion(assertion)); a.status != http.StatusOK {
			t.Errorf("a second later, and the assertion was not used up: status %d, %s", a.status, a.Description)
		}
	})
}

// A proxy may have sent a request twice: the client has proved itself once.
func TestI13_AnAssertionThatWasUsedBeforeIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		f.granted(withAssertion(assertion))
		for range addressBurst + 1 {
			if a := f.token(withAssertion(assertion)); a.status != http.StatusUnauthorized {
				t.Fatalf("status %d: %s", a.status, a.Description)
			}
		}
	})
}

func TestI18_WhoRevokesTooManyTokensHasToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startParties(t)
		for range revokeBurst {
			if status := p.revokeBy("orders", p.offline(0, false)); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
		}
		last := p.offline(0, false)
		if status := p.revokeBy("orders", last); status != http.StatusTooManyRequests || !p.verifies(last) {
			t.Errorf("status %d", status)
		}
		if status := p.revokeBy("billing", last); status != http.StatusOK || p.verifies(last) {
			t.Errorf("by another client: status %d", status)
		}
		time.Sleep(time.Second)
		if status := p.revokeBy("orders", p.offline(0, false)); status != http.StatusOK {
			t.Errorf("after a while: status %d", status)
		}
	})
}

// The client itself must not be shut out by those who guess.
func TestI13_AClientThatIsAttackedStillGetsItsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, client := range []events.Name{"orders", "nobody"} {
			for i := range clientBurst + 5 {
				want := http.StatusUnauthorized
				if i >= clientBurst {
					want = http.StatusTooManyRequests
				}
				a := f.from(fmt.Sprintf("198.51.100.%d:1", i), wrongKey(client))
				if a.status != want {
					t.Fatalf("%s, failure %d: status %d, want %d", client, i+1, a.status, want)
				}
				if want == http.StatusTooManyRequests && a.retryAfter(t) > clientEvery {
					t.Errorf("Retry-After %v", a.retryAfter(t))
				}
			}
		}
		if a := f.from("203.0.113.1:1", f.withKey()); a.status != http.StatusOK {
			t.Errorf("the client's own key: status %d", a.status)
		}
		time.Sleep(clientEvery)
		if a := f.from("203.0.113.1:1", wrongKey("orders")); a.status != http.StatusUnauthorized {
			t.Errorf("after a while: status %d", a.status)
		}
	})
}

func TestOnlyFailedAuthenticationsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for range 3 * addressBurst {
			for _, r := range []*http.Request{f.withKey(), f.withKey("scope", "admin"), tokenRequestWith("grant_type", "password"), tokenRequestWith("a", "b", "a", "b")} {
				if a := f.token(r); a.status == http.StatusTooManyRequests {
					t.Fatalf("status %d: %s", a.status, a.Description)
				}
			}
		}
	})
}

func TestWhatIsRememberedOfFailuresIsBounded(t *testing.T) {
	throttle, err := newThrottle()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 2 * throttleMemory {
		throttle.failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), events.Name(fmt.Sprintf("c%d", i)), now)
	}
	if a, c := throttle.addresses.Len(), throttle.clients.Len(); a != throttleMemory || c != throttleMemory {
		t.Errorf("%d addresses and %d clients", a, c)
	}
	for range floodBurst { // what is no address is one, too
		throttle.failed("@", "", now)
	}
	if throttle.blocked("@", now) == 0 || throttle.blocked("", now) == 0 || throttle.blocked("10.9.9.9", now) != 0 {
		t.Error("an address that is none is not limited")
	}
	if answer := new(Node).countFailure("", &clientauth.Error{Code: clientauth.InvalidRequest}, errTokenSize, now); answer != errTokenSize {
		t.Error("a malformed request counts")
	}
}
