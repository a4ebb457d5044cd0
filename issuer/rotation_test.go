package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier"
)

// lateFeed is the set of a verifier which every change reaches late. It says of itself that it is complete, as a real one does that
// has just asked.
type lateFeed struct {
	set     *events.Set
	revoked *events.Revocations
}

func (f *lateFeed) Keys() *events.Set                { return f.set }
func (f *lateFeed) Revocations() *events.Revocations { return f.revoked }
func (f *lateFeed) Confirmed() time.Time             { return time.Now() }

// lateVerifier is a verifier which every change of the bucket reaches late, until the test ends.
func (f *fixture) lateVerifier(late time.Duration) *verifier.Verifier {
	f.t.Helper()
	feed := &lateFeed{events.NewSet(nil), events.NewRevocations(nil)}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() {
		for next := 0; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			f.bucket.mu.Lock()
			for ; next < len(f.bucket.log) && time.Since(f.bucket.log[next].entry.Time) >= late; next++ {
				feed.set.Apply(f.bucket.log[next].entry)
			}
			f.bucket.mu.Unlock()
		}
	})
	f.t.Cleanup(func() { cancel(); following.Wait() })
	v, err := verifier.New(verifier.Config{Audience: "https://billing"}, feed)
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// TestI20_NoTokenIsRefusedWhileKeysRotate has two nodes that rotate, are stopped and come back, and verifiers that are up to a settle time
// behind. Every token is verified at once, and again just before its end.
func TestI20_NoTokenIsRefusedWhileKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := func(c *Config) { c.KeyRotation, c.TokenTTL = MinKeyRotation, 5*time.Minute }
		f := startReady(t, fast)
		other := f.beside(fast)
		verifiers := map[string]*verifier.Verifier{}
		for _, late := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
			verifiers[fmt.Sprint(late, " late")] = f.lateVerifier(late)
		}
		time.Sleep(3 * time.Second)
		type issued struct {
			text string
			end  time.Time
		}
		var open []issued
		kids := map[string]bool{}
		check := func(when, text string) {
			for name, v := range verifiers {
				token, err := v.Verify(text)
				if err != nil {
					t.Fatalf("%s, the verifier that is %s: %v", when, name, err)
				}
				kids[string(token.KeyID)] = true
			}
		}
		for i := range 25 * 60 * 4 { // 25 minutes
			if i == 3000 { // one node stops and another takes its place; there was a request a moment ago
				other.stop()
			}
			node := f
			if i%2 == 1 && (i < 3000 || i >= 3040) {
				node = other
			}
			if i == 3020 {
				other = f.beside(fast)
			}
			a := node.token(node.withKey())
			if a.status != http.StatusOK {
				t.Fatalf("status %d: %s", a.status, a.Description)
			}
			check("at once", a.AccessToken)
			open = append(open, issued{a.AccessToken, time.Now().Add(5*time.Minute - time.Second)})
			for len(open) > 0 && !open[0].end.After(time.Now()) {
				check("at its end", open[0].text)
				open = open[1:]
			}
			time.Sleep(250 * time.Millisecond)
		}
		if len(kids) < 6 { // two rotations of one, one and a restart of the other
			t.Errorf("%d keys have signed: there was no rotation", len(kids))
		}
	})
}

func TestALeaseThatCannotBeRenewedStopsTheNodeBeforeItEnds(t *testing.T) {
	for name, failure := range map[string]error{
		"NATS is away":                      bus.ErrUnreachable,
		"the right to write it was revoked": fmt.Errorf("writing: %w", bus.ErrPermission),
	} {
		for kind, modify := range map[string]func(*Config){
			"own key": func(*Config) {}, "given key": withSigningKey(newPrivateKey(t)),
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := startReady(t, modify)
					v := f.lateVerifier(900 * time.Millisecond)
					kid := f.kid()
					end := time.Unix(f.leaseOf(kid).Expires, 0)
					f.bucket.setFault(func(events.KeyID) (bool, error) { return false, failure })
					issued, refused := 0, 0
					time.Sleep(time.Second)
					for time.Now().Before(end.Add(10 * time.Minute)) {
						switch a := f.token(f.withKey()); {
						case a.status == http.StatusOK:
							if refused > 0 {
								t.Fatal("a token after a refusal, though nothing has changed")
							}
							token, err := v.Verify(a.AccessToken)
							if err != nil || token.Expires.Add(time.Minute).After(end) {
								t.Fatalf("a token until %v, when the lease ends at %v: %v", token.Expires, end, err)
							}
							issued++
						case a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "":
							t.Fatalf("status %d, want 503 with Retry-After", a.status)
						case f.node.Ready() == nil:
							t.Fatal("refused, and ready")
						default:
							refused++
						}
						time.Sleep(time.Minute)
					}
					if issued < 100 || refused < 20 {
						t.Errorf("%d tokens, %d refusals", issued, refused)
					}
					f.bucket.setFault(nil)
					time.Sleep(retryMost + settleTime + time.Second)
					if token := f.granted(f.withKey()); token.Header.KeyID != string(kid) {
						t.Error("the key was changed")
					}
				})
			})
		}
	}
}

func TestACrashLeavesTheLeaseToEndByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		kid := f.kid()
		a := f.token(f.withKey())
		f.bucket.setFault(func(events.KeyID) (bool, error) { return false, errors.New("the node is dead") }) // nothing of it arrives any more
		f.stop()
		f.bucket.setFault(nil)
		v := f.lateVerifier(0)
		time.Sleep(15*time.Minute - time.Second)
		if _, err := v.Verify(a.AccessToken); err != nil {
			t.Errorf("its last token: %v", err)
		}
		time.Sleep(time.Until(time.Unix(f.leaseOf(kid).Expires, 0)))
		for name, set := range map[string]*events.Set{"live": f.bucket.Keys(), "fresh": f.bucket.fresh()} {
			if state := set.Key(events.Platform, kid).State(time.Now()); state != events.KeyExpired {
				t.Errorf("in a %s set its key is %s two hours later", name, state)
			}
		}
		time.Sleep(events.LeaseKeep)
		if f.bucket.fresh().Key(events.Platform, kid) != nil {
			t.Error("the bucket keeps the record for ever")
		}
	})
}
