package verifier_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/verifier"
)

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
