package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// ClientSpec says what a new client may do. The zero value may authenticate and nothing else.
type ClientSpec struct {
	Audience []string     // audiences its tokens may carry. Empty: no limit; not allowed with Offline
	Scope    events.Scope // upper bound of its tokens' scope. Empty: none
	Resource []string     // the audiences that this client is
	Offline  bool         // it may mint its own tokens
	// MaxTokenTTL is the longest life of its tokens, in whole seconds up to [events.MaxTokenTTL]. Zero:
	// [events.DefaultTokenTTL], but a day for an offline client with an id of Authress's shape, as their SDKs mint; and no more than
	// that of a caller with an [Authority].
	MaxTokenTTL time.Duration
	// Profile describes the client; the options in it are compact JSON. Nil: nothing does.
	Profile *events.Profile
}

func (s ClientSpec) record(name events.Name, now time.Time) (*events.Issuer, error) {
	ttl, err := tokenTTL(s.MaxTokenTTL)
	if err != nil {
		return nil, err
	}
	if ttl == 0 && s.Offline && authressName.MatchString(string(name)) {
		ttl = int64(events.MaxTokenTTL / time.Second)
	}
	return &events.Issuer{
		Type: events.TypeClient, Status: events.Active, Audience: s.Audience, Scope: s.Scope, Resource: s.Resource, Offline: s.Offline, MaxTokenTTL: ttl,
		IssuedAt: now.Unix(),
	}, nil
}

// tokenTTL is d in seconds.
func tokenTTL(d time.Duration) (int64, error) {
	if d < 0 || d%time.Second != 0 {
		return 0, refuse(ErrInvalid, "a token life of %s is not a number of whole seconds", d)
	}
	return int64(d / time.Second), nil
}

// CreateClient registers a client. Without a name it gets one: sc_ and 22 random characters. The errors are [ErrInvalid], [ErrExists],
// [ErrForbidden] and, for a caller with an [Authority], [ErrTooManyClients]; a name is never given twice, whatever became of the one who had it first.
//
// The profile is written first: it means nothing before the client is there, and one that was left behind is replaced when the same
// is done again. Of two who create a client of one name in the very same moment one gets it, and the profile may be the other's.
func (r *Registry) CreateClient(ctx context.Context, caller Caller, name events.Name, spec ClientSpec) (*events.IssuerEntry, error) {
	if name == "" {
		name = generatedName()
	}
	entry := &events.IssuerEntry{Name: name}
	err := r.audited(caller, "client create", line{issuer: name}, func(l *line) (err error) {
		if err := checkClientName(name); err != nil {
			return err
		}
		if entry.Record, err = spec.record(name, r.now()); err != nil {
			return err
		}
		has, err := r.rights(ctx, caller)
		if err != nil {
			return err
		}
		if err := r.checkFull(has); err != nil {
			return err
		}
		if spec.MaxTokenTTL == 0 {
			has.shorten(entry.Record)
		}
		if err := has.checkAsked(name, entry.Record); err != nil {
			return err
		}
		if err := r.createProfile(ctx, caller, name, spec.Profile); err != nil {
			return err
		}
		entry.Revision, err = r.createIssuer(ctx, caller, name, entry.Record)
		l.revision = entry.Revision
		return err
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// checkFull refuses a client of a bounded caller when there are too many. Those who create one in the very same moment may exceed it by
// one each.
func (r *Registry) checkFull(has *rights) error {
	if has == nil {
		return nil
	}
	if issuers, _ := r.keys.Keys().Len(); issuers >= r.full {
		return refuse(ErrTooManyClients, "there are %d issuers and clients, and callers with a token may create no more than %d: "+
			"an operator can, with keyherald client create", issuers, r.full)
	}
	return nil
}

// createIssuer writes the first record on a name.
func (r *Registry) createIssuer(ctx context.Context, caller Caller, name events.Name, record *events.Issuer) (uint64, error) {
	first, err := encodeIssuer(name, record)
	if err != nil {
		return 0, err
	}
	return r.store.Update(ctx, bus.Keys, events.IssuerRecord(name).String(), caller.Name, func(e events.Entry) (bus.Decision, error) {
		switch {
		case e.Deleted:
			return bus.Decision{}, refuse(ErrExists, "the name %s was used, and its record deleted (revision %d, by %s): a name is not given to somebody else, choose another or put its last value back with nats kv put KEYS %s", name, e.Revision, by(e), e.Name)
		case e.Revision != 0:
			return bus.Decision{}, refuse(ErrExists, "%s exists already (revision %d, by %s)", name, e.Revision, by(e))
		}
		return first, r.checkUnused(ctx, name)
	})
}

// checkUnused refuses a name under which something waits that would begin to count with the new record: keys, which anybody may
// have put there while they meant nothing, or credentials.
func (r *Registry) checkUnused(ctx context.Context, name events.Name) error {
	set, err := r.live(ctx)
	if err != nil {
		return err
	}
	for _, key := range set.Keys(name) {
		if key.Record != nil && key.State(r.now()) != events.KeyRevoked {
			return refuse(ErrExists, "there is a key %q under the name %s already, which would be trusted with it: choose another name, or remove the key with nats kv del KEYS %s",
				string(key.KeyID), name, events.KeyRecord(name, key.KeyID))
		}
	}
	e, err := r.store.Get(ctx, bus.Clients, string(name))
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c, err := clientRecord(name, e); err != nil || c.Authenticates() {
		return refuse(ErrExists, "there are credentials under the name %s already, which would be accepted with it: choose another name, or remove them with nats kv del CLIENTS %s", name, name)
	}
	return nil
}

// Client returns a client.
func (r *Registry) Client(ctx context.Context, name events.Name) (*events.IssuerEntry, error) {
	return r.issuer(ctx, name, events.TypeClient)
}

// Clients returns all clients, by name.
func (r *Registry) Clients(ctx context.Context) ([]*events.IssuerEntry, error) {
	set, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	return issuersIn(set, events.TypeClient), nil
}

func (r *Registry) issuer(ctx context.Context, name events.Name, want events.IssuerType) (*events.IssuerEntry, error) {
	set, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	entry, err := issuerIn(set, name, want)
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// ClientUpdate names what is to change: a nil field stays as it is. What a field means is said at [ClientSpec].
type ClientUpdate struct {
	Audience    *[]string
	Scope       *events.Scope
	Resource    *[]string
	Offline     *bool
	MaxTokenTTL *time.Duration // to zero: [events.DefaultTokenTTL]
	Profile     *events.Profile
	// Unchanged is a revision after which the client's record must not have been written. Zero: it may.
	Unchanged uint64
}

// UpdateClient changes what a client may do, for the tokens that it has already, too. The client may be disabled. The errors are
// [ErrInvalid], [ErrNotFound], [ErrForbidden] and [ErrChanged].
//
// The profile is written last, and only if all the rest was. An update that was cut off in between is completed by doing it again.
func (r *Registry) UpdateClient(ctx context.Context, caller Caller, name events.Name, u ClientUpdate) (*events.IssuerEntry, error) {
	var entry *events.IssuerEntry
	err := r.audited(caller, "client update", line{issuer: name}, func(l *line) (err error) {
		if u == (ClientUpdate{Unchanged: u.Unchanged}) {
			return refuse(ErrInvalid, "update client %s: nothing to change was named", name)
		}
		if err := u.Profile.Validate(); err != nil { // before anything is written
			return refuse(ErrInvalid, "profile of client %s: %w", name, err)
		}
		entry, err = r.changeIssuer(ctx, caller, name, events.TypeClient, u.Unchanged, u.apply)
		l.revision = entry.Revision
		if err != nil || u.Profile == nil {
			return err
		}
		if err = r.updateProfile(ctx, caller, name, u.Profile); err != nil {
			// Half of it is done, whatever became of the other half.
			return fmt.Errorf("client %s is changed, its name, options and tags may not be: do it again: %w: %w", name, bus.ErrUnknownOutcome, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

func (u *ClientUpdate) apply(record *events.Issuer) error {
	if u.Audience != nil {
		record.Audience = slices.Clone(*u.Audience)
	}
	if u.Scope != nil {
		record.Scope = *u.Scope
	}
	if u.Resource != nil {
		record.Resource = slices.Clone(*u.Resource)
	}
	if u.Offline != nil {
		record.Offline = *u.Offline
	}
	if u.MaxTokenTTL != nil {
		ttl, err := tokenTTL(*u.MaxTokenTTL)
		if err != nil {
			return err
		}
		record.MaxTokenTTL = ttl
	}
	return nil
}

// DisableClient refuses a client everywhere, and all its tokens for ever: they stay refused when it is enabled again.
func (r *Registry) DisableClient(ctx context.Context, caller Caller, name events.Name) (*events.IssuerEntry, error) {
	return r.updateIssuer(ctx, caller, "client disable", name, events.TypeClient, r.disable)
}

// EnableClient accepts a client again. Tokens from before it was disabled stay refused.
func (r *Registry) EnableClient(ctx context.Context, caller Caller, name events.Name) (*events.IssuerEntry, error) {
	return r.updateIssuer(ctx, caller, "client enable", name, events.TypeClient, enable)
}

func (r *Registry) disable(record *events.Issuer) error {
	record.Status = events.Disabled
	record.NotBefore = max(record.NotBefore, r.now().Unix())
	return nil
}

func enable(record *events.Issuer) error {
	record.Status = events.Active
	return nil
}
