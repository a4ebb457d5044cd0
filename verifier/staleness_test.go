package verifier_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

// tokensOfDoubt are tokens about which a verifier that may be behind must not be too sure, and two about which it may.
type tokensOfDoubt struct {
	good, forged                                       string
	unknownIssuer, unknownKey, unknownClient, overtime string
}

func doubts(t *testing.T) tokensOfDoubt {
	unknown := ordersKey
	unknown.kid = "k2"
	lease := platformKey
	lease.kid = "p0"
	return tokensOfDoubt{
		good:          offline(t, offlineClaims),
		forged:        mint(t, signer{"k1", strangerKey.alg, strangerKey.key}, "at+jwt", offlineClaims),
		unknownIssuer: offline(t, offlineClaims.with("iss", `"`+platformURL+`/v1/clients/new"`)),
		unknownKey:    mint(t, unknown, "at+jwt", offlineClaims),
		unknownClient: online(t, onlineClaims.with("sub", `"new"`).with("client_id", `"new"`)),
		overtime:      mint(t, lease, "at+jwt", onlineClaims),
	}
}

// doubtful is an installation with a platform key whose lease has ended: its node has renewed it, or is gone.
func doubtful(t *testing.T) *feed {
	f := installation(t)
	lease := platformKey
	lease.kid = "p0"
	f.putKey("platform", lease, `,"exp":1790000000`)
	return f
}

func TestP4_StalenessHasThreeOutcomes(t *testing.T) {
	const never = -1
	f, tokens := doubtful(t), doubts(t)
	type outcomes struct {
		good, forged, garbage                              verifier.Reason
		unknownIssuer, unknownKey, unknownClient, overtime verifier.Reason
	}
	const (
		stale  = verifier.ReasonStale
		behind = verifier.ReasonBehind
	)
	sure := outcomes{accepted, verifier.ReasonSignature, verifier.ReasonMalformed, verifier.ReasonIssuer, verifier.ReasonKey, verifier.ReasonClient, verifier.ReasonKeyState}
	unsure := outcomes{accepted, verifier.ReasonSignature, verifier.ReasonMalformed, behind, behind, behind, behind}
	blind := outcomes{stale, stale, stale, stale, stale, stale, stale}
	for _, c := range []struct {
		max  time.Duration
		age  time.Duration
		want outcomes
	}{
		{0, 0, sure},
		{0, 10 * time.Second, sure},
		{0, 10*time.Second + 1, unsure},
		{0, time.Hour, unsure},
		{0, time.Hour + 1, blind},
		{0, 1000 * time.Hour, blind},
		{0, never, blind},
		{0, -time.Hour, sure}, // confirmed after the verifier's clock was read
		{time.Minute, 10 * time.Second, sure},
		{time.Minute, time.Minute, unsure},
		{time.Minute, time.Minute + 1, blind},
		{5 * time.Second, 5 * time.Second, sure},
		{5 * time.Second, 5*time.Second + 1, blind},
		{1, 0, sure},
		{1, 2, blind},
		{100 * time.Hour, 99 * time.Hour, unsure},
		{-1, 0, sure},
		{-1, 10*time.Second + 1, unsure},
		{-1, 100_000 * time.Hour, unsure},
		{-1, never, unsure},
		{-time.Hour, 2 * time.Hour, unsure},
	} {
		t.Run(fmt.Sprintf("MaxStaleness %s, confirmed %s ago", c.max, c.age), func(t *testing.T) {
			f.confirm(now.Add(-c.age))
			if c.age == never {
				f.confirm(time.Time{})
			}
			v := f.verifier(func(cfg *verifier.Config) { cfg.MaxStaleness = c.max })
			judge(t, v, []row{
				{"a good token", tokens.good, c.want.good},
				{"a forged one", tokens.forged, c.want.forged},
				{"no token", "garbage", c.want.garbage},
				{"an unknown issuer", tokens.unknownIssuer, c.want.unknownIssuer},
				{"an unknown kid", tokens.unknownKey, c.want.unknownKey},
				{"an unknown client", tokens.unknownClient, c.want.unknownClient},
				{"a platform key past its lease", tokens.overtime, c.want.overtime},
			})
			status := v.Status()
			if status.Stale != (c.want == blind) || status.Confirmed != (c.age != never) || status.Revision != f.revision {
				t.Errorf("status %+v", status)
			}
			if c.age != never && status.Staleness != max(c.age, 0) {
				t.Errorf("staleness %s, want %s", status.Staleness, max(c.age, 0))
			}
		})
	}
}

func TestP4_AVerifierThatIsBehindIsSureOfWhatItHasSeen(t *testing.T) {
	f := installation(t)
	f.confirm(now.Add(-time.Minute))
	v := f.verifier()
	f.putKey("orders", ordersKey, `,"exp":1789999999`)
	expect(t, v, offline(t, offlineClaims), verifier.ReasonKeyState) // a client's key does not come back by itself, as a lease does
	f.putKey("orders", ordersKey, `,"nbf":1790000001`)
	expect(t, v, offline(t, offlineClaims), verifier.ReasonKeyState)
	f.put("revoked.orders.k1", "")
	expect(t, v, offline(t, offlineClaims), verifier.ReasonKeyState)
	f.put("revoked.platform.p1", "")
	expect(t, v, online(t, onlineClaims), verifier.ReasonKeyState)
	expect(t, v, external(t, externalClaims.with("aud", `"x"`)), verifier.ReasonAudience)
}

func TestP4_UndecidedBecomesDecidedWithTheNextConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := installation(t)
		f.putKey("platform", platformKey, "")
		v := f.verifier(func(cfg *verifier.Config) { cfg.Now, cfg.MaxStaleness = nil, time.Minute })
		// The bubble's clock is years before that of the tokens: what matters here is only whether there is a decision.
		token := offline(t, offlineClaims.with("iss", `"`+platformURL+`/v1/clients/new"`))
		f.confirm(time.Now())
		expect(t, v, token, verifier.ReasonIssuer)
		time.Sleep(10 * time.Second)
		expect(t, v, token, verifier.ReasonIssuer)
		time.Sleep(time.Nanosecond)
		expect(t, v, token, verifier.ReasonBehind)
		time.Sleep(50*time.Second - 1)
		expect(t, v, token, verifier.ReasonBehind)
		time.Sleep(time.Nanosecond)
		expect(t, v, token, verifier.ReasonStale)
		f.confirm(time.Now())
		expect(t, v, token, verifier.ReasonIssuer)
	})
}

// The monotonic clock tells how long ago the set was confirmed, whatever happens to the wall clock. But it stands still while
// the machine is suspended, and then only the wall clock tells. The longer time counts.
func TestP4_StalenessGoesByTheClockThatHasSeenMore(t *testing.T) {
	f, tokens := installation(t), doubts(t)
	confirmed := time.Now()
	const limit = 30 * time.Minute
	for _, c := range []struct {
		name    string
		elapsed time.Duration // by the monotonic clock
		stepped time.Duration // of the wall clock meanwhile, beyond that
		age     time.Duration
		want    verifier.Reason // of a token with an unknown kid
	}{
		{"both clocks agree", 5 * time.Second, 0, 5 * time.Second, verifier.ReasonIssuer},
		{"the machine slept for a minute", time.Second, time.Minute, 61 * time.Second, verifier.ReasonBehind},
		{"the machine slept for an hour", time.Second, time.Hour, time.Hour + time.Second, verifier.ReasonStale},
		{"the wall clock was set back by an hour", 5 * time.Second, -time.Hour, 5 * time.Second, verifier.ReasonIssuer},
		{"the wall clock was set back by an hour a minute ago", time.Minute, -time.Hour, time.Minute, verifier.ReasonBehind},
		{"the wall clock was set back by the time that has passed", 2 * limit, -2 * limit, 2 * limit, verifier.ReasonStale},
		{"the wall clock was set forward by an hour", 5 * time.Second, time.Hour, time.Hour + 5*time.Second, verifier.ReasonStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.confirm(confirmed)
			moment := eventstest.StepWall(t, confirmed.Add(c.elapsed), c.stepped)
			v := f.verifier(at(moment), func(cfg *verifier.Config) { cfg.MaxStaleness = limit })
			expect(t, v, tokens.unknownIssuer, c.want)
			if got := v.Status().Staleness; got != c.age {
				t.Errorf("staleness %s, want %s", got, c.age)
			}
			// A confirmation made after the step puts everything right.
			f.confirm(moment)
			expect(t, v, tokens.unknownIssuer, verifier.ReasonIssuer)
		})
	}
}

// A feed that swaps a fresh set in while a token is judged must not have its confirmation counted for the old one.
func TestP4_TheConfirmationOfTheNextSetDoesNotCountForThisOne(t *testing.T) {
	f, tokens := installation(t), doubts(t)
	f.confirm(now.Add(-time.Minute))
	swapping := &swappingFeed{feed: f}
	v, err := verifier.New(billingConfig(), swapping)
	if err != nil {
		t.Fatal(err)
	}
	fresh := newFeed(t, nil)
	fresh.fill()
	second := ordersKey
	second.kid = "k2"
	fresh.putKey("orders", second, "")
	swapping.swap = func() {
		f.keys.Store(fresh.Keys())
		f.confirm(now)
	}
	_, err = v.Verify(tokens.unknownKey)
	if err != nil && !isUndecided(err) {
		t.Errorf("a good token was called bad: %v", err)
	}
	expect(t, v, tokens.unknownKey, accepted)
}

// swappingFeed swaps its set the moment after the first of its methods has answered.
type swappingFeed struct {
	*feed
	swap func()
}

func (f *swappingFeed) once() {
	if f.swap != nil {
		f.swap()
		f.swap = nil
	}
}

func (f *swappingFeed) Keys() *events.Set {
	defer f.once()
	return f.feed.Keys()
}

func (f *swappingFeed) Confirmed() time.Time {
	defer f.once()
	return f.feed.Confirmed()
}

func isUndecided(err error) bool { return errors.Is(err, verifier.ErrUndecided) }
