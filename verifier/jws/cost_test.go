package jws

import (
	"runtime"
	"strings"
	"testing"
)

func TestParseAllocatesThreeTimes(t *testing.T) {
	for name, token := range map[string]string{
		"a token of usual size": usualToken(),
		"the golden token":      goldenToken,
		"two audiences":         tokenOf(usualHeader, `{"iss":"i","sub":"s","aud":["a","b"],"client_id":"c","jti":"j","scope":"s","exp":2,"iat":1,"nbf":1}`),
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(token) }); n > 3 {
			t.Errorf("%s: %v allocations, want 3 at most", name, n)
		}
	}
}

// A few bytes for the error and no more, however long the garbage is (golang-jwt CVE-2025-30204, go-jose CVE-2025-27144 and
// x/oauth2 CVE-2025-22868 cut a token at all its dots; go-jose CVE-2026-34986, jwx CVE-2024-28122 and jose2go CVE-2025-63811 looked
// into encrypted ones).
func TestC_GarbageCostsNoMemory(t *testing.T) {
	dots := strings.Repeat(".", 1<<20)
	text := strings.Repeat("QUJD", 1<<18)
	for name, token := range map[string]string{
		"a megabyte of dots":                   dots,
		"a megabyte of text":                   text,
		"8 KiB of dots":                        dots[:MaxToken],
		"8 KiB of text":                        text[:MaxToken],
		"8 KiB in three segments":              text[:1000] + "." + text[:6000] + "." + text[:1000],
		"8 KiB in five segments":               text[:1600] + "." + text[:1600] + "." + text[:1600] + "." + text[:1600] + "." + text[:1600],
		"8 KiB with a space":                   text[:1000] + "." + text[:6000] + "." + text[:1000] + " ",
		"a header that is only open brackets":  encode(strings.Repeat("[", MaxHeader)) + "." + text[:6000] + "." + text[:88],
		"a bad algorithm":                      encode(`{"alg":"none","kid":"`+strings.Repeat("k", MaxKeyID)+`"}`) + "." + text[:6000] + "." + text[:88],
		"a huge count for a password's hashes": encode(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A128GCM"}`) + "." + text[:6000] + "." + text[:88],
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(token); err == nil {
				t.Fatal("accepted")
			}
			const runs = 1000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				_, _ = Parse(token)
			}
			runtime.ReadMemStats(&after)
			if perRun := (after.TotalAlloc - before.TotalAlloc) / runs; perRun > 256 {
				t.Errorf("%d bytes allocated a token, want 256 at most", perRun)
			}
		})
	}
}

// Whatever a token has in it, what is allocated for it is a small multiple of its size.
func TestC_HostileTokensCostLittleMemory(t *testing.T) {
	for name, member := range map[string]string{
		"names in escape sequences":  `"%s"` + escapedClaims(),
		"names that share a prefix":  `"%s","` + strings.Repeat("n", 600) + `1":1,"` + strings.Repeat("n", 600) + `2":1`,
		"values in escape sequences": `"%s","sub":"` + strings.Repeat(`\u0061`, 500) + `"`,
		"an array of numbers":        `"%s","x":[` + strings.Repeat("1,", 1000) + `1]`,
		"an array of scopes":         `"%s","scopes":["` + strings.Repeat("a", 100) + `"` + strings.Repeat(`,"b"`, MaxScopes-1) + `]`,
		"many claims":                `"%s"` + manyClaims(),
	} {
		t.Run(name, func(t *testing.T) {
			token := tokenOf(usualHeader, padClaims(member))
			mustParse(t, token)
			const runs = 100
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range runs {
				_, _ = Parse(token)
			}
			runtime.ReadMemStats(&after)
			if perRun := (after.TotalAlloc - before.TotalAlloc) / runs; perRun > 4*MaxToken {
				t.Errorf("%d bytes allocated for a token of %d", perRun, len(token))
			}
		})
	}
}

// The parts of a token share a buffer: writing behind one must not change the next.
func TestPartsOfATokenCannotBeExtendedIntoEachOther(t *testing.T) {
	token := mustParse(t, usualToken())
	payload, signature := string(token.Payload()), string(token.Signature())
	_ = append(token.SigningInput(), "overwritten"...)
	_ = append(token.Payload(), "overwritten"...)
	_ = append(token.Signature(), "overwritten"...)
	if string(token.Payload()) != payload || string(token.Signature()) != signature {
		t.Error("an append to one part changed another")
	}
}

func TestStringsOfATokenDoNotChangeWithIt(t *testing.T) {
	token := mustParse(t, usualToken())
	issuer, kid := strings.Clone(token.Claims.Issuer), strings.Clone(token.Header.KeyID)
	clear(token.data)
	if token.Claims.Issuer != issuer || token.Header.KeyID != kid {
		t.Error("the strings of a token are views of its buffer")
	}
}
