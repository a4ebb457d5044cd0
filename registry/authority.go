package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// The scope values that a token needs to work on the registry.
const (
	ScopeClientsRead  = "clients:read"  // read clients, their keys and the ids of their API keys
	ScopeClientsWrite = "clients:write" // create, change and disable clients
	ScopeKeysWrite    = "keys:write"    // add and revoke keys and API keys
)

// Authority is what a caller with an access token may do. It may not give more than it has: a client that it creates or changes
// must have, before and after, no scope outside of Scope, no audience or resource outside of the caller's own record, no longer life of
// its tokens, and leave to mint them only if the caller has that. To give a client a key is to get what the client has, and bounded in the
// same way. The audience of the account belongs to every client that mints its own tokens: a caller that does gives it to others that do.
type Authority struct {
	Client events.Name  // whom the token speaks for
	Scope  events.Scope // the token's effective scope
}

// Need returns a [*Forbidden] unless the scope has the value.
func (a *Authority) Need(value string) error {
	if a.Scope.Has(value) {
		return nil
	}
	missing, err := events.ParseScope(value)
	if err != nil {
		return err
	}
	return &Forbidden{Scope: missing, text: fmt.Sprintf("the token of client %s lacks the scope %s", a.Client, value)}
}

// Forbidden is the error of an operation that the caller's token is not good for. It tests as [ErrForbidden].
type Forbidden struct {
	Scope events.Scope // values that the caller would need for what it asked; may be empty
	text  string
	told  string // empty: text
}

// Error is for operators and the log: it may say what another client has.
func (e *Forbidden) Error() string { return e.text }

// Told is what the caller may know: what it has itself, and what it has asked for.
func (e *Forbidden) Told() string { return cmp.Or(e.told, e.text) }

// Is makes a Forbidden match ErrForbidden.
func (e *Forbidden) Is(target error) bool { return target == ErrForbidden }

// may checks that the caller may do an operation at all. One that is not listed is for operators.
func (c Caller) may(op string) error {
	if c.Authority == nil {
		return nil
	}
	switch op {
	case "client create", "client update", "client disable":
		return c.Authority.Need(ScopeClientsWrite)
	case "key add", "key revoke", "secret add", "secret revoke":
		return c.Authority.Need(ScopeKeysWrite)
	}
	return &Forbidden{text: fmt.Sprintf("%s is not for the token of a client: it takes an operator's NATS credential", op)}
}

// rights is a caller's authority together with what a set says about the caller. Nil: there is no bound.
type rights struct {
	caller  events.Name
	scope   events.Scope
	record  *events.Issuer
	account string // the account's audience
}

// rightsOf returns what a caller has, as of a set that is up to date: a caller that was bounded or disabled a moment ago is so here.
func rightsOf(set *events.Set, caller Caller) (*rights, error) {
	if caller.Authority == nil {
		return nil, nil
	}
	name := caller.Authority.Client
	entry := set.Issuer(name)
	if entry == nil || entry.Record.Type != events.TypeClient || entry.Record.Status != events.Active {
		return nil, &Forbidden{text: fmt.Sprintf("the caller, client %s, is unknown or disabled", name)}
	}
	r := &rights{caller: name, record: entry.Record, scope: caller.Authority.Scope.Intersect(entry.Record.Scope)}
	if platform := set.Platform(); platform != nil && platform.Record.Account != "" {
		r.account = events.AccountAudience(platform.Record.Account)
	}
	return r, nil
}

// checkAsked refuses a record that a client is to get, of which everything was asked for, and that has more than the caller.
func (r *rights) checkAsked(name events.Name, record *events.Issuer) error {
	if err := r.check(name, record); err != nil {
		return err
	}
	return nil
}

// checkHas refuses a client that has more than the caller, who is not told what.
func (r *rights) checkHas(name events.Name, record *events.Issuer) error {
	err := r.check(name, record)
	if err == nil {
		return nil
	}
	err.Scope = events.Scope{}
	err.told = fmt.Sprintf("client %s has more than the caller %s: nobody changes one who has more than he has, or gives him keys: "+
		"an operator can give the caller more with keyherald client update %[2]s", name, r.caller)
	return err
}

// check says whether a record of a client has more than the caller.
func (r *rights) check(name events.Name, record *events.Issuer) *Forbidden {
	if r == nil {
		return nil
	}
	missing := r.scope.Lacks(record.Scope)
	beyond := r.beyond(record)
	if !missing.IsEmpty() {
		beyond = append([]string{"scope " + missing.String()}, beyond...)
	}
	if len(beyond) == 0 {
		return nil
	}
	return &Forbidden{Scope: missing, text: fmt.Sprintf("client %s has, or would have, what the caller %s has not: %s; nobody grants more than he has: "+
		"an operator can give the caller more with keyherald client update %[2]s", name, r.caller, strings.Join(beyond, ", "))}
}

// beyond lists what a record has, other than scope, and the caller has not.
func (r *rights) beyond(record *events.Issuer) (beyond []string) {
	if len(r.record.Audience) > 0 {
		for _, aud := range record.Audience {
			if !slices.Contains(r.record.Audience, aud) && !r.sharesAccount(record, aud) {
				beyond = append(beyond, "audience "+aud)
			}
		}
		if len(record.Audience) == 0 {
			beyond = append(beyond, "no limit of its audiences")
		}
	}
	for _, resource := range record.Resource { // no exception: who is the account's audience gets everybody's tokens
		if !slices.Contains(r.record.Resource, resource) {
			beyond = append(beyond, "resource "+resource)
		}
	}
	if record.Offline && !r.record.Offline {
		beyond = append(beyond, "leave to mint tokens (offline)")
	}
	if ttl := record.TokenTTL(); ttl > r.record.TokenTTL() {
		beyond = append(beyond, fmt.Sprintf("tokens that live %s, not %s", ttl, r.record.TokenTTL()))
	}
	return beyond
}

// sharesAccount reports whether aud is the account's audience, which clients that mint their own tokens may give each other.
func (r *rights) sharesAccount(record *events.Issuer, aud string) bool {
	return aud == r.account && r.record.Offline && record.Offline
}

// shorten gives a new client, for which no life of tokens was asked, no longer one than the caller's.
func (r *rights) shorten(record *events.Issuer) {
	if r != nil && record.TokenTTL() > r.record.TokenTTL() {
		record.MaxTokenTTL = int64(r.record.TokenTTL() / time.Second)
	}
}

// checkChange refuses a change of a client that has, or would have, more than the caller. Of the caller itself the record that is replaced
// counts: it may have been narrowed since the set was looked at.
func (r *rights) checkChange(name events.Name, old, next *events.Issuer) error {
	if r == nil {
		return nil
	}
	if name == r.caller {
		r = &rights{caller: r.caller, scope: r.scope.Intersect(old.Scope), record: old, account: r.account}
	}
	if err := r.checkHas(name, old); err != nil {
		return err
	}
	return r.checkAsked(name, next)
}

// checkTarget refuses work on the keys of a client that has more than the caller.
func checkTarget(set *events.Set, caller Caller, name events.Name) error {
	has, err := rightsOf(set, caller)
	if err != nil || has == nil {
		return err
	}
	entry, err := issuerIn(set, name, events.TypeClient)
	if err != nil {
		return err
	}
	return has.checkHas(name, entry.Record)
}

// checkAuthority is checkTarget as of now. It needs no more when something is taken away: from whoever the client is a moment later.
func (r *Registry) checkAuthority(ctx context.Context, caller Caller, name events.Name) error {
	if caller.Authority == nil {
		return nil
	}
	set, err := r.live(ctx)
	if err != nil {
		return err
	}
	return checkTarget(set, caller, name)
}

// recheck is for a credential that was just added to a client: its record, by which that was allowed, is another one than the credential's,
// and may have been changed in between. If the caller would not be allowed to add it now, undo takes it back, before anybody
// has got to know the private half of one that was made here.
func (r *Registry) recheck(ctx context.Context, caller Caller, name events.Name, undo func(ctx context.Context, caller Caller) error) error {
	err := r.checkAuthority(ctx, caller, name)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if undone := undo(ctx, Caller{Name: caller.Name}); undone != nil {
		return fmt.Errorf("%w: a credential of client %s was added, and could not be taken back: %w", bus.ErrUnknownOutcome, name, errors.Join(err, undone))
	}
	return err
}
