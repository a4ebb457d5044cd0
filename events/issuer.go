package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events/strictjson"
)

// IssuerType says what kind of issuer a record is of.
type IssuerType string

// The types of issuers.
const (
	TypePlatform IssuerType = "platform" // the token service itself; one record, named platform
	TypeClient   IssuerType = "client"   // a service client
	TypeExternal IssuerType = "external" // another identity provider
)

// Status of an issuer.
type Status string

// An issuer is active or disabled; the tokens of a disabled one are refused.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
)

// What an external issuer's tokens are good for.
const (
	UseAccessToken = "access_token" // verifiers accept them
	UseAssertion   = "assertion"    // the token endpoint accepts them
)

// Issuer is an issuer record. See the package comment for what each type must and must not have.
type Issuer struct {
	Type        IssuerType
	Status      Status
	Audience    []string // aud: audiences its tokens may carry. Empty: no limit
	Scope       Scope    // scope: upper bound of its tokens' scope. Empty: none
	Resource    []string // resource: the audiences that this client is
	Offline     bool     // offline: a client may mint its own tokens
	MaxTokenTTL int64    // max_token_ttl, seconds. Zero: DefaultTokenTTL
	NotBefore   int64    // not_before, NumericDate: tokens with iat at or before it are refused. Zero: none
	Iss         string   // iss: platform and external only
	Use         []string // use: external only
	JWKSURI     string   // jwks_uri: external only, optional
	Account     string   // account: platform only
	IssuedAt    int64    // iat, NumericDate: when it was registered. Zero: not known
	Extra       Extra    // members of newer versions
}

// ParseIssuer reads and validates an issuer record.
func ParseIssuer(data []byte) (*Issuer, error) {
	var m members
	r := new(Issuer)
	err := m.parse(data, func(name, value []byte) (_ bool, err error) {
		switch string(name) {
		case "type":
			r.Type, err = oneOf(value, TypePlatform, TypeClient, TypeExternal)
		case "status":
			r.Status, err = oneOf(value, Active, Disabled)
		case "aud":
			r.Audience, err = strictjson.Strings(value, MaxAudiences)
		case "scope":
			var s string
			if s, err = strictjson.String(value); err == nil {
				r.Scope, err = ParseScope(s)
			}
		case "resource":
			r.Resource, err = strictjson.Strings(value, MaxAudiences)
		case "offline":
			r.Offline, err = strictjson.Bool(value)
		case "max_token_ttl":
			if r.MaxTokenTTL, err = strictjson.Int(value); err == nil && r.MaxTokenTTL == 0 {
				err = errors.New("zero: leave it out for the default")
			}
		case "not_before":
			r.NotBefore, err = timestamp(value)
		case "iss":
			r.Iss, err = strictjson.String(value)
		case "use":
			r.Use, err = strictjson.Strings(value, 2)
		case "jwks_uri":
			r.JWKSURI, err = strictjson.String(value)
		case "account":
			r.Account, err = strictjson.String(value)
		case "iat":
			r.IssuedAt, err = timestamp(value)
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	r.Extra = m.extra
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Validate checks the record. It is applied to what is read and to what is about to be written.
func (r *Issuer) Validate() error {
	if r.Status != Active && r.Status != Disabled {
		return fmt.Errorf(`status %s is neither "active" nor "disabled"`, quote(string(r.Status)))
	}
	if limit := int64(MaxTokenTTL / time.Second); r.MaxTokenTTL < 0 || r.MaxTokenTTL > limit {
		return fmt.Errorf("max_token_ttl %d is not 1 to %d seconds: a revoked token is remembered no longer", r.MaxTokenTTL, limit)
	}
	if err := checkTimes(r.NotBefore, r.IssuedAt); err != nil {
		return fmt.Errorf("not_before, iat: %w", err)
	}
	if err := checkURIs("aud", r.Audience); err != nil {
		return err
	}
	if err := checkURIs("resource", r.Resource); err != nil {
		return err
	}
	switch r.Type {
	case TypePlatform:
		return r.validatePlatform()
	case TypeClient:
		return r.validateClient()
	case TypeExternal:
		return r.validateExternal()
	}
	return fmt.Errorf(`type %s is not "platform", "client" or "external"`, quote(string(r.Type)))
}

func (r *Issuer) validatePlatform() error {
	if len(r.Audience) > 0 || !r.Scope.IsEmpty() || len(r.Resource) > 0 || r.Offline || len(r.Use) > 0 || r.JWKSURI != "" {
		return errors.New("a platform has no aud, scope, resource, offline, use or jwks_uri")
	}
	if r.Account != "" && !IsAccount(r.Account) {
		return fmt.Errorf("account %s is not acc, then 8 to 33 of a-z 0-9 _ -", quote(r.Account))
	}
	if strings.HasSuffix(r.Iss, "/") {
		return fmt.Errorf("iss %s of the platform ends with a slash: leave it out, the URLs of the clients begin with one", quote(r.Iss))
	}
	return CheckIssuerURL("iss", r.Iss)
}

func (r *Issuer) validateClient() error {
	if r.Iss != "" {
		return errors.New("a client has no iss: it is derived from the platform's")
	}
	if len(r.Use) > 0 || r.JWKSURI != "" || r.Account != "" {
		return errors.New("a client has no use, jwks_uri or account")
	}
	if r.Offline && len(r.Audience) == 0 {
		return errors.New("an offline client needs a non-empty aud: it could mint tokens for every service")
	}
	return nil
}

func (r *Issuer) validateExternal() error {
	if r.Offline || r.Account != "" || len(r.Resource) > 0 {
		return errors.New("an external issuer has no offline, account or resource")
	}
	if len(r.Use) == 0 {
		return errors.New(`an external issuer needs use: "access_token", "assertion" or both`)
	}
	for i, use := range r.Use {
		if use != UseAccessToken && use != UseAssertion || slices.Contains(r.Use[:i], use) {
			return errors.New(`use has something else than "access_token" and "assertion", once each`)
		}
	}
	if slices.Contains(r.Use, UseAccessToken) && len(r.Audience) == 0 {
		return errors.New("an external issuer of access tokens needs a non-empty aud: others may pick the aud of its tokens")
	}
	if r.JWKSURI != "" {
		if err := checkURL("jwks_uri", r.JWKSURI, true); err != nil {
			return err
		}
	}
	return CheckIssuerURL("iss", r.Iss)
}

// Encode validates the record and returns its JSON text.
func (r *Issuer) Encode() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var b builder
	r.write(&b)
	out := b.object()
	back, err := ParseIssuer(out)
	if err == nil {
		err = sameExtra(r.Extra, back.Extra)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// write writes the members of a valid record.
func (r *Issuer) write(b *builder) {
	b.str("type", string(r.Type))
	b.str("status", string(r.Status))
	b.str("iss", r.Iss)
	b.strs("aud", r.Audience)
	b.str("scope", r.Scope.String())
	b.strs("resource", r.Resource)
	b.bool("offline", r.Offline)
	b.int("max_token_ttl", r.MaxTokenTTL)
	b.int("not_before", r.NotBefore)
	b.strs("use", r.Use)
	b.str("jwks_uri", r.JWKSURI)
	b.str("account", r.Account)
	b.int("iat", r.IssuedAt)
	b.extra(r.Extra)
}

// TokenTTL is the longest life of the issuer's tokens.
func (r *Issuer) TokenTTL() time.Duration {
	if r.MaxTokenTTL == 0 {
		return DefaultTokenTTL
	}
	return time.Duration(r.MaxTokenTTL) * time.Second
}

// AllowsAudience reports whether the issuer's tokens may carry aud.
func (r *Issuer) AllowsAudience(aud string) bool {
	return len(r.Audience) == 0 || slices.Contains(r.Audience, aud)
}
