package peer

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
)

// maxHeader is the size of a certificate in a header, in bytes: one has 2 KiB at most, if it is not made to be long.
const maxHeader = 16 << 10

// What is wrong with a header. The texts may be shown to the caller.
var (
	errTwoHeaders = errors.New("the header for the client certificate came more than once: the proxy must replace what clients send")
	errHeader     = errors.New("the header for the client certificate is neither base64 between colons (RFC 9440) nor one certificate as PEM in URL encoding")
)

// certificates reads what a proxy has handed on. An empty header is what some proxies send for a client that showed nothing.
func (f forwarded) certificates() ([]*x509.Certificate, error) {
	switch {
	case len(f) > 1:
		return nil, errTwoHeaders
	case len(f) == 0 || strings.TrimSpace(f[0]) == "":
		return nil, nil
	}
	cert, err := parseHeader(f[0])
	if err != nil {
		return nil, err
	}
	return []*x509.Certificate{cert}, nil
}

func parseHeader(value string) (*x509.Certificate, error) {
	if len(value) > maxHeader {
		return nil, errHeader
	}
	value = strings.Trim(value, " ")
	decode := decodePEM
	if strings.HasPrefix(value, ":") {
		decode = decodeByteSequence
	}
	der, ok := decode(value)
	if !ok {
		return nil, errHeader
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil { // which may have a part of it
		return nil, errHeader
	}
	return cert, nil
}

// decodeByteSequence reads a byte sequence of RFC 8941 §3.3.5. It has no parameters here (RFC 9440 §2.2).
func decodeByteSequence(value string) ([]byte, bool) {
	if len(value) < 2 || value[len(value)-1] != ':' || strings.ContainsAny(value, "\r\n") { // which the decoder skips
		return nil, false
	}
	der, err := base64.StdEncoding.Strict().DecodeString(value[1 : len(value)-1])
	return der, err == nil
}

// decodePEM reads one block of PEM. In a path's encoding a + is a +, as it stands in base64.
func decodePEM(value string) ([]byte, bool) {
	text, err := url.PathUnescape(value)
	if err != nil || !strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----") {
		return nil, false
	}
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 || strings.TrimSpace(string(rest)) != "" {
		return nil, false
	}
	return block.Bytes, true
}
