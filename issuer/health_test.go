package issuer

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
)

func TestANodeAnswersOnlyFromRecordsThatItCanTrust(t *testing.T) {
	platform := func(members string) string { return `{"type":"platform",` + members + `}` }
	tests := []struct {
		name   string
		happen func(f *fixture)
		reason string
		keys   bool // whether the keys are still listed
	}{
		{"confirmed an hour and a second ago", func(f *fixture) { f.bucket.confirmed = time.Now().Add(-time.Hour - time.Second) }, "confirmed", false},
		{"the platform's record is gone", func(f *fixture) { f.bucket.del("issuer.platform") }, "no record of the platform", false},
		{"the platform is disabled", func(f *fixture) {
			f.bucket.put("issuer.platform", platform(`"status":"disabled","iss":"`+testIssuer+`"`))
		}, "disabled", false},
		{"the platform is another issuer", func(f *fixture) {
			f.bucket.put("issuer.platform", platform(`"status":"active","iss":"https://other.example.com"`))
		}, "https://other.example.com", false},
		{"the platform's not_before is in the future", func(f *fixture) {
			f.bucket.put("issuer.platform", platform(`"status":"active","iss":"`+testIssuer+`","not_before":99999999999`))
		}, "not_before", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				test.happen(f)
				err := f.node.Ready()
				if err == nil || !strings.Contains(err.Error(), test.reason) {
					t.Fatalf("ready: %v, want a reason with %q", err, test.reason)
				}
				if w := f.get("/readyz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), test.reason) {
					t.Errorf("readyz: status %d, %q", w.Code, w.Body)
				}
				a := f.token(f.withKey())
				if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || strings.Contains(a.Description, test.reason) {
					t.Errorf("token: status %d, %q", a.status, a.Description)
				}
				want := http.StatusServiceUnavailable
				if test.keys {
					want = http.StatusOK
				}
				for _, path := range []string{"/.well-known/jwks.json", "/v1/clients/orders/.well-known/openid-configuration/jwks"} {
					if w := f.get(path); w.Code != want {
						t.Errorf("%s: status %d, want %d", path, w.Code, want)
					}
				}
				if w := f.get("/healthz"); w.Code != http.StatusOK {
					t.Errorf("healthz: status %d: the process is alive", w.Code)
				}
			})
		})
	}
}

func TestANodeOfAnotherPlatformRegistersNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"https://other.example.com"}`)
		f.start()
		time.Sleep(time.Minute)
		if n := len(f.bucket.leases()); n != 0 {
			t.Errorf("%d keys were registered", n)
		}
		f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+testIssuer+`"}`)
		time.Sleep(2 * time.Second)
		if err := f.node.Ready(); err != nil {
			t.Error(err)
		}
	})
}

func TestStalenessIsBoundedAsConfigured(t *testing.T) {
	for name, test := range map[string]struct {
		limit, age time.Duration
		ready      bool
	}{
		"an hour by default":         {0, time.Hour, true},
		"more than an hour":          {0, time.Hour + time.Second, false},
		"within the limit":           {time.Minute, time.Minute, true},
		"beyond the limit":           {time.Minute, time.Minute + time.Second, false},
		"no limit":                   {-1, 1000 * time.Hour, true},
		"no limit, never confirmed":  {-1, -1, false},
		"an hour, never confirmed":   {0, -1, false},
		"confirmed in this instance": {time.Second, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t, func(c *Config) { c.MaxStaleness = test.limit })
				confirmed := time.Time{}
				if test.age >= 0 {
					confirmed = time.Now().Add(-test.age)
				}
				f.node.cfg.Keys = confirmedAt{f.bucket, confirmed}
				if err := f.node.Ready(); (err == nil) != test.ready {
					t.Errorf("keys: ready: %v, want %v", err, test.ready)
				}
				f.node.cfg.Keys = f.bucket
				f.node.cfg.Clients = &clientRecords{f.clients, func() time.Time { return confirmed }}
				if err := f.node.Ready(); (err == nil) != test.ready {
					t.Errorf("clients: ready: %v, want %v", err, test.ready)
				}
			})
		})
	}
}

// TestF_StalenessOfANodeGoesByTheClockThatHasSeenMore steps the clock of an issuer by more than an hour, which is its limit.
func TestF_StalenessOfANodeGoesByTheClockThatHasSeenMore(t *testing.T) {
	n, confirmed := &Node{cfg: Config{MaxStaleness: time.Hour}}, time.Now()
	for name, test := range map[string]struct {
		elapsed, step time.Duration // by the monotonic clock; of the wall clock beyond that
		trusted       bool
	}{
		"nothing happened":                      {time.Minute, 0, true},
		"too long ago":                          {time.Hour + time.Second, 0, false},
		"set forward, or the machine has slept": {time.Minute, time.Hour, false},
		"set back":                              {time.Minute, -time.Hour, true},
		"set back, and too long ago":            {time.Hour + time.Second, -time.Hour, false},
	} {
		if err := n.checkAge(confirmed, eventstest.StepWall(t, confirmed.Add(test.elapsed), test.step)); (err == nil) != test.trusted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// confirmedAt is a key set that was confirmed at a certain time.
type confirmedAt struct {
	KeySet
	at time.Time
}

func (c confirmedAt) Confirmed() time.Time { return c.at }

func TestANodeSaysWhenItIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		if w := f.get("/readyz"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "signing key") {
			t.Errorf("before it runs: status %d, %q", w.Code, w.Body)
		}
		f.start()
		time.Sleep(2 * time.Second)
		if w := f.get("/readyz"); w.Code != http.StatusOK || w.Body.String() != "ready\n" {
			t.Errorf("running: status %d, %q", w.Code, w.Body)
		}
		f.stop()
		if w := f.get("/readyz"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("stopped: status %d", w.Code)
		}
	})
}
