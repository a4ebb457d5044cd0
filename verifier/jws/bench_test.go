package jws

import (
	"crypto/ed25519"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The benchmarks report x-verify: how long the operation takes as a multiple of one crypto/ed25519.Verify of a token of
// usual size, measured in turns in the same run, because absolute times drift on shared machines.

func BenchmarkRawVerify(b *testing.B) {
	verify := rawVerify(b)
	for b.Loop() {
		verify()
	}
}

func BenchmarkParse(b *testing.B) {
	atLimit := func(claim string) string { return tokenOf(usualHeader, padClaims(claim)) }
	for _, bench := range []struct{ name, token string }{
		{"a token of usual size", usualToken()},
		{"the golden token of Authress", goldenToken},
		{"8 KiB of text", atLimit(`"%s"`)},
		{"8 KiB with 16 audiences and 50 claims", atLimit(`"%s"` + manyClaims())},
		{"8 KiB of scopes", atLimit(`"%s","scope":"` + strings.Repeat("a:b ", 700) + `"`)},
		{"8 KiB of escaped names", atLimit(`"%s"` + escapedClaims())},
		{"8 KiB with 1,000 numbers", atLimit(`"%s","x":[` + strings.Repeat("1,", 1000) + `1]`)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if _, err := Parse(bench.token); err != nil {
				b.Fatal(err)
			}
			compareWithVerify(b, func() { _, _ = Parse(bench.token) })
		})
	}
}

func BenchmarkRefuse(b *testing.B) {
	segment := strings.Repeat("QUJD", 600)
	for _, bench := range []struct{ name, token string }{
		{"1 MiB of dots", strings.Repeat(".", 1<<20)},
		{"8 KiB of dots", strings.Repeat(".", MaxToken)},
		{"8 KiB without dots", strings.Repeat("A", MaxToken)},
		{"8 KiB of garbage with two dots", segment + "." + segment + "." + segment},
		{"500 bytes of garbage with two dots", segment[:200] + "." + segment[:200] + "." + segment[:100]},
		{"an encrypted token", strings.Repeat(segment[:100]+".", 4) + segment[:100]},
		{"alg none", tokenOf(`{"alg":"none","kid":"k"}`, usualClaims)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if _, err := Parse(bench.token); err == nil {
				b.Fatal("accepted")
			}
			compareWithVerify(b, func() { _, _ = Parse(bench.token) })
		})
	}
}

func BenchmarkSign(b *testing.B) {
	header := Header{Algorithm: EdDSA, KeyID: "k1", Type: "at+jwt"}
	key := testKeys(b)[EdDSA]
	claims := []byte(usualClaims)
	b.ReportAllocs()
	sign := func() {
		if _, err := Sign(header, claims, key); err != nil {
			b.Fatal(err)
		}
	}
	input := []byte(usualToken())
	raw := func() { ed25519.Sign(key.(ed25519.PrivateKey), input) }
	for b.Loop() {
		sign()
	}
	b.ReportMetric(ratio(sign, raw), "x-sign")
}

func compareWithVerify(b *testing.B, f func()) {
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
	b.ReportMetric(ratio(f, rawVerify(b)), "x-verify")
}

// ratio is the median of f's time over base's, measured in turns.
func ratio(f, base func()) float64 {
	const turns = 41
	timed := func(f func(), n int) time.Duration {
		start := time.Now()
		for range n {
			f()
		}
		return time.Since(start)
	}
	once := max(timed(f, 10)/10, 1)
	n := max(1, int(2*time.Millisecond/once))
	ratios := make([]float64, 0, turns)
	for range turns {
		perOp := float64(timed(f, n)) / float64(n)
		perBase := float64(timed(base, 30)) / 30
		ratios = append(ratios, perOp/perBase)
	}
	slices.Sort(ratios)
	return ratios[turns/2]
}

func rawVerify(b *testing.B) func() {
	key := testKeys(b)[EdDSA]
	token, err := Parse(usualToken())
	if err != nil {
		b.Fatal(err)
	}
	input := token.SigningInput()
	signature := ed25519.Sign(key.(ed25519.PrivateKey), input)
	public := key.Public().(ed25519.PublicKey)
	return func() {
		if !ed25519.Verify(public, input, signature) {
			b.Fatal("the signature does not verify")
		}
	}
}

func manyClaims() string {
	var b strings.Builder
	b.WriteString(`,"aud":["https://audience-0.example.com"`)
	for i := range MaxAudience - 1 {
		b.WriteString(`,"https://audience-` + strconv.Itoa(i+1) + `.example.com"`)
	}
	b.WriteString(`]`)
	for i := range 50 {
		b.WriteString(`,"a_claim_of_somebody_` + strconv.Itoa(i) + `":"and its value"`)
	}
	return b.String()
}

func escapedClaims() string {
	var b strings.Builder
	for i := range MaxClaims - 3 {
		b.WriteString(`,"` + strings.Repeat(`\u0061`, 12) + strconv.Itoa(i) + `":1`)
	}
	return b.String()
}
