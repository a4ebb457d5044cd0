package events

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Algorithm is a signature algorithm by its JWA name (RFC 7518 §3.1, RFC 8037 §3.1). A key has exactly one.
type Algorithm string

// The algorithms of keys. A key that says Ed25519 (RFC 9864) is kept as EdDSA: they are one algorithm with two names.
const (
	EdDSA Algorithm = "EdDSA"
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
	PS256 Algorithm = "PS256"
)

// Key is a key record: a public JWK (RFC 7517, RFC 8037) with the validity members of OpenID Federation 1.0 §8.7.
type Key struct {
	Algorithm Algorithm        // alg
	Public    crypto.PublicKey // ed25519.PublicKey, *ecdsa.PublicKey on P-256 or *rsa.PublicKey
	NotBefore int64            // nbf, NumericDate. Zero: none
	Expires   int64            // exp, NumericDate: not trusted from then on. Zero: none
	IssuedAt  int64            // iat, NumericDate. Zero: unknown
	Revoked   *KeyRevocation   // revoked
	Extra     Extra            // members of newer versions, and those of JWK that mean nothing here
}

// KeyRevocation is the revoked member of a key record, and the value of a record revoked.….
type KeyRevocation struct {
	RevokedAt int64  // revoked_at, NumericDate. Zero: unknown
	Reason    string // reason
	Extra     Extra  // members of newer versions
}

// KeyState is what a key is good for at a moment. It is derived, never stored.
type KeyState uint8

// The states of a key. Only keys that are active or retiring verify anything.
const (
	KeyUnknown  KeyState = iota // there is no valid record
	KeyPending                  // before nbf
	KeyActive                   // valid, without an end
	KeyRetiring                 // valid, with an exp
	KeyExpired                  // from exp on
	KeyRevoked                  // revoked by its record or by a record revoked.…
)

func (s KeyState) String() string {
	names := [...]string{"unknown", "pending", "active", "retiring", "expired", "revoked"}
	if int(s) >= len(names) {
		s = KeyUnknown
	}
	return names[s]
}

// Usable reports whether a key in this state verifies signatures.
func (s KeyState) Usable() bool { return s == KeyActive || s == KeyRetiring }

// State is the key's state at now by its own record alone.
func (k *Key) State(now time.Time) KeyState {
	t := now.Unix()
	switch {
	case k.Revoked != nil:
		return KeyRevoked
	case k.Expires != 0 && t >= k.Expires:
		return KeyExpired
	case t < k.NotBefore:
		return KeyPending
	case k.Expires != 0:
		return KeyRetiring
	}
	return KeyActive
}

// ParseKey reads and validates the key record of the given kid.
func ParseKey(kid KeyID, data []byte) (*Key, error) { return parseKey(kid, data, nil) }

// parseKey is ParseKey for a record that is about to replace before, if not nil. A public key that was there already
// is not checked again: to end or to revoke a key is to write it once more, and the check is most of the work.
func parseKey(kid KeyID, data []byte, before *Key) (*Key, error) {
	k, err := readKey(kid, data, before)
	if err != nil {
		return nil, alarm(data, err)
	}
	return k, nil
}

func readKey(kid KeyID, data []byte, before *Key) (*Key, error) {
	var m members
	if err := m.open(data); err != nil {
		return nil, err
	}
	if err := checkSecrecy(&m.obj); err != nil {
		return nil, err
	}
	var j jwk
	k := new(Key)
	err := m.each(func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "nbf":
			k.NotBefore, err = timestamp(value)
		case "exp":
			k.Expires, err = expiry(value)
		case "iat":
			k.IssuedAt, err = timestamp(value)
		case "revoked":
			k.Revoked, err = parseKeyRevocation(value)
		default:
			return j.member(name, value)
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	if j.kid != "" && j.kid != string(kid) {
		return nil, fmt.Errorf("kid %s is not the one in the record's name, %s", quote(j.kid), quote(string(kid)))
	}
	if k.Algorithm, k.Public, err = j.publicKey(before); err != nil {
		return nil, err
	}
	k.Extra = m.extra
	if err := k.validateWindow(); err != nil {
		return nil, err
	}
	return k, nil
}

// samePublic reports whether k and other verify the same signatures.
func (k *Key) samePublic(other *Key) bool {
	public, ok := k.Public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Algorithm == other.Algorithm && public.Equal(other.Public)
}

// Validate checks the record. It is applied to what is read and to what is about to be written.
func (k *Key) Validate() error {
	if err := CheckPublicKey(k.Algorithm, k.Public); err != nil {
		return err
	}
	if k.Revoked != nil {
		if err := k.Revoked.Validate(); err != nil {
			return err
		}
	}
	return k.validateWindow()
}

func (k *Key) validateWindow() error {
	if err := checkTimes(k.NotBefore, k.Expires, k.IssuedAt); err != nil {
		return err
	}
	if k.Expires != 0 && k.Expires <= k.NotBefore {
		return fmt.Errorf("exp %d is not after nbf %d: the key would never be valid", k.Expires, k.NotBefore)
	}
	return nil
}

// Encode validates the record and returns its JSON text, with the kid in it.
func (k *Key) Encode(kid KeyID) ([]byte, error) {
	if err := k.Validate(); err != nil {
		return nil, err
	}
	var b builder
	writeJWK(&b, k.Public)
	b.str("alg", string(k.Algorithm))
	b.str("use", "sig")
	b.str("kid", string(kid))
	k.writeWindow(&b)
	out := b.object()
	back, err := ParseKey(kid, out)
	if err == nil {
		err = sameExtra(k.Extra, back.Extra)
	}
	if err == nil && k.Revoked != nil {
		err = sameExtra(k.Revoked.Extra, back.Revoked.Extra)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// writeCompact writes the members of a valid record that a reader needs: they are never longer, and never more, than those that were read.
func (k *Key) writeCompact(b *builder) {
	writeJWK(b, k.Public)
	if _, ok := k.Public.(*rsa.PublicKey); ok {
		b.str("alg", string(k.Algorithm))
	}
	k.writeWindow(b)
}

// writeWindow writes all but what makes the public key.
func (k *Key) writeWindow(b *builder) {
	b.int("iat", k.IssuedAt)
	b.int("nbf", k.NotBefore)
	b.int("exp", k.Expires)
	if k.Revoked != nil {
		b.raw("revoked", k.Revoked.encode())
	}
	b.extra(k.Extra)
}

func parseKeyRevocation(data []byte) (*KeyRevocation, error) {
	var m members
	r := new(KeyRevocation)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "revoked_at":
			r.RevokedAt, err = timestamp(value)
		case "reason":
			r.Reason, err = strictjson.String(value)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	r.Extra = m.extra
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Validate checks the record. It is applied to what is read and to what is about to be written.
func (r *KeyRevocation) Validate() error {
	if err := checkTimes(r.RevokedAt); err != nil {
		return fmt.Errorf("revoked_at: %w", err)
	}
	return checkReason(r.Reason)
}

func (r *KeyRevocation) encode() []byte {
	var b builder
	b.int("revoked_at", r.RevokedAt)
	r.writeReason(&b)
	return b.object()
}

// writeReason writes all but the time.
func (r *KeyRevocation) writeReason(b *builder) {
	b.str("reason", r.Reason)
	b.extra(r.Extra)
}

// Encode validates the record and returns the value of a record revoked.….
func (r *KeyRevocation) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	out := r.encode()
	back, err := parseKeyRevocation(out)
	if err == nil {
		err = sameExtra(r.Extra, back.Extra)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
