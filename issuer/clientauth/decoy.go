package clientauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// decoys are public keys that belong to nobody, by the algorithm that an assertion names. A signature that no registered
// key could have made is checked against one of them: the time that an answer takes then depends on the algorithm, which
// the caller chose, and not on whether there is such a client with such a key.
type decoys map[jws.Algorithm]crypto.PublicKey

func newDecoys() (decoys, error) {
	ed, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make decoy key: %w", err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make decoy key: %w", err)
	}
	r, err := decoyRSA()
	if err != nil {
		return nil, fmt.Errorf("make decoy key: %w", err)
	}
	return decoys{jws.EdDSA: ed, jws.Ed25519: ed, jws.ES256: &p256.PublicKey, jws.RS256: r, jws.PS256: r}, nil
}

// decoyRSA returns a random odd number as modulus. To check a signature takes as long as with a product of two primes,
// for which one would have to search a while.
func decoyRSA() (*rsa.PublicKey, error) {
	modulus := make([]byte, events.MinRSABits/8)
	if _, err := rand.Read(modulus); err != nil {
		return nil, err
	}
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537}, nil
}
