package registry

import (
	"context"
	"slices"

	"github.com/keyherald/keyherald/events"
)

// AddFederated lets whoever has an assertion of an external issuer for a subject and an audience be a client. What is registered already
// stays. The errors are [ErrInvalid], also for an issuer that is not one for assertions, [ErrNotFound] and [ErrDisabled], for the client
// as for the issuer.
func (r *Registry) AddFederated(ctx context.Context, caller Caller, name events.Name, identity events.Federated) (revision uint64, err error) {
	err = r.audited(caller, "federation add", federatedLine(name, identity), func(l *line) error {
		if err := identity.Validate(); err != nil {
			return refuse(ErrInvalid, "federated identity of client %s: %w", name, err)
		}
		set, err := r.live(ctx)
		if err != nil {
			return err
		}
		if _, err := activeIn(set, name, events.TypeClient); err != nil {
			return err
		}
		issuer, err := activeIn(set, identity.Issuer, events.TypeExternal)
		if err != nil {
			return err
		}
		if err := checkVouches(issuer, identity); err != nil {
			return err
		}
		there := false
		l.revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			if there = slices.ContainsFunc(c.Federated, identity.Same); !there {
				c.Federated = append(c.Federated, identity)
			}
			return nil
		})
		if err == nil && there {
			l.outcome = outcomeUnchanged
		}
		revision = l.revision
		return err
	})
	return revision, err
}

// checkVouches refuses an issuer that the token endpoint would not accept the assertion of.
func checkVouches(issuer *events.IssuerEntry, identity events.Federated) error {
	record := issuer.Record
	if !slices.Contains(record.Use, events.UseAssertion) {
		return refuse(ErrInvalid, "issuer %s is not one for assertions: its tokens may be picked by others, register it with the use %s if it is to vouch for clients",
			issuer.Name, events.UseAssertion)
	}
	if !record.AllowsAudience(identity.Audience) {
		return refuse(ErrInvalid, "issuer %s is not registered for the audience %q: its assertions for that are refused", issuer.Name, identity.Audience)
	}
	return nil
}

// RemoveFederated takes an identity from a client: it is refused from then on. The issuer need not be there any more. The error is
// [ErrNotFound] if the client has no such identity.
func (r *Registry) RemoveFederated(ctx context.Context, caller Caller, name events.Name, identity events.Federated) error {
	return r.audited(caller, "federation remove", federatedLine(name, identity), func(l *line) (err error) {
		if err := checkName(name); err != nil {
			return err
		}
		l.revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			before := len(c.Federated)
			c.Federated = slices.DeleteFunc(c.Federated, identity.Same)
			if len(c.Federated) == before {
				return refuse(ErrNotFound, "client %s has no such federated identity: see federation list", name)
			}
			return nil
		})
		return err
	})
}

// Federated returns a client's federated identities.
func (r *Registry) Federated(ctx context.Context, name events.Name) ([]events.Federated, error) {
	c, err := r.credentials(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Federated, nil
}

// federatedLine is the audit line of an operation on an identity. What could not be one is not for a log.
func federatedLine(name events.Name, identity events.Federated) line {
	l := line{issuer: name}
	if identity.Validate() == nil {
		l.external, l.subject, l.audience = identity.Issuer, identity.Subject, identity.Audience
	}
	return l
}
