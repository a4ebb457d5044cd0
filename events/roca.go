package events

import "math/big"

// isROCA reports whether n has the fingerprint of the primes that Infineon's library made until 2017 (CVE-2017-15361): they are
// k*M + (65537^a mod M) for a product M of the first primes, so that n modulo each of those primes is a power of 65537. Such
// a modulus can be factored. Smart cards, TPMs and HSMs had that library, which is where keys of external issuers may come from.
//
// M has at least the primes up to 167. A modulus made otherwise has the fingerprint with a probability below 2^-27.
func isROCA(n *big.Int) bool {
	const generator = 65537
	var remainder, modulus big.Int
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(0) { // exact below 2^64
			continue
		}
		r := remainder.Mod(n, modulus.SetInt64(p)).Int64()
		power := int64(1)
		for power != r {
			if power = power * generator % p; power == 1 {
				return false // all powers are seen, r is none of them
			}
		}
	}
	return true
}
