package issuer

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

func TestACleanStopShortensTheLeaseToTheLastToken(t *testing.T) {
	tests := []struct {
		name   string
		tokens int
		after  time.Duration // from the last token to the stop
		want   time.Duration // from the stop to the end of the lease
	}{
		{"no token was issued", 0, 0, 0},
		{"a token has just been issued", 1, 0, 16 * time.Minute},
		{"the last token is half over", 3, 8 * time.Minute, 8 * time.Minute},
		{"the last token is over", 1, 30 * time.Minute, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				kid := f.kid()
				time.Sleep(33 * time.Minute)
				for range test.tokens {
					f.granted(f.withKey())
				}
				time.Sleep(test.after)
				f.stop()
				stopped := time.Now()
				if got := f.bucket.Keys().Key(events.Platform, kid).Record.Expires; got != stopped.Add(test.want).Unix() {
					t.Errorf("the lease ends %v after the stop, want %v", time.Unix(got, 0).Sub(stopped), test.want)
				}
				if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
					t.Errorf("status %d after the stop, want 503", a.status)
				}
				// A node that starts later has only what the bucket has kept. It must never see the longer lease again.
				for range 4 * 60 {
					live, fresh := f.bucket.Keys(), f.bucket.fresh()
					for name, set := range map[string]*events.Set{"live": live, "fresh": fresh} {
						usable := false
						if key := set.Key(events.Platform, kid); key != nil {
							usable = key.State(time.Now()).Usable()
						}
						if want := time.Since(stopped).Truncate(time.Second) < test.want; usable != want {
							t.Fatalf("%v after the stop a %s node has the key as usable: %v, want %v", time.Since(stopped), name, usable, want)
						}
					}
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

func TestALeaseIsNeverMadeLongerByStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, func(c *Config) { c.TokenTTL = time.Hour })
		f.bucket.put("issuer.orders", strings.Replace(ordersJSON, `"offline":true`, `"max_token_ttl":3600`, 1))
		kid := f.kid()
		f.bucket.mu.Lock()
		f.bucket.fault = func(events.KeyID) (bool, error) { return false, errors.New("no responders") }
		f.bucket.mu.Unlock()
		end := f.bucket.Keys().Key(events.Platform, kid).Record.Expires
		time.Sleep(time.Until(time.Unix(end-60-3600, 0)) + lookEvery/2) // not when the node looks at its lease
		f.granted(f.withKey())                                          // needs the lease to its last second
		f.bucket.mu.Lock()
		f.bucket.fault = nil
		f.bucket.mu.Unlock()
		writes := len(f.bucket.leases())
		f.stop()
		if n := len(f.bucket.leases()); n != writes {
			_, key := f.bucket.leases()[n-1].key(t)
			t.Errorf("a lease until %d was written over one until %d", key.Expires, end)
		}
	})
}

func TestAStopThatCannotReachNATSEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.bucket.mu.Lock()
		f.bucket.fault = func(events.KeyID) (bool, error) { return false, errors.New("no responders") }
		f.bucket.mu.Unlock()
		began := time.Now()
		f.stop()
		if took := time.Since(began); took > publishTimeout {
			t.Errorf("took %v", took)
		}
	})
}

func TestRunRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		if err := f.node.Run(t.Context()); err == nil {
			t.Error("a second Run returned no error")
		}
	})
}
