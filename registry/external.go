package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

// IssuerSpec describes an external issuer: another identity provider whose tokens are accepted.
type IssuerSpec struct {
	Iss         string        // the iss of its tokens, an https URL. Required
	Use         []string      // [events.UseAccessToken], [events.UseAssertion] or both. Required
	Audience    []string      // audiences its tokens may carry. Required for access tokens
	Scope       events.Scope  // upper bound of its tokens' scope. Empty: none
	JWKSURI     string        // where it publishes its keys. Empty: they are registered by hand
	MaxTokenTTL time.Duration // as in [ClientSpec]. Zero: [events.DefaultTokenTTL]
}

// AddIssuer registers an external issuer. The errors are [ErrInvalid] and [ErrExists]; the latter for an iss that the platform, its
// clients or another external issuer have, disabled or not: of two external issuers with one iss none would be trusted.
func (r *Registry) AddIssuer(ctx context.Context, caller Caller, name events.Name, spec IssuerSpec) (*events.IssuerEntry, error) {
	entry := &events.IssuerEntry{Name: name}
	err := r.audited(caller, "issuer add", line{issuer: name}, func(l *line) error {
		ttl, err := tokenTTL(spec.MaxTokenTTL)
		if err != nil {
			return err
		}
		entry.Record = &events.Issuer{
			Type: events.TypeExternal, Status: events.Active, Iss: spec.Iss, Use: slices.Clone(spec.Use), Audience: slices.Clone(spec.Audience),
			Scope: spec.Scope, JWKSURI: spec.JWKSURI, MaxTokenTTL: ttl,
		}
		if err := checkExternalName(name); err != nil {
			return err
		}
		return r.exclusive(ctx, func(set *events.Set) (err error) {
			if err := checkIssIsFree(set, name, spec.Iss); err != nil {
				return err
			}
			entry.Revision, err = r.createIssuer(ctx, caller, name, entry.Record)
			l.revision = entry.Revision
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

func checkExternalName(name events.Name) error {
	if err := checkName(name); err != nil {
		return err
	}
	if strings.EqualFold(string(name), string(events.Platform)) {
		return refuse(ErrInvalid, "an external issuer cannot be named %s: it could be taken for the platform", name)
	}
	return nil
}

// checkIssIsFree refuses an iss that somebody else has. The issuer itself, if it is there, is left for the write to find.
func checkIssIsFree(set *events.Set, name events.Name, iss string) error {
	if p := set.Platform(); p != nil && claims(p.Record.Iss, iss) {
		return refuse(ErrExists, "issuer %s: the iss %s belongs to the platform, %s, and its clients", name, iss, p.Record.Iss)
	}
	for _, other := range issuersIn(set, events.TypeExternal) {
		if other.Name != name && other.Record.Iss == iss {
			return refuse(ErrExists, "issuer %s: the iss %s belongs to the external issuer %s already: neither would be trusted", name, iss, other.Name)
		}
	}
	return nil
}

// Issuer returns an external issuer.
func (r *Registry) Issuer(ctx context.Context, name events.Name) (*events.IssuerEntry, error) {
	return r.issuer(ctx, name, events.TypeExternal)
}

// Issuers returns all external issuers, by name.
func (r *Registry) Issuers(ctx context.Context) ([]*events.IssuerEntry, error) {
	set, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	return issuersIn(set, events.TypeExternal), nil
}

// IssuerUpdate names what is to change of an external issuer: a nil field stays as it is. What a field means is said at
// [IssuerSpec]. Its iss does not change: that would be another issuer.
type IssuerUpdate struct {
	Use         *[]string
	Audience    *[]string
	Scope       *events.Scope
	JWKSURI     *string // to empty: the keys that were fetched stay until somebody removes them
	MaxTokenTTL *time.Duration
}

// UpdateIssuer changes what an external issuer may do, for the tokens that it has issued already, too. The issuer may be
// disabled. The errors are [ErrInvalid] and [ErrNotFound].
func (r *Registry) UpdateIssuer(ctx context.Context, caller Caller, name events.Name, u IssuerUpdate) (*events.IssuerEntry, error) {
	return r.updateIssuer(ctx, caller, "issuer update", name, events.TypeExternal, func(record *events.Issuer) error {
		if u == (IssuerUpdate{}) {
			return refuse(ErrInvalid, "update issuer %s: nothing to change was named", name)
		}
		if u.Use != nil {
			record.Use = slices.Clone(*u.Use)
		}
		if u.Audience != nil {
			record.Audience = slices.Clone(*u.Audience)
		}
		if u.Scope != nil {
			record.Scope = *u.Scope
		}
		if u.JWKSURI != nil {
			record.JWKSURI = *u.JWKSURI
		}
		if u.MaxTokenTTL != nil {
			ttl, err := tokenTTL(*u.MaxTokenTTL)
			if err != nil {
				return err
			}
			record.MaxTokenTTL = ttl
		}
		return nil
	})
}

// DisableIssuer refuses the tokens of an external issuer, those that it has issued so far for ever.
func (r *Registry) DisableIssuer(ctx context.Context, caller Caller, name events.Name) (*events.IssuerEntry, error) {
	return r.updateIssuer(ctx, caller, "issuer disable", name, events.TypeExternal, r.disable)
}

// EnableIssuer accepts an external issuer's tokens again. Tokens from before it was disabled stay refused, and so do those
// that do not say when they were issued.
func (r *Registry) EnableIssuer(ctx context.Context, caller Caller, name events.Name) (*events.IssuerEntry, error) {
	return r.updateIssuer(ctx, caller, "issuer enable", name, events.TypeExternal, enable)
}
