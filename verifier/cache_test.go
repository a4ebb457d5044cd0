package verifier_test

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

func withoutCache(cfg *verifier.Config) { cfg.TokenCacheMemory = -1 }

// Whatever happens between two calls, a verifier with a cache says what one without says.
func TestTheCacheDecidesAsTheWholeJudgementDoes(t *testing.T) {
	const rounds, steps = 30, 50
	var hits, changed uint64
	for seed := range uint64(rounds) {
		w := newCachedWorld(t, seed)
		for range steps {
			w.change()
			for range 24 {
				changed += w.compare()
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		hits += w.cached.Stats().CacheHits
	}
	if total := uint64(rounds * steps * 24); hits < total/10 || changed < total/20 {
		t.Errorf("%d comparisons, %d of them answered by the cache, %d with another outcome than before: this test shows too little", total, hits, changed)
	}
}

// cachedWorld is a feed that changes at random, with two verifiers over it.
type cachedWorld struct {
	t             *testing.T
	random        *rand.Rand
	feed          *feed
	cached, plain *verifier.Verifier
	now           time.Time
	tokens        []string
	outcomes      map[string]verifier.Reason // of each token, the last time
}

var certificates = []*x509.Certificate{{Raw: []byte("one")}, {Raw: []byte("another")}}

func newCachedWorld(t *testing.T, seed uint64) *cachedWorld {
	w := &cachedWorld{t: t, random: rand.New(rand.NewPCG(seed, 1)), feed: installation(t), now: now, outcomes: map[string]verifier.Reason{}}
	config := func(cfg *verifier.Config) {
		cfg.Now = func() time.Time { return w.now }
		cfg.AccountAudience = true
		cfg.Externals = []events.Name{"login", "builds"}
	}
	w.cached, w.plain = w.feed.verifier(config), w.feed.verifier(config, withoutCache)
	bound := boundTo(certificates[0])
	w.tokens = []string{
		online(t, onlineClaims), online(t, onlineClaims.with("jti", `"another"`).with("nbf", "1789999995")),
		online(t, onlineClaims.with("sub", `"shipping"`).with("client_id", `"shipping"`)),
		online(t, onlineClaims.with("cnf", bound)), offline(t, offlineClaims.with("cnf", bound)),
		offline(t, offlineClaims), offline(t, offlineClaims.with("jti", `"j"`).with("aud", `["`+billing+`","`+reports+`"]`)),
		offline(t, offlineClaims.without("scope").with("iat", "1790000020")), offline(t, offlineClaims.with("aud", `"`+account+`.accounts.authress.io"`)),
		external(t, externalClaims), external(t, externalClaims.with("jti", `"x"`)), mint(t, loginKey, "JWT", externalClaims.without("iat")),
		external(t, externalClaims.without("iat").with("exp", "1790003500")), // for too long, before now
		mint(t, buildsKey, "at+jwt", externalClaims.with("iss", `"`+buildsURL+`"`)),
		mint(t, strangerKey, "at+jwt", offlineClaims), offline(t, offlineClaims.with("exp", "1789999000")),
	}
	for _, s := range ordersKeys()[1:] {
		w.tokens = append(w.tokens, mint(t, s, "at+jwt", offlineClaims))
	}
	return w
}

// compare asks both verifiers about one token, and reports whether what becomes of it has changed.
func (w *cachedWorld) compare() uint64 {
	token := w.tokens[w.random.IntN(len(w.tokens))]
	var r verifier.Request
	switch w.random.IntN(4) {
	case 0:
		r.Audience = reports
	case 1:
		r.Confirm = verifier.ByCertificate(certificates[0])
	case 2:
		r.Confirm = verifier.ByCertificate(certificates[1])
	}
	asked := 0
	if confirm := r.Confirm; confirm != nil {
		r.Confirm = func(c verifier.Confirmation) bool { asked++; return confirm(c) }
	}
	got, err := w.cached.VerifyRequest(token, r)
	if asked > 1 {
		w.t.Errorf("Confirm was called %d times", asked)
	}
	want, wantErr := w.plain.VerifyRequest(token, r)
	if reasonOf(err) != reasonOf(wantErr) || !sameToken(got, want) {
		w.t.Errorf("with a cache: %+v, %v; without: %+v, %v", got, err, want, wantErr)
	}
	key := fmt.Sprint(token, r.Audience, r.Confirm != nil)
	before, asked2 := w.outcomes[key]
	w.outcomes[key] = reasonOf(err)
	if asked2 && before != reasonOf(err) {
		return 1
	}
	return 0
}

// sameToken compares all that a caller can see.
func sameToken(a, b *verifier.Token) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(a, b) && string(a.Claims()) == string(b.Claims())
}

// change does one of the things that happen to a key set, or to a clock.
func (w *cachedWorld) change() {
	f, pick := w.feed, func(of ...string) string { return of[w.random.IntN(len(of))] }
	member := func(record, more string) string { return strings.TrimSuffix(record, "}") + more + "}" }
	records := map[string]string{
		"platform": platformRecord, "orders": ordersRecord, "shipping": shippingRecord, "login": loginRecord, "builds": buildsRecord,
	}
	keys := map[string]signer{"platform": platformKey, "orders": ordersKey, "login": loginKey, "builds": buildsKey}
	name := pick("platform", "orders", "shipping", "login", "builds")
	switch w.random.IntN(16) {
	case 0:
		f.put("issuer."+name, strings.Replace(records[name], `"active"`, `"disabled"`, 1))
	case 1, 2:
		f.put("issuer."+name, records[name])
	case 3:
		f.put("issuer."+name, member(records[name], fmt.Sprintf(`,"not_before":%d`, 1789999980+w.random.IntN(20))))
	case 4:
		f.delete("issuer." + name)
	case 5:
		edit := w.random.IntN(3)
		f.put("issuer.orders", strings.Replace(ordersRecord, []string{`"offline":true`, `,"` + reports + `"`, `billing:read `}[edit], []string{`"offline":false`, ``, ``}[edit], 1))
	case 6: // builds may contest the iss of login
		edit := w.random.IntN(2)
		f.put("issuer.builds", strings.Replace(buildsRecord, []string{buildsURL, "assertion"}[edit], []string{loginURL, "access_token"}[edit], 1))
	case 7:
		edit := w.random.IntN(2)
		f.put("issuer.platform", strings.Replace(platformRecord, []string{platformURL, account}[edit], []string{"https://other.example.com", "acc-9876543210"}[edit], 1))
	case 8, 9:
		if s, ok := keys[name]; ok {
			if w.random.IntN(4) == 0 {
				s.key = strangerKey.key
			}
			f.putKey(events.Name(name), s, pick("", `,"exp":1790000010`, `,"nbf":1790000005`, `,"exp":1790007200`, `,"revoked":{}`))
		}
	case 10:
		if s, ok := keys[name]; ok {
			f.delete(events.KeyRecord(events.Name(name), s.kid).String())
		}
	case 11:
		if w.random.IntN(4) == 0 {
			f.put(events.RevokedRecord("orders", "k1").String(), `{}`)
		}
		f.revokeToken(events.TokenByID(platformURL, pick("another", "nobody")), "")
	case 12:
		w.now = now.Add(time.Duration(w.random.IntN(2000)-500) * time.Second)
		f.confirm(w.now)
	case 14, 15:
		f.fill()
	case 13: // the feed reads everything again
		fresh := installation(w.t)
		fresh.revision = f.revision + 100
		fresh.fill()
		f.revision = fresh.revision
		f.keys.Store(fresh.Keys())
	}
}

// hookedFeed does something in the middle of a judgement: when it looks for revocations.
type hookedFeed struct {
	*feed
	meanwhile func()
}

func (h *hookedFeed) Revocations() *events.Revocations {
	if f := h.meanwhile; f != nil {
		h.meanwhile = nil
		f()
	}
	return h.feed.Revocations()
}

// What changes while a token is judged counts from the next time on: the cache must not take the old decision for one by the new records.
func TestWhatChangesWhileATokenIsJudgedCountsForTheCache(t *testing.T) {
	with := func(record, more string) string { return strings.TrimSuffix(record, "}") + more + "}" }
	for name, change := range map[string]func(*feed){
		"the platform is disabled":  func(f *feed) { f.put("issuer.platform", strings.Replace(platformRecord, `"active"`, `"disabled"`, 1)) },
		"the platform has a cutoff": func(f *feed) { f.put("issuer.platform", with(platformRecord, `,"not_before":1790000000`)) },
		"the platform has moved": func(f *feed) {
			f.put("issuer.platform", strings.Replace(platformRecord, platformURL, "https://other.example.com", 1))
		},
		"the client is disabled":  func(f *feed) { f.put("issuer.orders", strings.Replace(ordersRecord, `"active"`, `"disabled"`, 1)) },
		"the client has a cutoff": func(f *feed) { f.put("issuer.orders", with(ordersRecord, `,"not_before":1790000000`)) },
		"the login is disabled":   func(f *feed) { f.put("issuer.login", strings.Replace(loginRecord, `"active"`, `"disabled"`, 1)) },
		"the keys are revoked": func(f *feed) {
			for _, key := range []events.RecordName{events.RevokedRecord("orders", "k1"), events.RevokedRecord("platform", "p1"), events.RevokedRecord("login", "x1")} {
				f.put(key.String(), `{}`)
			}
		},
	} {
		for kind, token := range map[string]string{
			"online": online(t, onlineClaims), "offline": offline(t, offlineClaims), "external": external(t, externalClaims),
			"for the account": offline(t, offlineClaims.with("aud", `"`+account+`.accounts.authress.io"`)),
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				h := &hookedFeed{feed: installation(t)}
				cfg := billingConfig()
				cfg.AccountAudience = true
				cached, err := verifier.New(cfg, h)
				if err != nil {
					t.Fatal(err)
				}
				cfg.TokenCacheMemory = -1
				plain, err := verifier.New(cfg, h)
				if err != nil {
					t.Fatal(err)
				}
				h.meanwhile = func() { change(h.feed) }
				if _, err := cached.Verify(token); err != nil {
					t.Fatalf("it was good when the judgement began: %v", err)
				}
				for range 2 {
					_, got := cached.Verify(token)
					_, want := plain.Verify(token)
					if reasonOf(got) != reasonOf(want) {
						t.Errorf("with a cache %v, without %v", got, want)
					}
				}
			})
		}
	}
}
