package issuer

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// ParseSigningKey reads a key for [Config.SigningKey]: an Ed25519 private key in PKCS#8 as PEM, as openssl genpkey -algorithm ed25519
// makes it (RFC 8410 §7), and nothing else. Errors have no part of the input; nor can the key be got out of the result again by
// formatting it.
func ParseSigningKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("signing key: not PEM: make one with openssl genpkey -algorithm ed25519")
	case block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("signing key: it is encrypted: decrypt it with openssl pkey, and let only this user read the file")
	case block.Type != "PRIVATE KEY":
		return nil, errors.New("signing key: the PEM block is not a PRIVATE KEY (PKCS#8): make one with openssl genpkey -algorithm ed25519")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("signing key: there is something after the first PEM block: give one key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok { // the library's error is not passed on: this is about a secret
		return nil, errors.New("signing key: not an Ed25519 key in PKCS#8: make one with openssl genpkey -algorithm ed25519")
	}
	signer, err := hide(private)
	if err != nil {
		return nil, err
	}
	return signer, nil
}
