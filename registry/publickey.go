package registry

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
)

// errPrivateKey is the alarm: nothing has happened yet, but a private key was where a public one is handed around.
var errPrivateKey = refuse(ErrPrivateKey, "this is a private key, and nothing was done with it: register its public half only, and if others can read where it came from, make a new pair")

// PublicKey is a public key as it was brought along.
type PublicKey struct {
	Public    crypto.PublicKey
	Algorithm events.Algorithm // empty for an RSA key that does not say: there are two
	KeyID     events.KeyID     // the kid of a JWK; empty if there is none
}

// ParsePublicKey reads one public key: a JWK (RFC 7517), or a SubjectPublicKeyInfo (RFC 5280 §4.1) as PEM or as
// standard base64 of its DER. The errors are [ErrInvalid] and, for anything that has a private part, [ErrPrivateKey].
func ParsePublicKey(data []byte) (PublicKey, error) {
	data = bytes.TrimSpace(data)
	var key PublicKey
	var err error
	switch {
	case len(data) > events.MaxValue:
		err = fmt.Errorf("%d bytes are more than a public key has", len(data))
	case bytes.Contains(data, []byte("PRIVATE KEY-----")):
		return PublicKey{}, errPrivateKey
	case bytes.HasPrefix(data, []byte("{")):
		key, err = parseJWK(data)
	case bytes.HasPrefix(data, []byte("-----BEGIN ")):
		key, err = parsePEM(data)
	default:
		key, err = parseBase64(data)
	}
	if errors.Is(err, ErrPrivateKey) {
		return PublicKey{}, err
	}
	if err == nil {
		alg := key.Algorithm
		if alg == "" && onlyAlgorithm(key.Public) == "" {
			alg = events.RS256 // which of the two is not said makes no difference to the key
		}
		err = checkPublic(alg, key.Public)
	}
	if err != nil {
		return PublicKey{}, refuse(ErrInvalid, "read public key: %w", err)
	}
	return key, nil
}

func parseJWK(data []byte) (PublicKey, error) {
	var key PublicKey
	var obj strictjson.Object
	if err := obj.Parse(data); err != nil {
		return key, err
	}
	for i := range obj.Len() {
		var err error
		switch name := string(obj.Name(i)); name {
		case "keys":
			return key, errors.New("this is a JWK set: give one of its keys")
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv": // RFC 7518 §6; no library looks for all of them
			return key, errPrivateKey
		case "use":
			var use string
			if use, err = strictjson.String(obj.Value(i)); err == nil && use != "sig" {
				err = fmt.Errorf(`%.20q: only keys for signatures ("sig") are accepted`, use)
			}
		case "alg":
			var alg string
			alg, err = strictjson.String(obj.Value(i))
			key.Algorithm = events.Algorithm(alg)
		case "kid":
			var kid string
			if kid, err = strictjson.String(obj.Value(i)); err == nil {
				key.KeyID, err = events.ParseKeyID(kid)
			}
		}
		if err != nil {
			return key, fmt.Errorf("member %s: %w", obj.Name(i), err)
		}
	}
	parsed, err := jwk.ParseKey(data)
	if err != nil {
		return key, fmt.Errorf("not a JWK of kty OKP, EC or RSA: %w", err)
	}
	var raw any // which is a crypto.PublicKey, but the library looks for this very type
	if err := jwk.Export(parsed, &raw); err != nil {
		return key, fmt.Errorf("not a usable JWK: %w", err)
	}
	key.Public = raw
	if key.Algorithm == "Ed25519" { // RFC 9864: another name of the same
		key.Algorithm = events.EdDSA
	}
	if key.Algorithm == "" {
		key.Algorithm = onlyAlgorithm(key.Public)
	}
	return key, nil
}

func parsePEM(data []byte) (PublicKey, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return PublicKey{}, errors.New("the PEM block is damaged")
	case block.Type == "CERTIFICATE":
		return PublicKey{}, errors.New("this is a certificate: take its public key out with openssl x509 -pubkey -noout")
	case block.Type == "RSA PUBLIC KEY":
		return PublicKey{}, errors.New("this is a PKCS #1 key: convert it with openssl rsa -RSAPublicKey_in -pubout")
	case block.Type != "PUBLIC KEY":
		return PublicKey{}, fmt.Errorf("the PEM block is a %.40q, not a PUBLIC KEY", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return PublicKey{}, errors.New("something follows the PEM block: give one key and nothing else")
	}
	return parseSPKI(block.Bytes)
}

var errNoPublicKey = errors.New("neither a JWK, nor PEM, nor standard base64 of a SubjectPublicKeyInfo")

func parseBase64(data []byte) (PublicKey, error) {
	if _, err := events.ParseAccessKey(string(data)); err == nil {
		return PublicKey{}, errPrivateKey
	}
	if bytes.HasPrefix(data, []byte("ssh-")) || bytes.HasPrefix(data, []byte("ecdsa-sha2-")) {
		return PublicKey{}, errors.New("this is an OpenSSH key: convert it with ssh-keygen -e -m PKCS8")
	}
	if bytes.ContainsAny(data, "\r\n") { // which the decoder of the standard library skips
		return PublicKey{}, errNoPublicKey
	}
	der, err := base64.StdEncoding.Strict().DecodeString(string(data))
	if err != nil {
		return PublicKey{}, errNoPublicKey
	}
	return parseSPKI(der)
}

func parseSPKI(der []byte) (PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if isPrivateDER(der) {
			return PublicKey{}, errPrivateKey
		}
		return PublicKey{}, fmt.Errorf("not a SubjectPublicKeyInfo: %w", err)
	}
	return PublicKey{Public: public, Algorithm: onlyAlgorithm(public)}, nil
}

func isPrivateDER(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}
