package registry

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/keyherald/keyherald/events"
)

// ParseCertificate reads one certificate, as PEM. The errors are [ErrInvalid] and, for anything that has a private key,
// [ErrPrivateKey].
func ParseCertificate(data []byte) (*x509.Certificate, error) {
	trimmed := bytes.TrimSpace(data)
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) || isPrivateDER(data) || isPrivateDER(trimmed) { // the last byte of a key may look like a space
		return nil, errPrivateKey
	}
	cert, err := parseCertificate(trimmed)
	if err != nil {
		return nil, refuse(ErrInvalid, "read certificate: %w", err)
	}
	return cert, nil
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	if len(data) > events.MaxValue {
		return nil, fmt.Errorf("%d bytes are more than a certificate has", len(data))
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, errors.New("there is no PEM block: if it is DER, convert it with openssl x509 -inform der")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("the PEM block is a %.40q, not a CERTIFICATE", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the certificate: give that of the client alone, without a chain")
	}
	return x509.ParseCertificate(block.Bytes)
}
