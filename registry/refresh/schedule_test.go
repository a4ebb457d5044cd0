package refresh

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// one runs one node on an issuer idp with the given answer, past its first fetch.
func one(t *testing.T, a func() (document, error)) (*world, *Refresher) {
	w := newWorld(t)
	w.issuer("idp", a)
	r := w.refresher("a")
	start(t, r)
	time.Sleep(time.Second)
	if f := w.fetches(); len(f) != 1 || f[0].from != "https://idp.example/jwks" {
		t.Fatalf("fetched %v at the start", f)
	}
	return w, r
}

func TestKeysAreFetchedWhenTheirHeadersSay(t *testing.T) {
	for _, life := range []time.Duration{leastLife, 20 * time.Minute, mostLife} {
		synctest.Test(t, func(t *testing.T) {
			w, r := one(t, answer(life, "k1"))
			if s := r.Status().Issuers[0]; s.Keys != 1 || s.LastSuccess.IsZero() || time.Until(s.Next) > life || time.Until(s.Next) < life*9/10-time.Second {
				t.Errorf("status is %+v", s)
			}
			last := time.Now()
			time.Sleep(10 * life)
			f := w.fetches()
			if len(f) < 9 || len(f) > 12 {
				t.Errorf("%d fetches in 10 times %s", len(f), life)
			}
			for _, x := range f {
				if d := x.at.Sub(last); d > life+time.Second || d < life*9/10-time.Second {
					t.Errorf("after %s, want %s less up to a tenth", d, life)
				}
				if x.etag != `["k1"]` {
					t.Errorf("etag is %s", x.etag)
				}
				last = x.at
			}
		})
	}
}

func TestAnUnknownKidIsLookedForAtOnceAndAStormIsAHandfulOfFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := one(t, answer(mostLife, "k1"))
		w.report("idp", "k2")
		synctest.Wait()
		if f := w.fetches(); len(f) != 1 {
			t.Fatalf("fetched %v", f)
		}
		time.Sleep(time.Second)
		// 10,000 made-up kids within a minute.
		for i := range 10_000 {
			w.report("idp", events.KeyID(fmt.Sprintf("x%d", i)))
			time.Sleep(6 * time.Millisecond)
		}
		f := w.fetches()
		if len(f) < 2 || len(f) > int(time.Minute/forcedEvery)+forcedBurst {
			t.Errorf("%d fetches", len(f))
		}
		for i := forcedBurst; i < len(f); i++ {
			if d := f[i].at.Sub(f[i-1].at); d < forcedEvery-time.Second {
				t.Errorf("%s between two", d)
			}
		}
		if s := r.Status(); s.Reports != 10_001 || s.OutOfTurn < 3 {
			t.Errorf("status is %+v", s)
		}
		if p := len(w.synced); p != 1 {
			t.Errorf("%d keys", p)
		}
	})
}

func TestAKidThatWasNotThereIsNotLookedForAgainSoSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := one(t, answer(mostLife, "k1"))
		begun := time.Now()
		var at []time.Duration
		for time.Since(begun) < 20*time.Minute {
			w.report("idp", "false")
			time.Sleep(time.Second)
			for range w.fetches() {
				at = append(at, time.Since(begun).Truncate(time.Second))
			}
		}
		if fmt.Sprint(at) != "[1s 31s 1m31s 3m31s 7m31s 15m31s]" {
			t.Errorf("fetched after %v", at)
		}
	})
}

func TestWhatNeedsNoFetchMakesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := one(t, answer(mostLife, "k1"))
		w.keys.Write("key.idp.k1", eventstest.KeyJSON(1))
		w.keys.Write("revoked.idp.dead", "{}")
		w.keys.Write("issuer.orders", `{"type":"client","status":"active"}`)
		time.Sleep(time.Second)
		for _, r := range []report{{"idp", "k1"}, {"idp", "dead"}, {"orders", "k2"}, {"nobody", "k1"}, {"nobody", ""}} {
			w.report(r.issuer, r.kid)
		}
		time.Sleep(time.Minute)
		if f := w.fetches(); len(f) != 0 {
			t.Errorf("fetched %v", f)
		}
		w.report("idp", "") // by hand
		time.Sleep(time.Second)
		if f := w.fetches(); len(f) != 1 {
			t.Errorf("fetched %v, want it because it was asked for", f)
		}
	})
}

func TestIssuersComeAndGoWithTheirRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := one(t, answer(mostLife, "k1"))
		w.issuer("other", answer(mostLife, "k1"))
		time.Sleep(time.Second)
		if f := w.fetches(); len(f) != 1 || f[0].from != "https://other.example/jwks" {
			t.Fatalf("fetched %v", f)
		}
		w.mu.Lock()
		w.answers["https://idp.example/moved"] = answer(mostLife, "k9")
		w.mu.Unlock()
		w.keys.Write("issuer.idp", `{"type":"external","status":"active","iss":"https://idp.example","use":["assertion"],"jwks_uri":"https://idp.example/moved"}`)
		w.keys.Write("issuer.other", `{"type":"external","status":"disabled","iss":"https://other.example","use":["assertion"],"jwks_uri":"https://other.example/jwks"}`)
		time.Sleep(time.Second)
		if f := w.fetches(); len(f) != 1 || f[0].from != "https://idp.example/moved" || f[0].etag != "" {
			t.Errorf("fetched %v", f)
		}
		if s := r.Status().Issuers; len(s) != 1 || s[0].JWKSURI != "https://idp.example/moved" {
			t.Errorf("status is %+v", s)
		}
		time.Sleep(3 * mostLife)
		for _, x := range w.fetches() {
			if x.from != "https://idp.example/moved" {
				t.Errorf("fetched %v", x)
			}
		}
	})
}

// What a provider can do wrong, and how the keys that are known fare: they stay, and it is tried again, less and less often.
func TestI21_KeysStayWhateverBecomesOfTheProvider(t *testing.T) {
	text := func(s string) func() (document, error) {
		return func() (document, error) { return document{body: []byte(s), life: mostLife}, nil }
	}
	for name, r := range map[string]struct {
		bad  func() (document, error)
		want string
	}{
		"gone for long":       {func() (document, error) { return document{}, errors.New("connection refused") }, "connection refused"},
		"500":                 {func() (document, error) { return document{}, &statusError{500} }, "status 500"},
		"HTML":                {text("<html>"), "not JSON"},
		"an empty set":        {text(`{"keys":[]}`), "no key"},
		"a set of no use":     {text(`{"keys":[{"kty":"RSA","use":"enc"}]}`), "no key"},
		"nothing but a fault": {text(`{"keys":[{"kty":"oct","k":"AA"}]}`), "private or symmetric"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, r2 := one(t, answer(leastLife, "k1"))
				w.issuer("idp", r.bad)
				w.mu.Lock()
				w.synced = nil
				w.mu.Unlock()
				time.Sleep(6 * time.Hour)
				f := w.fetches()
				if len(f) < 6*6 || len(f) > 6*14 {
					t.Errorf("%d attempts in six hours", len(f))
				}
				for i := 8; i < len(f); i++ { // past the first ones
					if d := f[i].at.Sub(f[i-1].at); d < lastRetry/2 || d > lastRetry+time.Second {
						t.Errorf("%s between two attempts", d)
					}
				}
				if w.synced != nil {
					t.Errorf("published %v", w.synced)
				}
				s := r2.Status().Issuers[0]
				if !strings.Contains(s.LastError, r.want) || s.LastFailure.IsZero() || s.LastSuccess.IsZero() || s.Keys != 1 {
					t.Errorf("status is %+v", s)
				}
				left, _, err := ReadState(t.Context(), w.store, "idp")
				if err != nil || left.Error != s.LastError || left.Success != s.LastSuccess.Unix() || left.Keys != 1 {
					t.Errorf("the state is %+v, %v", left, err)
				}
				w.issuer("idp", answer(leastLife, "k1", "k2"))
				time.Sleep(lastRetry + time.Second)
				if s := r2.Status().Issuers[0]; s.LastError != "" || len(w.synced) != 2 {
					t.Errorf("afterwards it is %+v", s)
				}
			})
		})
	}
}

func TestAFailedWriteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer("idp", answer(mostLife, "k1"))
		w.syncErr = fmt.Errorf("simulated: %w", bus.ErrUnreachable)
		r := w.refresher("a")
		start(t, r)
		time.Sleep(time.Minute)
		if s := r.Status(); s.Failures == 0 || !strings.Contains(s.Issuers[0].LastError, "simulated") {
			t.Errorf("status is %+v", s)
		}
		for _, f := range w.fetches() {
			if f.etag != "" {
				t.Error("a set that was not published counts as the last good one")
			}
		}
		w.mu.Lock()
		w.syncErr = nil
		w.mu.Unlock()
		time.Sleep(lastRetry)
		if len(w.synced) != 1 {
			t.Errorf("published %v", w.synced)
		}
	})
}

func TestASetThatHasNotChangedIsPublishedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, r := one(t, answer(leastLife, "k1"))
		w.issuer("idp", func() (document, error) { return document{unchanged: true, etag: `["k1"]`, life: leastLife}, nil })
		time.Sleep(time.Second)
		w.mu.Lock()
		w.synced = nil // somebody has removed a key by hand meanwhile, say
		w.mu.Unlock()
		time.Sleep(time.Hour)
		if s := r.Status(); s.Unchanged < 10 || s.Failures != 0 || len(w.synced) != 1 {
			t.Errorf("status is %+v, published %v", s, w.synced)
		}
	})
}

func TestI21_AnIssuerCannotFillTheBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		w, r := one(t, func() (document, error) { // 40 keys that were never seen before, each time
			var kids []string
			for range 40 {
				n++
				kids = append(kids, fmt.Sprint("k", n))
			}
			return answer(leastLife, kids...)()
		})
		time.Sleep(time.Hour)
		s := r.Status()
		total := int(s.Added)
		if total != 80 || !strings.Contains(s.Issuers[0].LastError, "40 new ones") || len(w.synced) != 40 {
			t.Errorf("%d were registered, status %+v", total, s)
		}
		time.Sleep(newKeysPer)
		if more := int(r.Status().Added) - total; more == 0 || more > maxNewKeys+40 {
			t.Errorf("%d more were registered the next day", more)
		}
	})
}

func TestI21_AnAlarmIsToldOnceAndShowsNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ"
		body := jwks(`{`+testKeys().ed+`,"kid":"good"}`, `{`+testKeys().ed+`,"kid":"bad","d":"`+secret+`"}`)
		w, r := one(t, func() (document, error) { return document{body: body, life: leastLife}, nil })
		time.Sleep(time.Hour)
		s := r.Status()
		if s.Alarms != 1 || len(s.Issuers[0].Faults) != 1 || s.Issuers[0].Faults[0].KeyID != "bad" || len(w.synced) != 1 {
			t.Errorf("status is %+v", s)
		}
		lines := 0
		for line := range strings.Lines(w.log.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if m["alarm"] == true {
				lines++
			}
		}
		if lines != 1 || strings.Contains(w.log.String(), secret) || strings.Contains(fmt.Sprintf("%+v", s), secret) {
			t.Errorf("the log is %s", w.log.String())
		}
	})
}

func TestTheMemoryOfMissesIsBounded(t *testing.T) {
	s := newSchedule(now)
	for i := range 10 * maxMisses {
		kid := events.KeyID(fmt.Sprint(i))
		s.want(kid, now)
		asked, _ := s.begin(now)
		s.succeeded(now, asked, func(events.KeyID) bool { return false }, mostLife)
	}
	if len(s.missing) > maxMisses {
		t.Errorf("%d kids are remembered", len(s.missing))
	}
	for i := range 10 * maxWanted {
		s.want(events.KeyID(fmt.Sprint("w", i)), now)
	}
	if len(s.wanted) > maxWanted {
		t.Errorf("%d kids are wanted", len(s.wanted))
	}
}

func TestNoMoreThanAFewProvidersAreAskedAtOneTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at, most := 0, 0
		for i := range 20 {
			w.issuer(fmt.Sprintf("idp%d", i), func() (document, error) {
				w.mu.Lock()
				at++
				most = max(most, at)
				w.mu.Unlock()
				time.Sleep(5 * time.Second)
				w.mu.Lock()
				at--
				w.mu.Unlock()
				return answer(mostLife, "k1")()
			})
		}
		r := w.refresher("a")
		start(t, r)
		time.Sleep(40 * time.Second)
		if s := r.Status(); most != maxFetches || s.Fetches != 20 || len(s.Issuers) != 20 {
			t.Errorf("%d at one time, %d fetches", most, s.Fetches)
		}
	})
}

func TestI21_AnIssuerIsAskedOnceAtATimeAndAgainForWhatWasReportedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		at, most, kids := 0, 0, []string{"k1"}
		w.issuer("idp", func() (document, error) {
			w.mu.Lock()
			at++
			most = max(most, at)
			answer := answer(mostLife, kids...) // as it is when the request arrives
			w.mu.Unlock()
			time.Sleep(5 * time.Second)
			w.mu.Lock()
			at--
			w.mu.Unlock()
			return answer()
		})
		r := w.refresher("a")
		start(t, r)
		time.Sleep(time.Second)
		w.mu.Lock()
		kids = []string{"k1", "k2"}
		w.mu.Unlock()
		for range 100 {
			w.report("idp", "k2")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		if f := w.fetches(); most != 1 || len(f) != 2 || len(w.synced) != 2 {
			t.Errorf("%d at a time, fetched %v, published %d keys", most, f, len(w.synced))
		}
	})
}
