package verifier

import (
	"crypto/ed25519"
	"unsafe"
)

// BelieveSignatures makes v take every Ed25519 signature for a good one, to see what all the rest costs.
func (v *Verifier) BelieveSignatures() {
	v.verifyEd25519 = func(ed25519.PublicKey, []byte, []byte) bool { return true }
}

// CountCache counts what is in the cache, token by token.
func (v *Verifier) CountCache() (tokens int, memory int64) {
	buckets := *v.cache.buckets.Load()
	memory = int64(len(buckets)) * int64(unsafe.Sizeof(bucket{}))
	for i := range buckets {
		for slot := range buckets[i].slots {
			if a := buckets[i].slots[slot].Load(); a != nil {
				tokens++
				memory += a.size
			}
		}
	}
	return tokens, memory
}
