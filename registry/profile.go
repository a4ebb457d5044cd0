package registry

import (
	"context"
	"errors"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// Profile returns how a client is described, which may be not at all. The profile of a record that is malformed is empty: it is shown
// to people, and decides nothing.
func (r *Registry) Profile(ctx context.Context, name events.Name) (events.Profile, error) {
	if err := checkName(name); err != nil {
		return events.Profile{}, err
	}
	e, err := r.store.Get(ctx, bus.Clients, string(name))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return events.Profile{}, err
	}
	if c, err := clientRecord(name, e); err == nil && c.Profile != nil {
		return *c.Profile, nil
	}
	return events.Profile{}, nil
}

// createProfile writes the profile of a client that is to be created next. It leaves one alone that belongs to somebody, and the name of
// which will be refused.
func (r *Registry) createProfile(ctx context.Context, caller Caller, name events.Name, p *events.Profile) error {
	if p == nil {
		return nil
	}
	if err := p.Validate(); err != nil {
		return refuse(ErrInvalid, "profile of client %s: %w", name, err)
	}
	set, err := r.live(ctx)
	if err != nil || set.Issuer(name) != nil {
		return err
	}
	return r.updateProfile(ctx, caller, name, p)
}

// updateProfile replaces the profile in a client's record of CLIENTS. It makes no record for one that is empty.
func (r *Registry) updateProfile(ctx context.Context, caller Caller, name events.Name, p *events.Profile) error {
	_, err := r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
		next := *p
		if c.Profile != nil {
			next.Extra = c.Profile.Extra
		}
		c.Profile = &next
		return nil
	})
	return err
}
