package verifier_test

import (
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

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

// A caller may hand in a string over bytes that it uses again, as some HTTP servers do. What is remembered must not change with it.
func TestTheCacheKeepsNothingOfTheCallersText(t *testing.T) {
	v := installation(t).verifier()
	good := online(t, onlineClaims)
	buffer := []byte(good)
	result, err := v.Verify(unsafe.String(&buffer[0], len(buffer)))
	if err != nil {
		t.Fatal(err)
	}
	copy(buffer, strings.Repeat("A", len(buffer)))
	if _, err := v.Verify(string(buffer)); err == nil {
		t.Fatal("what the buffer holds now is accepted")
	}
	if again := expect(t, v, good, accepted); !sameToken(again, result) || !strings.Contains(string(result.Claims()), platformURL) {
		t.Errorf("the result has changed with the caller's buffer: %+v", result)
	}
}

// The audience is the caller's text, too.
func TestTheCacheKeepsNothingOfTheCallersAudience(t *testing.T) {
	v := installation(t).verifier()
	token := offline(t, offlineClaims.with("aud", `"`+reports+`"`))
	buffer := []byte(reports)
	request := verifier.Request{Audience: unsafe.String(&buffer[0], len(buffer))}
	if _, err := v.VerifyRequest(token, request); err != nil {
		t.Fatal(err)
	}
	copy(buffer, billing[:len(reports)])
	for range 2 {
		if _, err := v.VerifyRequest(token, request); reasonOf(err) != verifier.ReasonAudience {
			t.Errorf("a token for %s is good for %s: %v", reports, request.Audience, err)
		}
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

// Who has the same Token must not get into each other's way when they add to its lists.
func TestWhatIsAddedToAResultsListsIsNotShared(t *testing.T) {
	v := installation(t).verifier()
	one, two := expect(t, v, offline(t, offlineClaims), accepted), expect(t, v, offline(t, offlineClaims), accepted)
	a, b := append(one.Audience, "one"), append(two.Audience, "two")
	c, d := append(one.Scope.Values(), "one"), append(two.Scope.Values(), "two")
	if one != two || a[1] != "one" || b[1] != "two" || c[1] != "one" || d[1] != "two" {
		t.Errorf("%q and %q, %q and %q", a, b, c, d)
	}
}

// However a token's scope is written, its size is what it takes.
func TestScopesOfAnySizeAreWithinTheBudget(t *testing.T) {
	var values []string
	for i := range 1000 {
		values = append(values, fmt.Sprintf("%02x%d", i%256, i/256))
	}
	const memory = 4 << 20
	for name, scope := range map[string]string{"many": strings.Join(values[1:], " "), "one, many times": strings.TrimSpace(strings.Repeat("000 ", 600))} {
		f := installation(t)
		f.put("issuer.orders", strings.Replace(ordersRecord, "billing:read billing:write", strings.Join(values, " "), 1))
		v := f.verifier(func(cfg *verifier.Config) { cfg.TokenCacheMemory = memory })
		before := heapInUse()
		for i := range 2000 {
			if _, err := v.Verify(offline(t, offlineClaims.with("jti", fmt.Sprintf(`"%d"`, i)).with("scope", `"`+scope+`"`))); err != nil {
				t.Fatal(err)
			}
		}
		if grown := heapInUse() - before; grown > memory*5/4 {
			t.Errorf("%s: the heap has grown by %d bytes, the cache says it takes %d", name, grown, v.Stats().CacheMemory)
		}
		runtime.KeepAlive(v)
	}
}

// The buffers in which tokens are read are used again, and results must not change with them.
func TestResultsDoNotChangeWhenOtherTokensAreVerified(t *testing.T) {
	for name, change := range map[string]func(*verifier.Config){"with the cache": func(*verifier.Config) {}, "without": withoutCache} {
		t.Run(name, func(t *testing.T) {
			v := installation(t).verifier(change)
			tokens := []string{
				online(t, onlineClaims), offline(t, offlineClaims.with("jti", `"some"`)), external(t, externalClaims),
				offline(t, offlineClaims.with("aud", `["`+billing+`","`+reports+`"]`).with("scope", `"billing:write x"`)),
			}
			var results []*verifier.Token
			var before []string
			describe := func(r *verifier.Token) string { return fmt.Sprintf("%+v %s", *r, r.Claims()) }
			for _, token := range tokens {
				result := expect(t, v, token, accepted)
				results, before = append(results, result), append(before, describe(result))
			}
			for i := range 500 {
				filler := strings.Repeat(fmt.Sprint(i%10), 40+i)
				expect(t, v, offline(t, offlineClaims.with("jti", `"`+filler+`"`)), accepted)
				expect(t, v, offline(t, offlineClaims.with("jti", `"`+filler+`"`).with("aud", `"`+filler+`"`)), verifier.ReasonAudience)
			}
			for i, result := range results {
				if after := describe(result); after != before[i] {
					t.Errorf("a result has changed from\n%s to\n%s", before[i], after)
				}
			}
		})
	}
}

// However many tokens are verified, by however many at once, the cache stays within its budget; and what it says that it takes is what it takes.
func TestTheCacheStaysWithinItsBudget(t *testing.T) {
	const memory = 1 << 20
	v := installation(t).verifier(func(cfg *verifier.Config) { cfg.TokenCacheMemory = memory })
	const workers, each = 4, 700
	sizes := []int{10, 300, 900, 2500}
	tokens := make([][]string, workers)
	for n := range tokens {
		for i := range each {
			jti := fmt.Sprintf("%d-%d-%s", n, i, strings.Repeat("x", sizes[i%len(sizes)]))
			tokens[n] = append(tokens[n], offline(t, offlineClaims.with("jti", `"`+jti+`"`)))
		}
	}
	before := heapInUse()
	var group sync.WaitGroup
	for _, mine := range tokens {
		group.Go(func() {
			for _, token := range mine {
				if _, err := v.Verify(token); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	stats := v.Stats()
	if stats.CacheMemory > memory || stats.CacheMemory < memory/2 || stats.CachedTokens < 100 {
		t.Errorf("%d tokens take %d bytes of %d", stats.CachedTokens, stats.CacheMemory, memory)
	}
	if tokens, counted := v.CountCache(); tokens != stats.CachedTokens || counted != stats.CacheMemory {
		t.Errorf("%d tokens of %d bytes are there, and %d of %d are accounted for", tokens, counted, stats.CachedTokens, stats.CacheMemory)
	}
	if grown := heapInUse() - before; grown > memory*5/4 {
		t.Errorf("the heap has grown by %d bytes, the cache says it takes %d", grown, stats.CacheMemory)
	}
	runtime.KeepAlive(v)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Tokens that are used stay when others come and go; a budget too small for one token holds none.
func TestTheCacheForgetsWhatIsNotUsed(t *testing.T) {
	clock := now
	config := func(cfg *verifier.Config) {
		cfg.TokenCacheMemory = 256 << 10
		cfg.Now = func() time.Time { return clock }
	}
	f := installation(t)
	v := f.verifier(config)
	used := online(t, onlineClaims)
	expect(t, v, used, accepted)
	for i := range 500 {
		if i%50 == 0 {
			clock = clock.Add(time.Second)
			before := v.Stats().CacheHits
			if _, err := v.Verify(used); err != nil {
				t.Fatal(err)
			}
			if v.Stats().CacheHits == before {
				t.Fatalf("a token in use was forgotten after %d others", i)
			}
		}
		if _, err := v.Verify(offline(t, offlineClaims.with("jti", fmt.Sprintf(`"%d"`, i)))); err != nil {
			t.Fatal(err)
		}
	}
	if n := v.Stats().CachedTokens; n < 50 || n > 300 {
		t.Errorf("%d tokens are cached", n)
	}
	tiny := f.verifier(func(cfg *verifier.Config) { cfg.TokenCacheMemory = 100 })
	expect(t, tiny, used, accepted)
	if stats := tiny.Stats(); stats.CachedTokens != 0 || stats.CacheMemory > 100 || stats.CacheHits != 0 {
		t.Errorf("a cache of 100 bytes: %+v", stats)
	}
}

func TestRefusedTokensAreNotCached(t *testing.T) {
	v := installation(t).verifier()
	for _, token := range []string{"garbage", mint(t, strangerKey, "at+jwt", offlineClaims), offline(t, offlineClaims.with("exp", "1789999000")), doubts(t).unknownKey} {
		if _, err := v.Verify(token); err == nil {
			t.Fatal("accepted")
		}
	}
	if stats := v.Stats(); stats.CachedTokens != 0 || stats.CacheMemory != 0 {
		t.Errorf("%+v", stats)
	}
}
