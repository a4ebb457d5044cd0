package verifier_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// The benchmarks report x-raw: how long Verify takes as a multiple of one crypto/ed25519.Verify of the same message, signature and key,
// measured in turns in the same run, because absolute times drift on shared machines. Bars:
//
//	cold, that is without the cache, with tables    0.42 (1 key), 0.50 (1,000 keys in turn), 1 allocation
//	cold without tables                             1.10, 2 allocations
//	everything but the signature                    0.04
//	the repeat of a token                           0.008 (1,000 tokens), 0.025 (100,000 tokens), 0 allocations
//	garbage, over the size limit, an unknown kid    0.05
//	anything at the size limit                      0.5

// manyKeys is how many clients, each with its key, the set has.
const manyKeys = 1000

// crowd is a set of many clients with a token of usual size of each.
type crowd struct {
	*feed
	clients []string
	keys    []signer
	tokens  []string
	raw     []rawVerify // of the same tokens
}

// rawVerify is what crypto/ed25519 needs to verify a token.
type rawVerify struct {
	key       ed25519.PublicKey
	message   []byte
	signature []byte
}

func newCrowd(b testing.TB) *crowd {
	c := &crowd{feed: installation(b)}
	for i := range manyKeys {
		name := fmt.Sprintf("client%d", i)
		s := edSigner(name)
		s.kid = events.KeyID(fmt.Sprintf("k%d", i%7)) // most kids are used by many clients
		c.put("issuer."+name, ordersRecord)
		c.putKey(events.Name(name), s, "")
		token := mint(b, s, "at+jwt", usualClaims(name))
		c.clients, c.keys = append(c.clients, name), append(c.keys, s)
		c.tokens, c.raw = append(c.tokens, token), append(c.raw, rawOf(b, s, token))
	}
	return c
}

// more returns so many tokens of the crowd, all different.
func (c *crowd) more(n int) []string {
	tokens := make([]string, n)
	for i := range tokens {
		client := i % manyKeys
		tokens[i] = mint(c.t, c.keys[client], "at+jwt", usualClaims(c.clients[client]).with("jti", fmt.Sprintf(`"0198c5f2-6d1c-7a31-9a52-%012x"`, i)))
	}
	return tokens
}

// usualClaims make a token of about 500 bytes.
func usualClaims(client string) claims {
	return offlineClaims.with("iss", `"`+platformURL+"/v1/clients/"+client+`"`).with("sub", `"`+client+`"`).with("client_id", `"`+client+`"`).
		with("nbf", "1789999990").with("jti", `"0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11"`).with("scope", `"billing:read billing:write"`)
}

func rawOf(b testing.TB, s signer, token string) rawVerify {
	parts := segments(token)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		b.Fatal(err)
	}
	return rawVerify{s.key.Public().(ed25519.PublicKey), []byte(parts[0] + "." + parts[1]), signature}
}

func BenchmarkVerify(b *testing.B) {
	c := newCrowd(b)
	f := installation(b)
	f.revokeToken(events.TokenByID(ordersURL, "another"), "")
	withoutTables := func(cfg *verifier.Config) { cfg.KeyTableMemory = -1 }
	cold, plain, believing := c.verifier(withoutCache), c.verifier(withoutCache, withoutTables), c.verifier(withoutCache)
	believing.BelieveSignatures()
	one := f.verifier(withoutCache)
	for _, bench := range []struct {
		name   string
		v      *verifier.Verifier
		tokens []string
	}{
		{"cold, 1 key", cold, c.tokens[:1]},
		{"cold, 1,000 keys in turn", cold, c.tokens},
		{"cold without tables, 1 key", plain, c.tokens[:1]},
		{"cold without tables, 1,000 keys in turn", plain, c.tokens},
		{"everything but the signature, 1 key", believing, c.tokens[:1]},
		{"everything but the signature, 1,000 keys in turn", believing, c.tokens},
		{"online, and there are revoked tokens", one, []string{online(b, onlineClaims)}},
		{"offline, without jti, and there are revoked tokens", one, []string{offline(b, offlineClaims)}},
		{"ES256", one, []string{mint(b, ordersKeys()[1], "at+jwt", offlineClaims)}},
		{"RS256", one, []string{mint(b, ordersKeys()[2], "at+jwt", offlineClaims)}},
		{"PS256", one, []string{mint(b, ordersKeys()[3], "at+jwt", offlineClaims)}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			prepare(b, bench.v, bench.tokens)
			c.compare(b, func(i int) { _, _ = bench.v.Verify(bench.tokens[i%len(bench.tokens)]) })
		})
	}
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("repeat, %d tokens", n), func(b *testing.B) {
			v, tokens := c.verifier(roomFor(n)), c.more(n)
			prepare(b, v, tokens)
			rand.Shuffle(n, func(i, j int) { tokens[i], tokens[j] = tokens[j], tokens[i] })
			before := v.Stats()
			c.compare(b, func(i int) { _, _ = v.Verify(tokens[i%n]) })
			after := v.Stats()
			hits, all := after.CacheHits-before.CacheHits, after.Accepted-before.Accepted
			// Tokens that share a bucket with more of them than it has room for push each other out: two to four of 1,000, for one random
			// seed of the hash in fifty.
			if hits < all-all/100 {
				b.Errorf("%d of %d were in the cache", hits, all)
			}
		})
	}
}

// roomFor lets so many tokens be cached.
func roomFor(tokens int) func(*verifier.Config) {
	return func(cfg *verifier.Config) { cfg.TokenCacheMemory = int64(tokens) * 4096 }
}

// prepare verifies the tokens, until their keys have the tables that they will get.
func prepare(b testing.TB, v *verifier.Verifier, tokens []string) {
	b.Helper()
	for round, tables := 0, -1; ; round++ {
		for _, token := range tokens {
			if _, err := v.Verify(token); err != nil {
				b.Fatal(err)
			}
		}
		if now := v.Stats().KeyTables; round >= 20 && now == tables {
			return
		} else {
			tables = now
		}
	}
}

// BenchmarkVerifyOnTwoCores verifies the tokens of a cache of 1,000 on one core and on two, in turns, and reports x-cores: how many times as
// many two verify. Bar: 1.8. On a machine that does other things, too, two cores are not worth two: raw-x-cores is how many times as many raw
// verifications, which share nothing, two do.
func BenchmarkVerifyOnTwoCores(b *testing.B) {
	c := newCrowd(b)
	v := c.verifier()
	prepare(b, v, c.tokens)
	const turns = 300
	run := func(cores, each int, f func(int)) time.Duration {
		var group sync.WaitGroup
		start := time.Now()
		for core := range cores {
			group.Go(func() {
				for i := range each {
					f(i + core*manyKeys/2)
				}
			})
		}
		group.Wait()
		return time.Since(start)
	}
	compare := func(each int, f func(int)) float64 {
		var one, two []time.Duration
		for range turns {
			one, two = append(one, run(1, each, f)), append(two, run(2, each, f))
		}
		slices.Sort(one)
		slices.Sort(two)
		return 2 * float64(one[turns/10]) / float64(two[turns/10])
	}
	for b.Loop() {
		b.ReportMetric(compare(2000, func(i int) { _, _ = v.Verify(c.tokens[i%manyKeys]) }), "x-cores")
		b.ReportMetric(compare(15, c.verifyRaw), "raw-x-cores")
	}
}

func BenchmarkVerifyRefuses(b *testing.B) {
	c := newCrowd(b)
	v := installation(b).verifier() // with all caches
	unsigned := func(header string, c claims) string {
		return b64(header) + "." + b64(c.String()) + "." + b64(strings.Repeat("s", 64))
	}
	usual := header("EdDSA", "k1", "at+jwt")
	full := func(claim func(n int) (name, json string)) string { return fillToken(usual, claim) }
	text := func(name, of string) func(int) (string, string) {
		return func(n int) (string, string) { return name, `"` + strings.Repeat(of, n/len(of)) + `"` }
	}
	values := func(of string, count int) func(int) (string, string) { // the rest is text
		list := strings.Repeat(of, count)
		return func(n int) (string, string) {
			return "x", `[` + list + `"` + strings.Repeat("x", max(0, n-len(list))) + `"]`
		}
	}
	for _, bench := range []struct {
		name  string
		token string
		want  verifier.Reason
	}{
		{"garbage", strings.Repeat("garbage ", 60), verifier.ReasonMalformed},
		{"garbage with two dots", strings.Repeat("QUJD", 50) + "." + strings.Repeat("QUJD", 50) + "." + strings.Repeat("QUJD", 20), verifier.ReasonMalformed},
		{"a token cut short", offline(b, offlineClaims)[:300], verifier.ReasonMalformed},
		{"over the size limit", strings.Repeat("QUJD", 2049), verifier.ReasonMalformed},
		{"1 MiB", strings.Repeat("QUJD", 1<<18), verifier.ReasonMalformed},
		{"unknown kid", unsigned(header("EdDSA", "k9", "at+jwt"), usualClaims("orders")), verifier.ReasonKey},
		{"unknown issuer", unsigned(usual, usualClaims("nobody")), verifier.ReasonIssuer},
		{"alg none", unsigned(header("none", "k1", "at+jwt"), usualClaims("orders")), verifier.ReasonAlgorithm},
		{"8 KiB of text", full(text("x", "x")), verifier.ReasonIssuer},
		{"8 KiB of text beyond ASCII", full(text("x", "é")), verifier.ReasonIssuer},
		{"8 KiB of escape sequences", full(text("x", `\n`)), verifier.ReasonIssuer},
		{"8 KiB of an escaped iss", unsigned(usual, claims{{"iss", `"` + strings.Repeat(`\u00e9`, 950) + `"`}}), verifier.ReasonIssuer},
		{"8 KiB of a scope", full(text("scope", "a ")), verifier.ReasonIssuer},
		{"8 KiB of scopes", full(func(n int) (string, string) {
			return "scopes", `["` + strings.Repeat("a", n-128*4) + `"` + strings.Repeat(`,"a"`, 127) + `]`
		}), verifier.ReasonIssuer},
		{"8 KiB of audiences", full(func(n int) (string, string) {
			return "aud", `["` + strings.Repeat("a", n-15*4) + `"` + strings.Repeat(`,"a"`, 15) + `]`
		}), verifier.ReasonIssuer},
		{"8 KiB with 1,000 numbers", full(values(`1,`, 1000)), verifier.ReasonIssuer},
		{"8 KiB with 500 objects of a member", full(values(`{"":1},`, 500)), verifier.ReasonIssuer},
		{"8 KiB with 13 objects of 64 members", full(values(manyMembers()+",", 13)), verifier.ReasonIssuer},
		{"8 KiB with values of all kinds", full(values(`1,{"a":[]},"",-2.5e3,[[1]],{},null,"\u00e9",`, 1000/12)), verifier.ReasonIssuer},
		{"8 KiB of numbers, which are too many", full(values(`1,`, 2900)), verifier.ReasonMalformed},
		{"8 KiB of empty arrays, which are too many", full(values(`[],`, 1900)), verifier.ReasonMalformed},
		{"8 KiB that end in an error", unsigned(usual, claims{{"x", `["` + strings.Repeat("x", 5700) + `"}`}}), verifier.ReasonMalformed},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if _, err := v.Verify(bench.token); reasonOf(err) != bench.want {
				b.Fatalf("%v, want %s", err, bench.want)
			}
			c.compare(b, func(int) { _, _ = v.Verify(bench.token) })
		})
	}
}

// fillToken returns an unsigned token of an unknown issuer, as long as tokens may be, most of it one claim: claim makes it about n bytes long.
func fillToken(header string, claim func(n int) (name, json string)) string {
	for n := jws.MaxToken; n > 0; n-- {
		name, json := claim(n)
		token := b64(header) + "." + b64(claims{{"iss", `"https://nobody"`}, {name, json}}.String()) + "." + b64(strings.Repeat("s", 64))
		if len(token) <= jws.MaxToken {
			return token
		}
	}
	panic("the claim is longer than a token")
}

func manyMembers() string {
	var c claims
	for i := range jws.MaxClaims {
		c = append(c, [2]string{fmt.Sprint(i), "1"})
	}
	return c.String()
}

// compare times f against raw verifications in turns, and reports the ratio of the tenth percentiles: of two things that take turns on a
// machine that does other things as well, the undisturbed turns are comparable. Turns are short, so that there are such.
func (c *crowd) compare(b *testing.B, f func(int)) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f(i)
		i++
	}
	b.StopTimer()
	const turns, rawTurn = 1000, 4
	n := max(1, int(200*time.Microsecond/max(timed(f, 0, 20)/20, 1)))
	var ours, raw []float64
	for turn := range turns {
		ours = append(ours, float64(timed(f, turn*n, n))/float64(n))
		raw = append(raw, float64(timed(c.verifyRaw, turn*rawTurn, rawTurn))/rawTurn)
	}
	slices.Sort(ours)
	slices.Sort(raw)
	b.ReportMetric(ours[turns/10]/raw[turns/10], "x-raw")
}

func (c *crowd) verifyRaw(i int) {
	r := &c.raw[i%len(c.raw)]
	if !ed25519.Verify(r.key, r.message, r.signature) {
		panic("the signature does not verify")
	}
}

// timed calls f n times.
func timed(f func(int), first, n int) time.Duration {
	start := time.Now()
	for i := range n {
		f(first + i)
	}
	return time.Since(start)
}

func TestVerifyAllocatesLittle(t *testing.T) {
	f := installation(t)
	f.put("issuer.client1", ordersRecord)
	clientKey := edSigner("client1")
	f.putKey("client1", clientKey, "")
	f.revokeToken(events.TokenByID(ordersURL, "another"), "")
	cached, cold := f.verifier(), f.verifier(withoutCache)
	unknown := ordersKey
	unknown.kid = "k9"
	for _, row := range []struct {
		name         string
		token        string
		want         verifier.Reason
		again, first float64 // allocations with the cache, and without
	}{
		{"a token of usual size", mint(t, clientKey, "at+jwt", usualClaims("client1")), accepted, 0, 1},
		{"an online token", online(t, onlineClaims), accepted, 0, 1},
		{"an offline token", offline(t, offlineClaims), accepted, 0, 1},
		{"an external token", external(t, externalClaims), accepted, 0, 1},
		{"two audiences", offline(t, offlineClaims.with("aud", `["`+billing+`","`+reports+`"]`)), accepted, 0, 1},
		{"a part of the scope", offline(t, offlineClaims.with("scope", `"x billing:write y"`)), accepted, 0, 1},
		{"a bound token", offline(t, offlineClaims.with("cnf", boundTo(certificates[0]))), accepted, 0, 2},
		{"a token of 6 KiB", offline(t, offlineClaims.with("x", `"`+strings.Repeat("x", 4000)+`"`)), accepted, 0, 2},
		{"an unknown kid", mint(t, unknown, "at+jwt", offlineClaims), verifier.ReasonKey, 1, 1},
		{"a bad signature", mint(t, signer{"k1", jws.EdDSA, strangerKey.key}, "at+jwt", offlineClaims), verifier.ReasonSignature, 3, 3},
		{"garbage", strings.Repeat("garbage ", 60), verifier.ReasonMalformed, 2, 2},
		{"1 MiB of dots", strings.Repeat(".", 1<<20), verifier.ReasonMalformed, 2, 2},
	} {
		for v, limit := range map[*verifier.Verifier]float64{cached: row.again, cold: row.first} {
			request := verifier.Request{Confirm: verifier.ByCertificate(certificates[0])}
			got := testing.AllocsPerRun(100, func() {
				if _, err := v.VerifyRequest(row.token, request); reasonOf(err) != row.want {
					t.Fatalf("%s: %v", row.name, err)
				}
			})
			if got > limit {
				t.Errorf("%s, cached: %v: %v allocations, want at most %v", row.name, v == cached, got, limit)
			}
		}
	}
}

func TestNothingIsKeptOfTokensThatAreRefused(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	const rounds = 100_000
	refuse := func(i int) {
		var token string
		switch i % 5 {
		case 0:
			token = fmt.Sprintf("garbage %d", i)
		case 1:
			token = b64(header("EdDSA", events.KeyID(fmt.Sprintf("kid%d", i)), "at+jwt")) + "." + b64(offlineClaims.String()) + ".c2ln"
		case 2:
			token = b64(header("EdDSA", "k1", "at+jwt")) + "." + b64(fmt.Sprintf(`{"iss":"https://%d.example"}`, i)) + ".c2ln"
		case 3:
			token = b64(fmt.Sprintf(`{"alg":"EdDSA","kid":"k1","jku":"https://%d.example"}`, i)) + "." + b64(offlineClaims.String()) + ".c2ln"
		case 4:
			token = strings.Repeat(".", i%jws.MaxToken)
		}
		if _, err := v.Verify(token); err == nil {
			t.Fatalf("accepted: %s", token)
		}
	}
	for i := range 1000 {
		refuse(i)
	}
	before := heapInUse()
	for i := range rounds {
		refuse(1000 + i)
	}
	// A byte for each token would be too much.
	if grown := heapInUse() - before; grown > rounds {
		t.Errorf("after %d refused tokens there are %d bytes more", rounds, grown)
	}
	runtime.KeepAlive(f)
}
