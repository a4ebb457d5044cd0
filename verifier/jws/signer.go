package jws

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"slices"
)

// Signer signs many tokens with one key and one header, which is checked and encoded once. It is safe for concurrent use if the
// key is.
type Signer struct {
	header string                                    // encoded
	sign   func(signingInput []byte) ([]byte, error) // has the key: nothing that prints a Signer prints the key
}

// NewSigner returns a signer, or the error that [Sign] would have for every token.
func NewSigner(header Header, key crypto.Signer) (*Signer, error) {
	head := header.appendJSON(make([]byte, 0, 128))
	if err := checkHeader(head, &texts{room: len(head)}); err != nil {
		return nil, fmt.Errorf("sign tokens: %w", err)
	}
	if key == nil || !header.Algorithm.Fits(key.Public()) {
		return nil, fmt.Errorf("sign tokens: %w", refuseKey())
	}
	return &Signer{base64.RawURLEncoding.EncodeToString(head), signWith(header.Algorithm, key)}, nil
}

// AppendValid appends to dst the token that [Sign] makes of claims which Parse takes. That they are such is for the caller to
// know: it is for claims that were put together from parts which were all validated before, and costs hardly more than the
// signature. Any other claims belong to Sign. A token that would be too long is refused with [ReasonSize] here, too.
func (s *Signer) AppendValid(dst, claims []byte) ([]byte, error) {
	from := len(dst)
	dst = append(slices.Grow(dst, len(s.header)+lenAfterHeader(claims)), s.header...)
	dst, err := appendSigned(dst, from, claims, s.sign)
	if err != nil {
		return nil, fmt.Errorf("sign token: %w", err)
	}
	return dst, nil
}
