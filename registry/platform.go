package registry

import (
	"context"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// EnsurePlatform returns the platform's record and makes it, with a new account, at the first start. Of several nodes that start at
// the same time one makes it and the others adopt it. A registry that was made for another issuer URL is refused with [ErrOtherPlatform]:
// every client's iss, and so every token, depends on the URL.
func (r *Registry) EnsurePlatform(ctx context.Context, caller Caller, iss string) (*events.Issuer, error) {
	var record *events.Issuer
	err := r.audited(caller, "platform ensure", line{issuer: events.Platform}, func(l *line) (err error) {
		if err := checkPlatformURL(iss); err != nil {
			return err
		}
		l.revision, err = r.store.Update(ctx, bus.Keys, events.IssuerRecord(events.Platform).String(), caller.Name, func(e events.Entry) (d bus.Decision, err error) {
			l.outcome = ""
			if record, err = r.platformRecord(ctx, e, iss); err != nil {
				return bus.Decision{}, err
			}
			if record.Account != "" {
				l.outcome = outcomeUnchanged
				return bus.Decision{}, nil
			}
			next := *record
			next.Account = "acc-" + randomText(20, lowerAlphanumeric)
			record = &next
			return encodeIssuer(events.Platform, record)
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return record, nil
}

// platformRecord returns the record that is there, or a new one, which has no account yet.
func (r *Registry) platformRecord(ctx context.Context, e events.Entry, iss string) (*events.Issuer, error) {
	if e.Revision == 0 {
		set, err := r.live(ctx)
		if err != nil {
			return nil, err
		}
		for _, other := range issuersIn(set, events.TypeExternal) {
			if claims(iss, other.Record.Iss) {
				return nil, refuse(ErrExists, "platform %s: the external issuer %s has the iss %s, which belongs to the platform: remove it with nats kv del KEYS %s", iss, other.Name, other.Record.Iss, events.IssuerRecord(other.Name))
			}
		}
		return &events.Issuer{Type: events.TypePlatform, Status: events.Active, Iss: iss}, nil
	}
	record, err := r.issuerRecord(ctx, events.Platform, e)
	if err != nil {
		return nil, err
	}
	if record.Iss != iss {
		return nil, refuse(ErrOtherPlatform, "this registry was made for the issuer %s, not for %s: use that URL, or start with an empty registry (a new data directory or NATS account)", record.Iss, iss)
	}
	return record, nil
}

func checkPlatformURL(iss string) error {
	if err := events.CheckIssuerURL("issuer", iss); err != nil {
		return &refusal{ErrInvalid, err}
	}
	if strings.HasSuffix(iss, "/") {
		return refuse(ErrInvalid, "issuer %s ends with a slash: leave it out, the URLs of clients are made by adding to it", iss)
	}
	return nil
}

// claims reports whether an external iss is the platform's or that of one of its clients. Verifiers compare iss byte by byte; a
// slash at the end is a mistake that people do not see.
func claims(platform, iss string) bool {
	iss = strings.TrimRight(iss, "/")
	return iss == platform || strings.HasPrefix(iss+"/", events.ClientURL(platform, ""))
}
