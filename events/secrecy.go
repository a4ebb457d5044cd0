package events

import (
	"bytes"
	"errors"

	"github.com/keyherald/keyherald/events/strictjson"
)

// The alarms: what they are about is readable by every verifier, and stays in the history of the bucket.
var (
	errPrivate   = errors.New("a private key was put in a public bucket: revoke it, and register a new one by its public members only")
	errSymmetric = errors.New("symmetric key (kty oct): only public keys are accepted; if it is a real secret, it is known now: replace it")
)

// checkSecrecy looks for secret members before anything else is looked at, so that no other mistake in the record
// hides the one that matters.
func checkSecrecy(obj *strictjson.Object) error {
	if strictjson.Is(obj.Get("kty"), "oct") {
		return errSymmetric
	}
	for i := range obj.Len() {
		switch string(obj.Name(i)) {
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv": // RFC 7518 §6; priv is that of kty AKP
			return errPrivate
		}
	}
	return nil
}

// alarm returns errPrivate in place of err if what was refused looks like a private key in another wrapping: PEM, an access key,
// a set of keys, or a JWK that is broken.
func alarm(data []byte, err error) error {
	for _, mark := range []string{
		"PRIVATE KEY-----",      // PEM (RFC 7468 §10)
		"MC4CAQAwBQYDK2VwBCIEI", // the start of every Ed25519 private key in base64 PKCS #8 (RFC 8410 §7)
		`"d"`,
	} {
		if bytes.Contains(data, []byte(mark)) {
			return errPrivate
		}
	}
	return err
}
