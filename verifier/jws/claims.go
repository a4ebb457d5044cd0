package jws

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
)

var (
	errNegative     = errors.New("negative")
	errNotObject    = errors.New("not an object")
	errNotText      = errors.New("not a string or an array of strings")
	errNoEntries    = errors.New("an empty array")
	errScopeInArray = errors.New("an entry is empty or has a space")
)

// Claims is what a token's claims say, as far as anybody here decides by it. A string that is empty was not there: empty
// identifiers are refused. The rest is in the payload.
type Claims struct {
	Issuer   string   // iss
	Subject  string   // sub
	ClientID string   // client_id (RFC 8693 §4.3, RFC 9068 §2.2)
	ID       string   // jti
	Audience []string // aud, a string as an array of one; nil if there is none
	TokenUse string   // token_use: what some issuers say instead of a typ

	Scope    string // scope, or scopes joined by spaces
	HasScope bool   // scope or scopes is there, if only to say that there are none

	Expiry       int64 // exp, seconds since 1970
	NotBefore    int64 // nbf
	IssuedAt     int64 // iat
	HasExpiry    bool
	HasNotBefore bool
	HasIssuedAt  bool

	HasNonce  bool // nonce, at_hash, c_hash: OpenID Connect Core §2 and §3.3.2.11 have them for ID tokens
	HasAtHash bool
	HasCHash  bool

	Confirmation []byte // cnf (RFC 7800), a JSON object, a part of the payload; nil if the token is not bound to a key
}

// read fills c from the decoded payload. Audience is made in room if it fits.
func (c *Claims) read(payload []byte, t *texts, room []string) error {
	var obj strictjson.Object
	if err := obj.Parse(payload); err != nil {
		return refuseFor(ReasonClaims, "claims", err)
	}
	var scopes []byte
	for i := range obj.Len() {
		var err error
		value := obj.Value(i)
		switch string(obj.Name(i)) {
		case "iss":
			c.Issuer, err = t.identifier(value)
		case "sub":
			c.Subject, err = t.identifier(value)
		case "client_id":
			c.ClientID, err = t.identifier(value)
		case "jti":
			c.ID, err = t.identifier(value)
		case "aud":
			c.Audience, err = readAudience(value, t, room)
		case "token_use":
			c.TokenUse, err = t.identifier(value)
		case "scope":
			c.Scope, err = t.line(value)
			c.HasScope = true
		case "scopes":
			scopes = value
		case "exp":
			c.Expiry, err = readTime(value)
			c.HasExpiry = true
		case "nbf":
			c.NotBefore, err = readTime(value)
			c.HasNotBefore = true
		case "iat":
			c.IssuedAt, err = readTime(value)
			c.HasIssuedAt = true
		case "nonce":
			c.HasNonce = true
		case "at_hash":
			c.HasAtHash = true
		case "c_hash":
			c.HasCHash = true
		case "cnf":
			c.Confirmation, err = readObject(value)
		}
		if err != nil {
			return refuseFor(ReasonClaims, "claim "+string(obj.Name(i)), err)
		}
	}
	if scopes == nil || c.HasScope {
		return nil
	}
	var err error
	if c.Scope, err = readScopes(scopes, t); err != nil {
		return refuseFor(ReasonClaims, "claim scopes", err)
	}
	c.HasScope = true
	return nil
}

// readAudience reads a string or an array of strings alike (RFC 7519 §4.1.3).
func readAudience(value []byte, t *texts, room []string) ([]string, error) {
	aud := room[:0]
	switch value[0] {
	case '"':
		s, err := t.identifier(value)
		if err != nil {
			return nil, err
		}
		return append(aud, s), nil
	case '[':
		err := strictjson.Elements(value, MaxAudience, func(element []byte) error {
			s, err := t.identifier(element)
			aud = append(aud, s)
			return err
		})
		if err == nil && len(aud) == 0 {
			err = errNoEntries
		}
		if err != nil {
			return nil, err
		}
		return aud, nil
	}
	return nil, errNotText
}

// readScopes reads the member that the Python and C# SDKs of Authress send in place of scope.
func readScopes(value []byte, t *texts) (string, error) {
	switch value[0] {
	case '"':
		return t.line(value)
	case '[':
		var b strings.Builder
		err := strictjson.Elements(value, MaxScopes, func(element []byte) error {
			s, err := t.line(element)
			if err != nil {
				return err
			}
			if s == "" || strings.Contains(s, " ") {
				return errScopeInArray
			}
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(s)
			return nil
		})
		return b.String(), err
	}
	return "", errNotText
}

// readTime reads a NumericDate (RFC 7519 §2), which for us is an integer and not before 1970.
func readTime(value []byte) (int64, error) {
	n, err := strictjson.Int(value)
	if err == nil && value[0] == '-' { // -0, too
		err = errNegative
	}
	return n, err
}

// CertificateSHA256 is the certificate that the token is bound to, by the SHA-256 of its DER (RFC 8705 §3.1). It is not ok for a token
// that is not bound, or in another way: cnf must have x5t#S256 and nothing else.
func (c *Claims) CertificateSHA256() (sum [sha256.Size]byte, ok bool) {
	var cnf strictjson.Object
	if c.Confirmation == nil || cnf.Parse(c.Confirmation) != nil || cnf.Len() != 1 || string(cnf.Name(0)) != "x5t#S256" {
		return sum, false
	}
	text, err := strictjson.String(cnf.Value(0))
	if err != nil || len(text) > base64.RawURLEncoding.EncodedLen(len(sum)) || !inAlphabet(text) {
		return sum, false
	}
	raw, err := decode(make([]byte, 0, len(sum)), text)
	if err != nil || len(raw) != len(sum) {
		return sum, false
	}
	return [sha256.Size]byte(raw), true
}

func readObject(value []byte) ([]byte, error) {
	if value[0] != '{' {
		return nil, errNotObject
	}
	return value, nil
}
