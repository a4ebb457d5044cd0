package registry

import (
	"context"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
)

// NewSecret is an API key that was made.
type NewSecret struct {
	ID       string        // under which it is listed and revoked
	Key      events.APIKey // its text is here and nowhere else
	Expires  time.Time     // zero: never
	Revision uint64
}

// secretIDLength is the length of the random id of an API key, in alphanumeric characters. It is not secret.
const secretIDLength = 8

// AddSecret makes an API key for a client; a zero time means that it does not expire. A client may have several, so that they can be
// replaced one by one; those that have expired make room. The errors are [ErrInvalid], [ErrNotFound], [ErrDisabled] [ErrForbidden]
// and [ErrTooManySecrets].
func (r *Registry) AddSecret(ctx context.Context, caller Caller, name events.Name, expires time.Time) (NewSecret, error) {
	var secret NewSecret
	err := r.audited(caller, "secret add", line{issuer: name}, func(l *line) (err error) {
		set, err := r.live(ctx)
		if err != nil {
			return err
		}
		if _, err := activeIn(set, name, events.TypeClient); err != nil {
			return err
		}
		if err := checkTarget(set, caller, name); err != nil {
			return err
		}
		now := r.now().Unix()
		if !expires.IsZero() && expires.Unix() <= now { // in 1970, too, of which the record would say nothing
			return refuse(ErrInvalid, "the API key would have expired at %s already: choose a later end", expires.UTC().Format(time.RFC3339))
		}
		secret = NewSecret{ID: randomText(secretIDLength, alphanumeric), Key: events.NewAPIKey(name), Expires: expires}
		l.secret = secret.ID
		secret.Revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			c.Secrets = slices.DeleteFunc(c.Secrets, func(s events.Secret) bool { return s.Expires != 0 && s.Expires <= now })
			if len(c.Secrets) >= events.MaxSecrets {
				return refuse(ErrTooManySecrets, "client %s has %d API keys already: revoke one that is not in use", name, len(c.Secrets))
			}
			c.Secrets = append(c.Secrets, events.Secret{ID: secret.ID, SHA256: secret.Key.Hash(), IssuedAt: now, Expires: seconds(expires)})
			return nil
		})
		l.revision = secret.Revision
		if err != nil {
			return unsure(err, "API key %s of client %s may or may not be registered, see secret list; if it is, revoke it and add another", secret.ID, name)
		}
		return r.recheck(ctx, caller, name, func(ctx context.Context, caller Caller) error { return r.RevokeSecret(ctx, caller, name, secret.ID) })
	})
	if err != nil {
		return NewSecret{}, err
	}
	return secret, nil
}

// RevokeSecret removes an API key by its id: it is refused from then on. The error is [ErrNotFound] if the client has none of that id.
func (r *Registry) RevokeSecret(ctx context.Context, caller Caller, name events.Name, id string) error {
	return r.audited(caller, "secret revoke", line{issuer: name, secret: id}, func(l *line) (err error) {
		if err := checkName(name); err != nil {
			return err
		}
		if err := r.checkAuthority(ctx, caller, name); err != nil {
			return err
		}
		l.revision, err = r.updateCredentials(ctx, caller, name, func(c *events.Client) error {
			before := len(c.Secrets)
			c.Secrets = slices.DeleteFunc(c.Secrets, func(s events.Secret) bool { return s.ID == id })
			if len(c.Secrets) == before {
				return refuse(ErrNotFound, "client %s has no API key %q: see secret list", name, id)
			}
			return nil
		})
		return err
	})
}

// Secrets returns what is kept of a client's API keys.
func (r *Registry) Secrets(ctx context.Context, name events.Name) ([]events.Secret, error) {
	c, err := r.credentials(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.Secrets, nil
}
