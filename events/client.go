package events

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keyherald/keyherald/events/strictjson"
)

// Client is a record of CLIENTS: how a client may authenticate at the token service.
type Client struct {
	Secrets    []Secret    // secrets: API keys
	TLS        *TLS        // tls: its certificates. Nil: none
	Federated  []Federated // federated: what others call it
	RequireJTI bool        // require_jti: assertions of the jwt-bearer grant must have one
	Profile    *Profile    // profile: how it is described. Nil: not at all
	Extra      Extra       // members of newer versions
}

// Secret is an API key: its hash, under a public id. Its text is shown once, when it is made, and never stored.
type Secret struct {
	ID       string            // 1 to 64 of the alphabet of names
	SHA256   [sha256.Size]byte // of the whole text
	IssuedAt int64             // iat, NumericDate
	Expires  int64             // exp, NumericDate. Zero: none
	Extra    Extra
}

// ParseClient reads and validates a record of CLIENTS.
func ParseClient(data []byte) (*Client, error) {
	var m members
	c := new(Client)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "secrets":
			err = strictjson.Elements(value, MaxSecrets, func(element []byte) error {
				s, err := parseSecret(element)
				c.Secrets = append(c.Secrets, s)
				return err
			})
		case "tls":
			c.TLS, err = parseTLS(value)
		case "federated":
			err = strictjson.Elements(value, MaxSecrets, func(element []byte) error {
				f, err := parseFederated(element)
				c.Federated = append(c.Federated, f)
				return err
			})
		case "require_jti":
			c.RequireJTI, err = strictjson.Bool(value)
		case "profile":
			c.Profile, err = parseProfile(value)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	c.Extra = m.extra
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

func parseSecret(data []byte) (Secret, error) {
	var m members
	var s Secret
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "id":
			s.ID, err = strictjson.String(value)
		case "sha256":
			s.SHA256, err = digest(value)
		case "iat":
			s.IssuedAt, err = timestamp(value)
		case "exp":
			s.Expires, err = expiry(value)
		default:
			return false, nil
		}
		return true, err
	})
	s.Extra = m.extra
	return s, err
}

// digest reads a SHA-256 in hexadecimal digits.
func digest(value []byte) (sum [sha256.Size]byte, err error) {
	text, err := strictjson.String(value)
	if err != nil {
		return sum, err
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return sum, errors.New("not 64 hexadecimal digits")
	}
	return [sha256.Size]byte(raw), nil
}

// Validate checks the record. It is applied to what is read and to what is about to be written.
func (c *Client) Validate() error {
	if len(c.Secrets) > MaxSecrets {
		return fmt.Errorf("more than %d secrets", MaxSecrets)
	}
	seen := map[string]bool{}
	for _, s := range c.Secrets {
		if !plain(s.ID, MaxName) || seen[s.ID] {
			return fmt.Errorf("secret id %s is not 1 to %d of A-Z a-z 0-9 _ -, once each", quote(s.ID), MaxName)
		}
		if s.SHA256 == [sha256.Size]byte{} {
			return fmt.Errorf("secret %s has no sha256", s.ID)
		}
		if err := checkTimes(s.IssuedAt, s.Expires); err != nil {
			return fmt.Errorf("secret %s: %w", s.ID, err)
		}
		if s.Expires != 0 && s.Expires <= s.IssuedAt {
			return fmt.Errorf("secret %s: exp %d is not after iat %d: it would never be valid", s.ID, s.Expires, s.IssuedAt)
		}
		seen[s.ID] = true
	}
	if err := c.TLS.validate(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	if err := c.Profile.Validate(); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return validateFederated(c.Federated)
}

// Encode validates the record and returns its JSON text.
func (c *Client) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var b builder
	elements(&b, "secrets", c.Secrets, Secret.encode)
	b.bool("require_jti", c.RequireJTI)
	elements(&b, "federated", c.Federated, Federated.encode)
	if c.TLS != nil {
		b.raw("tls", c.TLS.encode())
	}
	if !c.Profile.isZero() {
		b.raw("profile", c.Profile.encode())
	}
	b.extra(c.Extra)
	out := b.object()
	back, err := ParseClient(out)
	if err == nil {
		err = sameExtra(c.Extra, back.Extra)
	}
	for i := 0; err == nil && i < len(c.Secrets); i++ {
		err = sameExtra(c.Secrets[i].Extra, back.Secrets[i].Extra)
	}
	if err == nil && c.TLS != nil {
		err = sameExtra(c.TLS.Extra, back.TLS.Extra)
	}
	for i := 0; err == nil && i < len(c.Federated); i++ {
		err = sameExtra(c.Federated[i].Extra, back.Federated[i].Extra)
	}
	if err == nil {
		err = sameProfile(c.Profile, back.Profile)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// elements writes an array of what encode makes of each element, unless it is empty.
func elements[T any](b *builder, name string, values []T, encode func(T) []byte) {
	if len(values) == 0 {
		return
	}
	out := []byte{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, encode(v)...)
	}
	b.raw(name, append(out, ']'))
}

func (s Secret) encode() []byte {
	var b builder
	b.str("id", s.ID)
	b.str("sha256", hex.EncodeToString(s.SHA256[:]))
	b.int("iat", s.IssuedAt)
	b.int("exp", s.Expires)
	b.extra(s.Extra)
	return b.object()
}
