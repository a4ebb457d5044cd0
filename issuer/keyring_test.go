package issuer

import (
	"net/http"
	"runtime"
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
		shortened := 0
		for _, m := range f.bucket.leases() {
			if kid, key := m.key(t); kid == old && key.Expires == lastOfOld+60 {
				shortened++
			}
		}
		if shortened != 1 {
			t.Errorf("the old key's lease was shortened %d times, want once", shortened)
		}
	})
}

func TestARequestThatFindsAKeyAsItIsRetiredGetsItsSuccessor(t *testing.T) {
	b := newBucket()
	publish := func() *signingKey {
		key, err := newSigningKey()
		if err != nil {
			t.Fatal(err)
		}
		record := events.Key{Public: key.public, Expires: time.Now().Add(leaseLife).Unix()}
		b.put(events.KeyRecord(events.Platform, key.kid).String(), encodeKey(t, key.kid, record))
		return key
	}
	now := time.Now()
	for range 200 {
		old, successor := publish(), publish()
		var ring keyring
		ring.current.Store(old)
		old.mu.Lock() // the request has found the key, and comes no further
		found := make(chan *signingKey)
		go func() { found <- ring.acquire(b.set, now, now.Unix()+60) }()
		for range 20 {
			runtime.Gosched()
		}
		ring.current.Store(successor)
		old.retired = true
		old.mu.Unlock()
		if key := <-found; key != successor {
			t.Fatalf("found %v, want the successor", key)
		}
	}
}

func TestNoRequestIsRefusedDuringRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t, func(c *Config) { c.KeyRotation = MinKeyRotation })
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
