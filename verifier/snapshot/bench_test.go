package snapshot

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// BenchmarkFile is what the disk adds to BenchmarkSnapshot of package events: 100,000 keys, of 1,000 clients and of as many as there are keys,
// synced. The bar is 1 s each.
func BenchmarkFile(b *testing.B) {
	const keys = 100_000
	for _, clients := range []int{1000, keys} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { benchmarkFile(b, fill(clients, keys)) })
	}
}

// fill makes a bucket with so many clients, and keys that are theirs in turn.
func fill(clients, keys int) *bucket {
	set := &bucket{events.NewSet(nil), events.NewRevocations(nil)}
	for i := range clients {
		set.put(fmt.Sprintf("issuer.sc_%022d", i), `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true}`)
	}
	var seed [ed25519.SeedSize]byte
	for i := range keys {
		binary.BigEndian.PutUint64(seed[:], uint64(i))
		public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		set.put(fmt.Sprintf("key.sc_%022d.k%d", i%clients, i), fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s"}`, base64.RawURLEncoding.EncodeToString(public)))
	}
	return set
}

func benchmarkFile(b *testing.B, set *bucket) {
	f := file{filepath.Join(b.TempDir(), "keys")}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.write(set.at(time.Now())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("start", func(b *testing.B) {
		if _, err := f.write(set.at(time.Now())); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if s, _, err := f.read(); err != nil || s.Keys.Revision() != set.keys.Revision() {
				b.Fatal(err)
			}
		}
	})
	b.Run("confirm", func(b *testing.B) {
		for b.Loop() {
			if err := f.confirm(events.Digest{}, time.Now()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
