package ed25519fast

import (
	"strings"
	"testing"
)

// fuzzSeeds are the vectors made by others, and the signatures on which verifiers could differ.
func fuzzSeeds(t testing.TB) []signed {
	t.Helper()
	published, _ := readWycheproof(t)
	seeds := append(readCCTV(t), published...)
	_, usual := example(t, 30)
	seeds = append(seeds, usual, signed{name: "nothing"}, signed{"short", usual.key[:31], usual.message, usual.signature[:63]})
	return append(seeds, unusual(t)...)
}

func TestTheFuzzerHasItsSeeds(t *testing.T) {
	seeds := fuzzSeeds(t)
	for kind, want := range map[string]int{
		"CCTV": 914, "Wycheproof": 151, "mixed order": 256, "small order": 256, "A is ": 100, "R is ": 100, "S = ": 40, "a usual": 1,
	} {
		n := 0
		for _, s := range seeds {
			if strings.HasPrefix(s.name, kind) {
				n++
			}
		}
		if n < want {
			t.Errorf("%d seeds of the kind %q, want %d", n, kind, want)
		}
	}
	t.Logf("%d seeds", len(seeds))
}

// FuzzVerify looks for a key, a message and a signature on which we and crypto/ed25519 do not agree.
func FuzzVerify(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s.key, s.message, s.signature)
	}
	f.Fuzz(func(t *testing.T, key, message, signature []byte) {
		agree(t, signed{"fuzzed", key, message, signature})
	})
}
