// Package ed25519fast verifies Ed25519 signatures by keys that are used many times, in a third of the time that crypto/ed25519 takes.
//
//	key, err := ed25519fast.New(public) // once: the time of two verifications by crypto/ed25519, and 14 KiB
//	ok := key.Verify(message, signature)
//
// # Promise
//
// A [Key] accepts and refuses exactly what [crypto/ed25519.Verify] accepts and refuses, also where RFC 8032 leaves a choice or
// is stricter:
//
//   - S must be less than the order L of the base point (§5.1.7);
//   - the equation is the one without the cofactor, [S]B = R + [k]A, for every A, of small and of mixed order too;
//   - R is compared as bytes with the one encoding that the computed point has, so that no other encoding of R is accepted;
//   - A may be encoded in a way that is not canonical, and is hashed as it is encoded. Which keys to trust is for others to judge.
//
// Only public data is handled, and the time depends on it. For signing, where the scalar is a secret, this would be wrong.
//
// The arithmetic is not that of the FIPS 140-3 module. Where crypto/fips140.Enabled() is true, the caller is to use crypto/ed25519.
//
// # Method
//
// What is checked is R = [k](-A) + [S]B. The standard library takes the square root that A's compressed form asks for, makes a
// small table of multiples of A, and doubles some 250 times. Here all that depends on A alone is done in [New], with a comb
// (Lim and Lee, "More Flexible Exponentiation with Precomputation", 1994) with signed digits (Hamburg, "Fast and compact elliptic-curve
// cryptography", 2012). A scalar s, or s+1 if s is even, is written with 253 digits that are all 1 or -1:
//
//	Σ d[i]·2^i, 0 <= i < 253, where d[252] = 1, and of the others d[i] = 1 if bit i+1 of s is set
//
// Eleven digits in a row make one of 23 teeth. Teeth 0 to 5, for example, share a table, which has ±P ± [2^11]P … + [2^55]P for all
// signs; the last is always plus, because the other half of the sums are the negatives of these. So digits 0, 11, … 55 cost one
// addition, and after a doubling the next ones, 1, 12, … 56, one from the same table: from the top down that is Horner's rule. For a key
// the teeth are shared among four tables, for B, which all keys have in common, among two larger ones. That makes 10 doublings and 66
// additions, and one more for an even scalar, to take away what was too much.
//
// Points are added by the formulas of Hisil, Wong, Carter and Dawson, "Twisted Edwards Curves Revisited" (2008, §3.1, §3.3), which hold
// for all points of this curve without exception. Field, scalars and the decoding of points are filippo.io/edwards25519's.
package ed25519fast
