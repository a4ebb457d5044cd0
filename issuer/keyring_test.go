package issuer

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestANodeIsReadyASecondAfterItsKeyCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.hold()
		f.start()
		time.Sleep(5 * time.Second)
		if len(f.bucket.leases()) != 1 {
			t.Fatalf("%d leases were written, want 1", len(f.bucket.leases()))
		}
		if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("status %d before the key came back, want 503 with Retry-After", a.status)
		}
		f.bucket.release()
		time.Sleep(settleTime - time.Millisecond)
		if f.node.Ready() == nil {
			t.Error("ready before the key was known for a second")
		}
		time.Sleep(2*lookEvery + time.Millisecond)
		if err := f.node.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		f.granted(f.withKey())
	})
}

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

func TestATokenEndsAMinuteBeforeTheLeaseAsTheNodeSeesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		end := f.bucket.Keys().Key(events.Platform, f.kid()).Record.Expires
		f.bucket.hold() // renewals are acknowledged, but do not come back
		last := time.Unix(end-leaseMargin, 0).Add(-15 * time.Minute)
		time.Sleep(time.Until(last))
		if token := f.granted(f.withKey()); token.Claims.Expiry != end-60 {
			t.Errorf("exp %d, want %d", token.Claims.Expiry, end-60)
		}
		if err := f.node.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		time.Sleep(time.Second)
		if f.node.Ready() == nil {
			t.Error("ready, though a token would outlive the lease")
		}
		if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", a.status)
		}
		f.bucket.release()
		if err := f.node.Ready(); err != nil {
			t.Errorf("not ready after the renewals came: %v", err)
		}
	})
}

func TestAKeyCoversTokensToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		kid := f.kid()
		end := f.bucket.Keys().Key(events.Platform, kid).Record.Expires
		for _, test := range []struct {
			exp  int64
			want bool
		}{{end - 61, true}, {end - 60, true}, {end - 59, false}, {end, false}, {end + 1, false}} {
			if got := f.node.ring.acquire(f.bucket.Keys(), time.Now(), test.exp) != nil; got != test.want {
				t.Errorf("token that ends %d s before the lease: signed %v, want %v", end-test.exp, got, test.want)
			}
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
		if n := len(f.log.lines(t, "lease not written")); n != len(attempts) {
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

// lossCase is a way in which a node loses its key.
type lossCase struct {
	name   string
	happen func(f *fixture, kid events.KeyID)
}

func lossCases(t *testing.T) []lossCase {
	record := func(kid events.KeyID) string { return events.KeyRecord(events.Platform, kid).String() }
	return []lossCase{
		{"revoked for ever", func(f *fixture, kid events.KeyID) {
			f.bucket.put(events.RevokedRecord(events.Platform, kid).String(), `{"reason":"leaked"}`)
		}},
		{"revoked in its record", func(f *fixture, kid events.KeyID) {
			entry := f.bucket.Keys().Key(events.Platform, kid)
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: entry.Record.Public, Expires: entry.Record.Expires,
				Revoked: &events.KeyRevocation{RevokedAt: 1}}))
		}},
		{"removed", func(f *fixture, kid events.KeyID) { f.bucket.del(record(kid)) }},
		{"replaced by another key", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: newPrivateKey(t).Public(), Expires: time.Now().Add(2 * time.Hour).Unix()}))
		}},
		{"made unlimited by somebody else", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: f.bucket.Keys().Key(events.Platform, kid).Record.Public}))
		}},
		{"ended early by somebody else", func(f *fixture, kid events.KeyID) {
			f.bucket.put(record(kid), encodeKey(t, kid, events.Key{Public: f.bucket.Keys().Key(events.Platform, kid).Record.Public,
				Expires: time.Now().Add(15 * time.Minute).Unix()}))
		}},
		{"lost with the bucket's latest messages", func(f *fixture, kid events.KeyID) {
			f.bucket.swap(func(e events.Entry) bool { return e.Name != record(kid) })
		}},
	}
}

func TestANodeThatLostItsKeyStopsUsingItAndMakesAnother(t *testing.T) {
	for _, test := range lossCases(t) {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				kid := f.kid()
				f.granted(f.withKey())
				test.happen(f, kid)
				if key := f.node.ring.acquire(f.bucket.Keys(), time.Now(), time.Now().Add(15*time.Minute).Unix()); key != nil {
					t.Error("the key signs, though the node's set says that it is not good any more")
				}
				if a := f.token(f.withKey()); a.status != http.StatusServiceUnavailable {
					t.Errorf("status %d, want 503", a.status)
				}
				time.Sleep(settleTime + 4*lookEvery)
				if err := f.node.Ready(); err != nil {
					t.Fatalf("no new key: %v", err)
				}
				if token := f.granted(f.withKey()); token.Header.KeyID == string(kid) {
					t.Error("the new token has the old key")
				}
				if len(f.log.lines(t, "signing key lost: a new one will be made")) != 1 {
					t.Errorf("log: %s", f.log)
				}
			})
		})
	}
}

func TestAConflictOnTheNodesOwnLeaseMakesANewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		kid := f.kid()
		f.bucket.put(events.KeyRecord(events.Platform, kid).String(), "malformed") // changes nothing, but for the revision
		time.Sleep(9 * time.Minute)
		if f.kid() != kid {
			t.Error("a malformed record ended the key")
		}
		time.Sleep(2 * time.Minute)
		if f.kid() == kid {
			t.Error("the key is in use, though its lease cannot be renewed")
		}
		f.granted(f.withKey())
	})
}

func TestAKeyThatNeverArrivesIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.hold()
		f.start()
		time.Sleep(2 * time.Second)
		first, _ := f.bucket.leases()[0].key(t)
		// The bucket is restored to before the write; the node's set, which is confirmed complete, does not have it.
		f.bucket.mu.Lock()
		f.bucket.waiting = nil
		f.bucket.mu.Unlock()
		f.bucket.release()
		f.bucket.swap(func(e events.Entry) bool { return !strings.HasPrefix(e.Name, "key.platform.") })
		time.Sleep(lostAfter + 3*time.Second)
		if err := f.node.Ready(); err != nil {
			t.Fatal(err)
		}
		if f.kid() == first {
			t.Error("the lost key is in use")
		}
	})
}

func TestKeysThatAreAlwaysTakenAwayAreNotMadeWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.fault = func(events.KeyID) (bool, error) { return false, ErrConflict }
		f.start()
		time.Sleep(10 * time.Minute)
		if n := len(f.log.lines(t, "signing key lost: a new one will be made")); n < 15 || n > 60 {
			t.Errorf("%d keys were made in 10 minutes", n)
		}
	})
}

func TestRotationMakesBeforeItBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		old := f.kid()
		time.Sleep(24*time.Hour - 5*time.Second)
		var text string
		var lastOfOld int64
		changed := 0
		for range 200 { // 10 s
			token := f.token(f.withKey())
			if token.status != http.StatusOK {
				t.Fatalf("status %d during rotation", token.status)
			}
			parsed, err := verify(f.bucket.Keys(), token.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Header.KeyID == string(old) {
				if changed > 0 {
					t.Error("the old key signs after the new one has begun to")
				}
				text, lastOfOld = token.AccessToken, parsed.Claims.Expiry
			} else {
				changed++
			}
			time.Sleep(50 * time.Millisecond)
		}
		if changed == 0 {
			t.Fatal("no new key within 10 s")
		}
		if got := f.bucket.Keys().Key(events.Platform, old).Record.Expires; got != lastOfOld+60 {
			t.Errorf("the old key's lease ends %d s after its last token, want 60", got-lastOfOld)
		}
		time.Sleep(time.Until(time.Unix(lastOfOld-1, 0)))
		if _, err := verify(f.bucket.Keys(), text); err != nil {
			t.Errorf("the last token of the old key does not verify until its end: %v", err)
		}
		for _, m := range f.bucket.leases() {
			if kid, key := m.key(t); kid == old && key.Expires > lastOfOld+60+int64(leaseLife/time.Second) {
				t.Error("the old key's lease was renewed after its retirement")
			}
		}
	})
}

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
		time.Sleep(time.Until(time.Unix(end-60-3600, 0)))
		f.granted(f.withKey()) // needs the lease to its last second
		f.bucket.mu.Lock()
		f.bucket.fault = nil
		f.bucket.mu.Unlock()
		writes := len(f.bucket.leases())
		f.stop()
		if n := len(f.bucket.leases()); n != writes {
			if _, key := f.bucket.leases()[n-1].key(t); key.Expires > end {
				t.Errorf("the lease was made %d s longer", key.Expires-end)
			}
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

func TestNoRequestIsRefusedDuringRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, func(c *Config) { c.KeyRotation = minRotation })
		var workers sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			workers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					a := f.token(f.withKey())
					if a.status != http.StatusOK {
						t.Errorf("status %d: %s", a.status, a.Description)
						return
					}
					if _, err := jws.Parse(a.AccessToken); err != nil {
						t.Error(err)
					}
					time.Sleep(997 * time.Millisecond)
				}
			})
		}
		time.Sleep(25 * time.Minute) // two rotations
		close(stop)
		workers.Wait()
	})
}

func TestAPrivateKeyDoesNotGetIntoAnyText(t *testing.T) {
	private := newPrivateKey(t)
	key, err := hide(private)
	if err != nil {
		t.Fatal(err)
	}
	secret := private.Seed()
	for _, value := range []any{key, []*signingKey{key}, &lease{key: key}, &keyring{leases: []*lease{{key: key}}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			text := fmt.Sprintf(verb, value)
			for _, form := range []string{"%d", "%x", "%#v", "%s", "%q"} {
				if shown := strings.Trim(fmt.Sprintf(form, secret), "[]{}"); strings.Contains(text, shown) {
					t.Errorf("%s of %T shows the private key", verb, value)
				}
			}
		}
	}
}
