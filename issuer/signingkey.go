package issuer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// signingKey is a key with which this node signs. Its private half is within a function and nowhere else, so that
// no formatting, logging or comparing of this value, or of one that has it, can get at it.
type signingKey struct {
	kid    events.KeyID
	public crypto.PublicKey
	sign   func(message []byte) ([]byte, error)
	tokens *jws.Signer // signs access tokens with it

	mu      sync.Mutex
	retired bool  // it signs no more
	lastExp int64 // latest exp of the tokens that it may have signed, NumericDate; zero: it has signed none
}

var _ crypto.Signer = (*signingKey)(nil)

func newSigningKey() (*signingKey, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	return hide(private)
}

// hide makes a signing key of a private one.
func hide(private ed25519.PrivateKey) (*signingKey, error) {
	k, err := withSign(private.Public(), func(message []byte) ([]byte, error) { return ed25519.Sign(private, message), nil })
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	return k, nil
}

// wrap makes a signing key of one that was configured. The private half may be anywhere.
func wrap(signer crypto.Signer) (*signingKey, error) {
	if events.CheckPublicKey(events.EdDSA, signer.Public()) != nil { // its error is about records
		return nil, errors.New("SigningKey is not a usable Ed25519 key")
	}
	k, err := withSign(signer.Public(), func(message []byte) ([]byte, error) { return signer.Sign(rand.Reader, message, crypto.Hash(0)) })
	if err != nil {
		return nil, fmt.Errorf("SigningKey: %w", err)
	}
	return k, nil
}

func withSign(public crypto.PublicKey, sign func([]byte) ([]byte, error)) (k *signingKey, err error) {
	thumbprint, err := events.Thumbprint(public)
	if err != nil {
		return nil, err
	}
	k = &signingKey{kid: events.KeyID(thumbprint), public: public, sign: sign}
	k.tokens, err = jws.NewSigner(jws.Header{Algorithm: jws.EdDSA, KeyID: thumbprint, Type: typeAccessToken}, k)
	return k, err
}

// Public returns the public half.
func (k *signingKey) Public() crypto.PublicKey { return k.public }

// Sign signs message, which is not a digest (RFC 8032 §5.1.6).
func (k *signingKey) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != 0 {
		return nil, errors.New("an Ed25519 key signs messages, not digests")
	}
	return k.sign(message)
}

// reserve notes that a token which ends at exp is about to be signed, and reports whether that may be.
func (k *signingKey) reserve(exp int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.retired {
		return false
	}
	k.lastExp = max(k.lastExp, exp)
	return true
}

// retire ends the key's use and returns the exp of its last token: there will be none after that.
func (k *signingKey) retire() (lastExp int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = true
	return k.lastExp
}

// covers reports whether verifiers with the given set accept the key until a token that ends at exp has ended everywhere.
func (k *signingKey) covers(set *events.Set, now time.Time, exp int64) bool {
	entry := set.Key(events.Platform, k.kid)
	if entry == nil || !entry.State(now).Usable() || !k.isOf(entry.Record) {
		return false
	}
	return exp+leaseMargin <= entry.Record.Expires // a record with no exp is not ours
}

// isOf reports whether a record is about this key.
func (k *signingKey) isOf(record *events.Key) bool {
	return record != nil && k.public.(ed25519.PublicKey).Equal(record.Public)
}
