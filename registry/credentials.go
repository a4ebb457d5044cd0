package registry

import (
	"bytes"
	"context"
	"errors"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// credentials returns how a client may authenticate.
func (r *Registry) credentials(ctx context.Context, name events.Name) (*events.Client, error) {
	if _, err := r.Client(ctx, name); err != nil {
		return nil, err
	}
	e, err := r.store.Get(ctx, bus.Clients, string(name))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	return clientRecord(name, e)
}

// updateCredentials changes how a client may authenticate. Nothing is written if the record is as it should be.
func (r *Registry) updateCredentials(ctx context.Context, caller Caller, name events.Name, change func(*events.Client) error) (uint64, error) {
	return r.store.Update(ctx, bus.Clients, string(name), caller.Name, func(e events.Entry) (bus.Decision, error) {
		c, err := clientRecord(name, e)
		if err != nil {
			return bus.Decision{}, err
		}
		before, err := c.Encode()
		if err != nil {
			return bus.Decision{}, refuse(ErrInvalid, "credentials of client %s: %w", name, err)
		}
		if err := change(c); err != nil {
			return bus.Decision{}, err
		}
		value, err := c.Encode()
		if err != nil {
			return bus.Decision{}, refuse(ErrInvalid, "credentials of client %s: %w", name, err)
		}
		if bytes.Equal(value, before) {
			return bus.Decision{}, nil
		}
		return bus.Decision{Value: value}, nil
	})
}

// clientRecord reads the last message on a client's name in CLIENTS; none, and a marker, mean that it has nothing there. A malformed
// one is for a person to put right: what counts is an earlier one, and nobody here knows which. The history says who wrote it; the error, which
// callers with a token get to see, does not.
func clientRecord(name events.Name, e events.Entry) (*events.Client, error) {
	if e.Revision == 0 || e.Deleted {
		return new(events.Client), nil
	}
	c, err := events.ParseClient(e.Value)
	if err != nil {
		return nil, refuse(ErrInvalid, "record %s of CLIENTS is malformed (revision %d): %w: find the last good one with nats kv history CLIENTS %s and put it again; to refuse the client meanwhile, disable it", name, e.Revision, err, name)
	}
	return c, nil
}

// RequireJTI says whether assertions of the jwt-bearer grant must have a jti, and so are used once. Without, those that have none may
// be used as often as their life allows. The errors are [ErrInvalid], [ErrNotFound] and [ErrForbidden].
func (r *Registry) RequireJTI(ctx context.Context, caller Caller, name events.Name, required bool) error {
	return r.audited(caller, "client update", line{issuer: name}, func(l *line) error {
		set, err := r.live(ctx)
		if err != nil {
			return err
		}
		if _, err := issuerIn(set, name, events.TypeClient); err != nil {
			return err
		}
		if err := r.checkAuthority(ctx, caller, name); err != nil {
			return err
		}
		was := false
		l.revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			was, c.RequireJTI = c.RequireJTI, required
			return nil
		})
		if err == nil && was == required {
			l.outcome = outcomeUnchanged
		}
		return err
	})
}

// RequiresJTI reports what [Registry.RequireJTI] has set.
func (r *Registry) RequiresJTI(ctx context.Context, name events.Name) (bool, error) {
	c, err := r.credentials(ctx, name)
	if err != nil {
		return false, err
	}
	return c.RequireJTI, nil
}
