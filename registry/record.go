package registry

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// issuerRecord returns the record that counts when e is the last message on an issuer's name: its own or, if that is malformed, the
// last valid one before it, as every reader of the bucket has it. So nobody can keep a client from being disabled by
// putting garbage on its name.
func (r *Registry) issuerRecord(ctx context.Context, name events.Name, e events.Entry) (*events.Issuer, error) {
	if e.Revision == 0 {
		return nil, refuse(ErrNotFound, "there is no issuer or client %s", name)
	}
	if e.Deleted {
		return nil, refuse(ErrNotFound, "the record of %s was deleted (revision %d, by %s): put its last value back with nats kv put KEYS %s", name, e.Revision, by(e), e.Name)
	}
	record, malformed := events.ParseIssuer(e.Value)
	if malformed == nil && (name == events.Platform) == (record.Type == events.TypePlatform) {
		return record, nil
	}
	set, err := r.live(ctx) // has at least e
	if err != nil {
		return nil, err
	}
	if entry := set.Issuer(name); entry != nil {
		return entry.Record, nil
	}
	return nil, refuse(ErrNotFound, "record %s has no valid revision (the last is %d, by %s): put a valid one with nats kv put KEYS %s", e.Name, e.Revision, by(e), e.Name)
}

// keyRecord returns the record that counts when e is the last message on a key's name; see issuerRecord.
func (r *Registry) keyRecord(ctx context.Context, name events.Name, kid events.KeyID, e events.Entry) (*events.Key, error) {
	if e.Revision != 0 && !e.Deleted {
		record, malformed := events.ParseKey(kid, e.Value)
		if malformed == nil {
			return record, nil
		}
		set, err := r.live(ctx)
		if err != nil {
			return nil, err
		}
		if entry := set.Key(name, kid); entry != nil && entry.Record != nil {
			return entry.Record, nil
		}
	}
	return nil, refuse(ErrNotFound, "%s has no key %q: see key list", name, string(kid))
}

// updateIssuer changes the record of an issuer of the given type, and writes the audit line.
func (r *Registry) updateIssuer(ctx context.Context, caller Caller, op string, name events.Name, want events.IssuerType, change func(*events.Issuer) error) (*events.IssuerEntry, error) {
	var entry *events.IssuerEntry
	err := r.audited(caller, op, line{issuer: name}, func(l *line) (err error) {
		entry, err = r.changeIssuer(ctx, caller, name, want, 0, change)
		l.revision = entry.Revision
		return err
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// changeIssuer changes the record of an issuer of the given type. change gets a copy that it may modify; members that this version
// does not know stay. What the caller may do is held against the very record that is replaced. Unless unchanged is zero, that
// must not have been written after this revision. What it knows is returned with an error, too, for the audit log.
func (r *Registry) changeIssuer(ctx context.Context, caller Caller, name events.Name, want events.IssuerType, unchanged uint64, change func(*events.Issuer) error) (*events.IssuerEntry, error) {
	entry := &events.IssuerEntry{Name: name}
	if err := checkName(name); err != nil {
		return entry, err
	}
	has, err := r.rights(ctx, caller)
	if err != nil {
		return entry, err
	}
	entry.Revision, err = r.store.Update(ctx, bus.Keys, events.IssuerRecord(name).String(), caller.Name, func(e events.Entry) (bus.Decision, error) {
		record, err := r.issuerRecord(ctx, name, e)
		if err != nil {
			return bus.Decision{}, err
		}
		if err := checkType(name, record, want); err != nil {
			return bus.Decision{}, err
		}
		if unchanged != 0 && e.Revision > unchanged {
			return bus.Decision{}, refuse(ErrChanged, "%s was changed meanwhile (revision %d, by %s): read it again", name, e.Revision, by(e))
		}
		next := *record
		entry.Record = &next
		if err := change(&next); err != nil {
			return bus.Decision{}, err
		}
		if err := has.checkChange(name, record, &next); err != nil {
			return bus.Decision{}, err
		}
		return encodeIssuer(name, &next)
	})
	return entry, err
}

// rights returns what a caller has now; see rightsOf.
func (r *Registry) rights(ctx context.Context, caller Caller) (*rights, error) {
	if caller.Authority == nil {
		return nil, nil
	}
	set, err := r.live(ctx)
	if err != nil {
		return nil, err
	}
	return rightsOf(set, caller)
}

func encodeIssuer(name events.Name, record *events.Issuer) (bus.Decision, error) {
	value, err := record.Encode()
	if err != nil {
		return bus.Decision{}, refuse(ErrInvalid, "%s %s: %w", record.Type, name, err)
	}
	return bus.Decision{Value: value}, nil
}

// issuerIn returns the issuer of one of the given types from a set.
func issuerIn(set *events.Set, name events.Name, want ...events.IssuerType) (*events.IssuerEntry, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	entry := set.Issuer(name)
	if entry == nil {
		return nil, refuse(ErrNotFound, "there is no issuer or client %s", name)
	}
	return entry, checkType(name, entry.Record, want...)
}

// activeIn is issuerIn for issuers that are not disabled.
func activeIn(set *events.Set, name events.Name, want ...events.IssuerType) (*events.IssuerEntry, error) {
	entry, err := issuerIn(set, name, want...)
	if err == nil && entry.Record.Status != events.Active {
		err = refuse(ErrDisabled, "%s %s is disabled: enable it first", entry.Record.Type, name)
	}
	return entry, err
}

// issuersIn returns all issuers of a type, by name.
func issuersIn(set *events.Set, want events.IssuerType) []*events.IssuerEntry {
	var list []*events.IssuerEntry
	for e := range set.Issuers() {
		if e.Record.Type == want {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *events.IssuerEntry) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func checkName(name events.Name) error {
	if _, err := events.ParseName(string(name)); err != nil {
		return &refusal{ErrInvalid, err}
	}
	return nil
}

func checkType(name events.Name, record *events.Issuer, want ...events.IssuerType) error {
	if slices.Contains(want, record.Type) {
		return nil
	}
	return refuse(ErrNotFound, "%s is the name of a record of type %s, not %s", name, record.Type, want[0])
}

// by names the writer of a message.
func by(e events.Entry) string { return cmp.Or(e.Caller, events.UnknownCaller) }
