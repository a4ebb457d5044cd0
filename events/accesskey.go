package events

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// AccessKey is the private credential that is handed to a service, in the form of Authress:
//
//	{clientId}.{keyId}.{accountId}.{privateKey}
//
// where privateKey is the standard base64 of the PKCS #8 DER of an Ed25519 key (RFC 8410): 64 characters. It never goes to
// a bucket, and it prints as its public parts only; [AccessKey.Reveal] gives the text.
type AccessKey struct {
	Client  Name
	KeyID   KeyID
	Account string
	// private returns the key, or is nil. It is a function, because fmt prints the fields of a struct within a struct without
	// asking its methods, and follows pointers for verbs that do not fit.
	private func() ed25519.PrivateKey
}

// NewAccessKey makes an access key of its parts.
func NewAccessKey(client Name, kid KeyID, account string, private ed25519.PrivateKey) (AccessKey, error) {
	if _, err := ParseName(string(client)); err != nil {
		return AccessKey{}, fmt.Errorf("client of an access key: %w", err)
	}
	if !kid.Plain() {
		return AccessKey{}, fmt.Errorf("kid %s of an access key is not 1 to %d of A-Z a-z 0-9 _ -", quote(string(kid)), MaxKeyID)
	}
	if !IsAccount(account) {
		return AccessKey{}, fmt.Errorf("account %s is not acc, then 8 to 33 of a-z 0-9 _ -", quote(account))
	}
	if len(private) != ed25519.PrivateKeySize || !private.Equal(ed25519.NewKeyFromSeed(private.Seed())) {
		return AccessKey{}, errors.New("private key of an access key is not an Ed25519 key")
	}
	return AccessKey{client, kid, account, func() ed25519.PrivateKey { return private }}, nil
}

// errAccessKey is all that is said of a text that is none: a part of it may be secret.
var errAccessKey = errors.New("not an access key of the form client.kid.account.privatekey, as printed once by key add")

// ParseAccessKey reads the text form; white space around it is ignored.
func ParseAccessKey(text string) (AccessKey, error) {
	text = strings.TrimSpace(text)
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return AccessKey{}, errAccessKey
	}
	client, err := ParseName(parts[0])
	if err != nil || !plain(parts[1], MaxKeyID) || !IsAccount(parts[2]) {
		return AccessKey{}, errAccessKey
	}
	der, err := base64.StdEncoding.Strict().DecodeString(parts[3])
	if err != nil {
		return AccessKey{}, errAccessKey
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return AccessKey{}, errAccessKey
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return AccessKey{}, errAccessKey
	}
	k := AccessKey{client, KeyID(parts[1]), parts[2], func() ed25519.PrivateKey { return private }}
	if k.Reveal() != text { // the readers of base64 and DER skip line breaks, and what follows the key
		return AccessKey{}, errAccessKey
	}
	return k, nil
}

// Private returns the private key, or nil from the zero value.
func (k AccessKey) Private() ed25519.PrivateKey {
	if k.private == nil {
		return nil
	}
	return k.private()
}

// Reveal returns the text form, the secret included. That of the zero value is empty.
func (k AccessKey) Reveal() string {
	if k.private == nil {
		return ""
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private())
	if err != nil { // an Ed25519 key of the right size always has a form
		return ""
	}
	return k.public() + "." + base64.StdEncoding.EncodeToString(der)
}

func (k AccessKey) public() string {
	return string(k.Client) + "." + string(k.KeyID) + "." + k.Account
}

// String is the public part: it is safe to log.
func (k AccessKey) String() string { return k.public() + ".(private key)" }

// Format prints String, whatever the verb.
func (k AccessKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText refuses: an access key does not get into JSON or a log by accident.
func (k AccessKey) MarshalText() ([]byte, error) {
	return nil, errors.New("an access key is not for encoding")
}

// IsAccount reports whether s has the form of an account: acc, then 8 to 33 characters of a-z 0-9 _ and -. Ours are
// acc- and 10 to 32 characters of a-z 0-9 and -.
func IsAccount(s string) bool {
	rest, ok := strings.CutPrefix(s, "acc")
	if !ok || len(rest) < 8 || len(rest) > 33 {
		return false
	}
	return strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// AccountAudience is the audience of a whole account, which the SDKs of Authress give to every token.
func AccountAudience(account string) string { return account + ".accounts.authress.io" }
