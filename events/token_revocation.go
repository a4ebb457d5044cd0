package events

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

// TokenID names one token in REVOCATIONS. It is comparable.
type TokenID struct {
	byJTI bool
	sum   [sha256.Size]byte
}

// TokenByID names the token of an issuer by its jti.
func TokenByID(iss, jti string) TokenID {
	var space [512]byte // on the stack for all but freak tokens
	text := append(append(append(space[:0], iss...), '\n'), jti...)
	return TokenID{true, sha256.Sum256(text)}
}

// TokenByText names a token that has no jti, by its header and payload as they stand in it: header "." payload. The
// signature is left out because a signature may have several encodings.
func TokenByText(signingInput []byte) TokenID {
	return TokenID{false, sha256.Sum256(signingInput)}
}

// String is the name in the bucket: jti.<base64url> or tok.<base64url>.
func (t TokenID) String() string {
	prefix := "tok."
	if t.byJTI {
		prefix = "jti."
	}
	return prefix + base64.RawURLEncoding.EncodeToString(t.sum[:])
}

// ParseTokenID reads a name in REVOCATIONS.
func ParseTokenID(name string) (TokenID, error) {
	kind, rest, _ := strings.Cut(name, ".")
	sum, err := decodeBase64(rest)
	if kind != "jti" && kind != "tok" || err != nil || len(sum) != sha256.Size {
		return TokenID{}, errors.New("not a name of REVOCATIONS: jti. or tok. and the base64url of a SHA-256")
	}
	return TokenID{kind == "jti", [sha256.Size]byte(sum)}, nil
}

// TokenRevocation is the value of a record in REVOCATIONS.
type TokenRevocation struct {
	Expires int64  // exp, NumericDate, of the token
	Reason  string // reason
	Extra   Extra
}

// ParseTokenRevocation reads and validates a token revocation.
func ParseTokenRevocation(data []byte) (*TokenRevocation, error) {
	var m members
	r := new(TokenRevocation)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "exp":
			r.Expires, err = expiry(value)
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
func (r *TokenRevocation) Validate() error {
	if r.Expires <= 0 {
		return errors.New("exp is missing: the token's own")
	}
	if err := checkTimes(r.Expires); err != nil {
		return fmt.Errorf("exp: %w", err)
	}
	return checkReason(r.Reason)
}

// Encode validates the record and returns its JSON text.
func (r *TokenRevocation) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var b builder
	b.int("exp", r.Expires)
	b.str("reason", r.Reason)
	b.extra(r.Extra)
	out := b.object()
	back, err := ParseTokenRevocation(out)
	if err == nil {
		err = sameExtra(r.Extra, back.Extra)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
