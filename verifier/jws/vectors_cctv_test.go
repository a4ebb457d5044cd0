package jws

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// The edge cases on which implementations of Ed25519 differ: points of low order, encodings that are not canonical. Every
// verifier must draw the line at one place, or a token is valid in one service and not in the next.
func TestCCTVEd25519(t *testing.T) {
	data, err := os.ReadFile("testdata/cctv/ed25519vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Number        int
		Key, Sig, Msg string
		Flags         []string
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != 914 {
		t.Fatalf("read %d vectors, want 914", len(vectors))
	}
	accepted := 0
	for _, v := range vectors {
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := hex.DecodeString(v.Sig)
		if err != nil {
			t.Fatal(err)
		}
		got := Verify(EdDSA, ed25519.PublicKey(key), []byte(v.Msg), sig) == nil
		if want := ed25519.Verify(key, []byte(v.Msg), sig); got != want {
			t.Errorf("vector %d %v: accepted %v, crypto/ed25519: %v", v.Number, v.Flags, got, want)
		}
		// The same said in the words of the vectors: no multiplication by the cofactor, and R is compared as bytes. Where a
		// point was encoded anew before hashing it depends on the hash.
		want := !slices.Contains(v.Flags, "low_order_residue") && !slices.Contains(v.Flags, "non_canonical_R")
		if got != want && !slices.Contains(v.Flags, "reencoded_k") {
			t.Errorf("vector %d %v: accepted %v, by its flags: %v", v.Number, v.Flags, got, want)
		}
		if got {
			accepted++
		}
	}
	t.Logf("%d vectors: %d accepted, %d refused", len(vectors), accepted, len(vectors)-accepted)
}
