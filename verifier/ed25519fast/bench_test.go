package ed25519fast

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The benchmarks report x-raw: how long something takes as a multiple of one crypto/ed25519.Verify of the same signatures, measured in
// turns in the same run, because absolute times drift on shared machines. Bars: 1 key 0.33, 1,000 keys in turn 0.42, New 20.

// signatures are of 500 bytes each, by so many keys in turn.
func signatures(b *testing.B, keys, count int) (prepared []*Key, all []signed) {
	r := random(40)
	private := make([]ed25519.PrivateKey, keys)
	for i := range private {
		private[i] = ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
		key, err := New(private[i].Public().(ed25519.PublicKey))
		if err != nil {
			b.Fatal(err)
		}
		prepared = append(prepared, key)
	}
	for i := range count {
		key, message := private[i%keys], randomBytes(r, 500)
		all = append(all, signed{"", key.Public().(ed25519.PublicKey), message, ed25519.Sign(key, message)})
	}
	return prepared, all
}

func BenchmarkVerify(b *testing.B) {
	for _, bench := range []struct {
		name string
		keys int
	}{{"1 key", 1}, {"1,000 keys in turn", 1000}} {
		b.Run(bench.name, func(b *testing.B) {
			keys, all := signatures(b, bench.keys, 1000)
			compare(b, all, func(i int) {
				s := &all[i%len(all)]
				if !keys[i%len(keys)].Verify(s.message, s.signature) {
					panic("the signature does not verify")
				}
			})
		})
	}
}

func BenchmarkNew(b *testing.B) {
	_, all := signatures(b, 100, 100)
	compare(b, all, func(i int) {
		if _, err := New(all[i%len(all)].key); err != nil {
			panic(err)
		}
	})
}

// BenchmarkSteps says where the time of a verification goes.
func BenchmarkSteps(b *testing.B) {
	keys, all := signatures(b, 1, 1000)
	k, s := keys[0], newScalar(all[0].signature[32:])
	h := k.challenge(all[0].signature[:32], all[0].message)
	var chosen choices
	var p point
	p.setNeutral()
	p.add(&k.table[0], 0)
	for _, step := range []struct {
		name string
		f    func(int)
	}{
		{"hash", func(int) { k.challenge(all[0].signature[:32], all[0].message) }},
		{"choose", func(int) { keyComb.choose(&chosen, 0, &h); baseComb.choose(&chosen, keyTables, &s) }},
		{fmt.Sprint(rows*(keyTables+baseTables), " additions"), func(i int) {
			for j := range rows * (keyTables + baseTables) {
				p.add(&k.table[j], uint16(i+j)&1)
			}
		}},
		{fmt.Sprint(rows-1, " doublings"), func(int) {
			for range rows - 1 {
				p.double()
			}
		}},
		{"encode", func(int) { p.encode() }},
	} {
		b.Run(step.name, func(b *testing.B) { compare(b, all, step.f) })
	}
}

// compare times f against raw verifications in turns, and reports the ratio of the tenth percentiles: of two things that take turns on a
// machine that does other things as well, the undisturbed turns are comparable. Turns are short, so that there are such.
func compare(b *testing.B, all []signed, f func(int)) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f(i)
		i++
	}
	b.StopTimer()
	raw := func(i int) {
		if s := &all[i%len(all)]; !ed25519.Verify(s.key, s.message, s.signature) {
			panic("the signature does not verify")
		}
	}
	const turns, rawTurn = 1000, 4
	n := max(1, int(200*time.Microsecond/max(timed(f, 0, 20)/20, 1)))
	var ours, raws []float64
	for turn := range turns {
		ours = append(ours, float64(timed(f, turn*n, n))/float64(n))
		raws = append(raws, float64(timed(raw, turn*rawTurn, rawTurn))/rawTurn)
	}
	slices.Sort(ours)
	slices.Sort(raws)
	b.ReportMetric(ours[turns/10]/raws[turns/10], "x-raw")
}

// timed calls f n times.
func timed(f func(int), first, n int) time.Duration {
	start := time.Now()
	for i := range n {
		f(first + i)
	}
	return time.Since(start)
}
