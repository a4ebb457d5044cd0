package refresh

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/registry"
)

// JWKS is what is used of a JWK set (RFC 7517 §5), and what is not.
type JWKS struct {
	Keys   []registry.ProviderKey // at least one, of different kids
	Faults []Fault                // keys that somebody should look at
	// Ignored is how many others there are that are of no use here, as sets may have: for encryption, or another algorithm.
	Ignored int
}

// Fault is a key of a set that is not used, for a reason that its provider does not know.
type Fault struct {
	Index  int          // in the set
	KeyID  events.KeyID // empty if it has none, or none that can be one
	Reason string
	Secret bool // it has a private part: an alarm
}

func (f Fault) String() string {
	if f.KeyID == "" {
		return fmt.Sprintf("key %d: %s", f.Index, f.Reason)
	}
	return fmt.Sprintf("key %d (kid %q): %s", f.Index, string(f.KeyID), f.Reason)
}

var (
	errSecret  = errors.New("it has a private or symmetric part, which the whole world has read: its owner must replace it")
	errIgnored = errors.New("not for signatures, or of an algorithm that is not used here")
	errNoKid   = errors.New("no kid: tokens cannot say that they are signed with it")
)

// ReadJWKS reads a JWK set as of now. One key that cannot be used does not spoil the others: it is in Faults. Of two keys with one kid the first
// counts. An RSA key without alg is for RS256 (the algorithm that every OpenID provider must support, OpenID Connect Core
// §15.1). Members that mean nothing for the key, such as x5c, are not used. A key that says that it is revoked, or that its exp has
// passed, is not used. The error says that there is no set, or no key in it that can be used.
func ReadJWKS(data []byte, now time.Time) (*JWKS, error) {
	set, found := new(JWKS), false
	err := eachMember(data, func(name string, dec *json.Decoder) error {
		if name != "keys" {
			return skip(dec)
		}
		found = true
		if open, err := dec.Token(); err != nil || open != json.Delim('[') {
			return errors.New("keys is not an array")
		}
		for i := 0; dec.More(); i++ {
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return err
			}
			set.add(i, raw, now)
		}
		_, err := dec.Token()
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a JWK set: %w", err)
	case !found:
		return nil, errors.New("not a JWK set: it has no keys")
	case len(set.Keys) == 0 && len(set.Faults) > 0:
		return nil, fmt.Errorf("the JWK set has no key that can be used: %s", set.Faults[0])
	case len(set.Keys) == 0:
		return nil, errors.New("the JWK set has no key for signatures with Ed25519, P-256 or RSA")
	}
	return set, nil
}

// add takes element i of the set.
func (s *JWKS) add(i int, raw []byte, now time.Time) {
	if i >= maxElements || len(s.Keys) >= maxKeys {
		if i == maxElements || len(s.Faults) == 0 || s.Faults[len(s.Faults)-1].Reason != tooMany {
			s.Faults = append(s.Faults, Fault{Index: i, Reason: tooMany})
		}
		return
	}
	key, err := readJWK(raw, now)
	if err == nil && slices.ContainsFunc(s.Keys, func(k registry.ProviderKey) bool { return k.KeyID == key.KeyID }) {
		err = errors.New("a key with this kid stands before it")
	}
	switch {
	case err == nil:
		s.Keys = append(s.Keys, key)
	case errors.Is(err, errIgnored):
		s.Ignored++
	default:
		s.Faults = append(s.Faults, Fault{Index: i, KeyID: key.KeyID, Reason: err.Error(), Secret: errors.Is(err, errSecret)})
	}
}

var tooMany = fmt.Sprintf("a set may have %d keys that are used, and %d in all: this and those after it are not read", maxKeys, maxElements)

// readJWK reads one key. It returns the kid, if it can be one, with an error, too.
func readJWK(raw []byte, now time.Time) (key registry.ProviderKey, err error) {
	var obj strictjson.Object
	if err := obj.Parse(raw); err != nil {
		if bytes.Contains(raw, []byte(`"d"`)) {
			err = errSecret
		}
		return key, err
	}
	if kid, err := strictjson.String(obj.Get("kid")); err == nil {
		key.KeyID, _ = events.ParseKeyID(kid)
	}
	if isSecret(&obj) {
		return key, errSecret
	}
	if !isUseful(&obj) {
		return key, errIgnored
	}
	if obj.Get("kid") == nil {
		return key, errNoKid
	}
	if key.KeyID == "" {
		return key, errors.New("its kid is not text of 1 to 256 bytes without control characters")
	}
	if obj.Get("revoked") != nil {
		return key, errors.New("its owner says that it is revoked")
	}
	if exp, err := strictjson.Int(obj.Get("exp")); err == nil {
		if exp <= now.Unix() {
			return key, errors.New("its owner says that it has expired")
		}
		key.Expires = exp
	}
	record, err := events.ParseKey(key.KeyID, essence(&obj))
	if err != nil {
		return key, err
	}
	key.Algorithm, key.Public = record.Algorithm, record.Public
	return key, nil
}

// isSecret reports whether a JWK has anything that is not public (RFC 7518 §6).
func isSecret(obj *strictjson.Object) bool {
	for i := range obj.Len() {
		switch string(obj.Name(i)) {
		case "d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv":
			return true
		}
	}
	return strictjson.Is(obj.Get("kty"), "oct")
}

// isUseful reports whether a JWK is for signatures with an algorithm that is used here. What is wrong with one that is, is said later.
func isUseful(obj *strictjson.Object) bool {
	is := func(name string, values ...string) bool {
		value := obj.Get(name)
		return slices.ContainsFunc(values, func(s string) bool { return value == nil && s == "" || strictjson.Is(value, s) })
	}
	if !is("use", "", "sig") {
		return false
	}
	if ops, err := strictjson.Strings(obj.Get("key_ops"), 16); err == nil && !slices.Contains(ops, "verify") {
		return false
	}
	switch {
	case is("kty", "OKP"):
		return is("crv", "", "Ed25519") && is("alg", "", "EdDSA", "Ed25519")
	case is("kty", "EC"):
		return is("crv", "", "P-256") && is("alg", "", "ES256")
	case is("kty", "RSA"):
		return is("alg", "", "RS256", "PS256")
	}
	kty, err := strictjson.String(obj.Get("kty"))
	return err != nil || kty == "" // broken, and not of another kind
}

// essence is the JWK with nothing but what makes the key.
func essence(obj *strictjson.Object) []byte {
	out := []byte("{")
	for _, name := range []string{"kty", "crv", "x", "y", "n", "e", "alg"} {
		value := obj.Get(name)
		if value == nil && name == "alg" && strictjson.Is(obj.Get("kty"), "RSA") {
			value = []byte(`"RS256"`)
		}
		if value != nil {
			out = fmt.Appendf(out, "%q:%s,", name, value)
		}
	}
	return append(bytes.TrimSuffix(out, []byte(",")), '}')
}
