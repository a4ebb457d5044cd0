package verifier

import "crypto/ed25519"

// BelieveSignatures makes v take every Ed25519 signature for a good one, to see what all the rest costs.
func (v *Verifier) BelieveSignatures() {
	v.verifyEd25519 = func(ed25519.PublicKey, []byte, []byte) bool { return true }
}
