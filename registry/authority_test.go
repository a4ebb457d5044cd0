package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

const adminScopes = "clients:read clients:write keys:write billing:read"

// admin registers an admin, who may hand on billing:read for https://billing, and returns a caller with a token of that scope.
func (w *world) admin(tokenScope string) registry.Caller {
	w.t.Helper()
	if w.set().Issuer("sc_admin") == nil {
		spec := registry.ClientSpec{Scope: scopeOf(w.t, adminScopes), Audience: []string{"https://billing"}, Resource: []string{"https://admin"}, MaxTokenTTL: time.Hour}
		if _, err := w.CreateClient(w.t.Context(), alice, "sc_admin", spec); err != nil {
			w.t.Fatal(err)
		}
	}
	return registry.Caller{Name: "http:sc_admin", Authority: &registry.Authority{Client: "sc_admin", Scope: scopeOf(w.t, tokenScope)}}
}

func scopeOf(t *testing.T, text string) events.Scope {
	t.Helper()
	return must(events.ParseScope(text))(t)
}

func (w *world) accountAudience() string {
	return events.AccountAudience(w.set().Platform().Record.Account)
}

// A caller with a token does what the API has, and needs the scope value for it. All else is for operators, also what will be added.
func TestATokenIsGoodForListedOperationsOnly(t *testing.T) {
	w := newWorld(t)
	w.admin(adminScopes)
	needs := map[string]string{
		"client create": "clients:write", "client update": "clients:write", "client disable": "clients:write",
		"key add": "keys:write", "key revoke": "keys:write", "secret add": "keys:write", "secret revoke": "keys:write",
	}
	seen := map[string]bool{}
	for _, write := range everyWrite(w.Registry, w.clock.Now()) {
		err := write(t.Context(), w.admin("clients:read billing:read"))
		op := w.audit.last(t)["op"].(string)
		var forbidden *registry.Forbidden
		if !errors.As(err, &forbidden) || !errors.Is(err, registry.ErrForbidden) || w.audit.last(t)["outcome"] != "refused" {
			t.Fatalf("%s without the scope: %v, audit line %v", op, err, w.audit.last(t))
		}
		if forbidden.Scope.String() != needs[op] {
			t.Errorf("%s: the error asks for the scope %q, want %q", op, forbidden.Scope, needs[op])
		}
		if needs[op] == "" && !strings.Contains(err.Error(), "operator") {
			t.Errorf("%s: %v", op, err)
		}
		if needs[op] != "" {
			seen[op] = true
		}
	}
	if len(seen) != len(needs) {
		t.Errorf("%d operations take a token, want %d", len(seen), len(needs))
	}
}

// The table of what a caller may create, and what it may turn a client of its own into.
func TestNobodyGrantsMoreThanTheyHave(t *testing.T) {
	w := newWorld(t)
	full := w.admin(adminScopes)
	for name, c := range map[string]struct {
		caller registry.Caller
		spec   registry.ClientSpec
		want   string // what is lacking; empty: it is allowed
	}{
		"nothing for its audience":      {full, registry.ClientSpec{Audience: []string{"https://billing"}}, ""},
		"a part of its scope":           {full, registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:read")}, ""},
		"all that it has":               {full, registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, adminScopes), Resource: []string{"https://admin"}}, ""},
		"the audience of the account":   {full, registry.ClientSpec{Audience: []string{w.accountAudience()}}, "audience acc-"},
		"to be the account":             {full, registry.ClientSpec{Audience: []string{"https://billing"}, Resource: []string{w.accountAudience()}}, "resource acc-"},
		"to mint tokens":                {full, registry.ClientSpec{Audience: []string{"https://billing"}, Offline: true}, "leave to mint tokens"},
		"to mint them for the account":  {full, registry.ClientSpec{Audience: []string{w.accountAudience()}, Offline: true}, "audience acc-"},
		"tokens that live longer":       {full, registry.ClientSpec{Audience: []string{"https://billing"}, MaxTokenTTL: time.Hour + time.Second}, "tokens that live 1h0m1s, not 1h0m0s"},
		"tokens that live as long":      {full, registry.ClientSpec{Audience: []string{"https://billing"}, MaxTokenTTL: time.Hour}, ""},
		"a scope that it lacks":         {full, registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:read billing:write")}, "scope billing:write"},
		"a scope that its token lacks":  {w.admin("clients:write"), registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:read")}, "scope billing:read"},
		"a scope that its record lacks": {w.admin(adminScopes + " root"), registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "root")}, "scope root"},
		"an audience that it lacks":     {full, registry.ClientSpec{Audience: []string{"https://billing", "https://stock"}}, "audience https://stock"},
		"no limit of audiences":         {full, registry.ClientSpec{}, "no limit of its audiences"},
		"a resource that it is not":     {full, registry.ClientSpec{Audience: []string{"https://billing"}, Resource: []string{"https://billing"}}, "resource https://billing"},
	} {
		t.Run(name, func(t *testing.T) {
			want := func(err error) {
				t.Helper()
				if c.want == "" {
					w.ok(nil, err)
					return
				}
				wantError(t, err, registry.ErrForbidden, c.want, "keyherald client update sc_admin")
			}
			entry, err := w.CreateClient(t.Context(), c.caller, "", c.spec)
			want(err)
			target := must(w.CreateClient(t.Context(), alice, "", registry.ClientSpec{Audience: []string{"https://billing"}}))(t).Name
			if entry != nil {
				target = entry.Name
			}
			update := registry.ClientUpdate{
				Audience: &c.spec.Audience, Scope: &c.spec.Scope, Resource: &c.spec.Resource, Offline: &c.spec.Offline, MaxTokenTTL: &c.spec.MaxTokenTTL,
			}
			_, err = w.UpdateClient(t.Context(), c.caller, target, update)
			want(err)
			got := w.set().Issuer(target).Record
			if c.want != "" && (!got.Scope.IsEmpty() || len(got.Resource) > 0 || len(got.Audience) != 1 || got.Offline || got.MaxTokenTTL != 0) {
				t.Errorf("a refused update has changed the record: %+v", got)
			}
		})
	}
}

// Clients that mint their own tokens have the audience of the account in common; to be it is another thing.
func TestACallerThatMintsLetsOthersMintForTheAccount(t *testing.T) {
	w := newWorld(t)
	caller, on := w.admin(adminScopes), true
	w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Offline: &on}))
	w.ok(w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: []string{w.accountAudience()}, Offline: true}))
	_, err := w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: []string{w.accountAudience()}})
	wantError(t, err, registry.ErrForbidden, "audience acc-")
	_, err = w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: []string{"https://billing"}, Resource: []string{w.accountAudience()}, Offline: true})
	wantError(t, err, registry.ErrForbidden, "resource acc-")
}

// Where no life of tokens is asked for, a client gets the caller's if that is shorter than what it would get from an operator.
func TestTokensOfANewClientLiveNoLongerThanTheCallers(t *testing.T) {
	w := newWorld(t)
	caller, on := w.admin(adminScopes), true
	for _, c := range []struct {
		have    time.Duration
		offline bool
		want    time.Duration
	}{{time.Minute, false, time.Minute}, {2 * time.Hour, false, time.Hour}, {2 * time.Hour, true, 2 * time.Hour}, {24 * time.Hour, true, 24 * time.Hour}} {
		w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Offline: &on, MaxTokenTTL: &c.have}))
		entry, err := w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: []string{"https://billing"}, Offline: c.offline})
		if err != nil || entry.Record.TokenTTL() != c.want {
			t.Errorf("%+v: %+v, %v", c, entry, err)
		}
	}
}

func TestACallerWithoutALimitOfAudiencesGrantsAny(t *testing.T) {
	w := newWorld(t)
	caller := w.admin(adminScopes)
	w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Audience: new([]string)}))
	for _, aud := range [][]string{nil, {"https://anything"}} {
		if _, err := w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: aud}); err != nil {
			t.Errorf("audience %q: %v", aud, err)
		}
	}
}

// To change a client, or to give it a key or an API key, a caller must have what the client has.
func TestAClientWithMoreThanTheCallerIsOutOfReach(t *testing.T) {
	w := newWorld(t)
	caller := w.admin(adminScopes)
	for name, spec := range map[events.Name]registry.ClientSpec{
		"scope":    {Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:write")},
		"audience": {Audience: []string{"https://stock"}},
		"unbound":  {},
		"resource": {Audience: []string{"https://billing"}, Resource: []string{"https://billing"}},
		"offline":  {Audience: []string{"https://billing"}, Offline: true},
		"ttl":      {Audience: []string{"https://billing"}, MaxTokenTTL: 2 * time.Hour},
	} {
		w.ok(w.CreateClient(t.Context(), alice, name, spec))
		key := w.add(name, "k1")
		secret := must(w.AddSecret(t.Context(), alice, name, time.Time{}))(t)
		before := w.set().Revision()
		narrow, none, off := scopeOf(t, ""), []string{"https://billing"}, false
		for what, op := range map[string]func() error{
			"narrowing it": func() error {
				_, err := w.UpdateClient(t.Context(), caller, name, registry.ClientUpdate{
					Scope: &narrow, Audience: &none, Resource: new([]string), Offline: &off, MaxTokenTTL: new(time.Duration),
				})
				return err
			},
			"changing how it authenticates": func() error { return w.RequireJTI(t.Context(), caller, name, true) },
			"disabling it":                  func() error { _, err := w.DisableClient(t.Context(), caller, name); return err },
			"adding a key":                  func() error { _, err := w.AddKey(t.Context(), caller, name, registry.KeySpec{}); return err },
			"revoking a key":                func() error { _, err := w.RevokeKey(t.Context(), caller, name, key.KeyID, ""); return err },
			"adding an API key": func() error {
				_, err := w.AddSecret(t.Context(), caller, name, time.Time{})
				return err
			},
			"revoking an API key": func() error { return w.RevokeSecret(t.Context(), caller, name, secret.ID) },
		} {
			if err := op(); !errors.Is(err, registry.ErrForbidden) {
				t.Errorf("client with more %s: %s: %v", name, what, err)
			}
		}
		if after := w.set().Revision(); after != before {
			t.Errorf("client with more %s: something was written", name)
		}
		if n := len(must(w.Secrets(t.Context(), name))(t)); n != 1 {
			t.Errorf("client with more %s: %d API keys", name, n)
		}
	}
	w.ok(w.CreateClient(t.Context(), alice, "within", registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:read")}))
	key := must(w.AddKey(t.Context(), caller, "within", registry.KeySpec{}))(t)
	w.ok(w.RevokeKey(t.Context(), caller, "within", key.KeyID, ""))
	secret := must(w.AddSecret(t.Context(), caller, "within", time.Time{}))(t)
	w.ok(nil, w.RevokeSecret(t.Context(), caller, "within", secret.ID))
	w.ok(w.DisableClient(t.Context(), caller, "within"))
	// Of an issuer that is no client, and of nobody, nothing is revoked.
	_, err := w.RevokeKey(t.Context(), caller, events.Platform, "k1", "")
	wantError(t, err, registry.ErrNotFound)
	_, err = w.RevokeKey(t.Context(), caller, "nobody", "k1", "")
	wantError(t, err, registry.ErrNotFound)
}

func TestACallerDoesNotWidenItself(t *testing.T) {
	w := newWorld(t)
	caller := w.admin(adminScopes)
	more, on, long := scopeOf(t, adminScopes+" billing:write"), true, 24*time.Hour
	for name, u := range map[string]registry.ClientUpdate{
		"scope":             {Scope: &more},
		"audience":          {Audience: new([]string)},
		"offline":           {Offline: &on},
		"longer tokens":     {MaxTokenTTL: &long},
		"another audience":  {Audience: &[]string{"https://billing", "https://stock"}},
		"being a recipient": {Resource: &[]string{"https://admin", "https://billing"}},
		"the account":       {Audience: &[]string{"https://billing", w.accountAudience()}},
		"being the account": {Resource: &[]string{"https://admin", w.accountAudience()}},
	} {
		if _, err := w.UpdateClient(t.Context(), caller, "sc_admin", u); !errors.Is(err, registry.ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.AddKey(t.Context(), w.admin("keys:write"), "sc_admin", registry.KeySpec{})
	wantError(t, err, registry.ErrForbidden, "scope billing:read") // with a token for little, a key for all
	short := time.Minute
	w.ok(w.UpdateClient(t.Context(), caller, "sc_admin", registry.ClientUpdate{MaxTokenTTL: &short}))
}

// What is never deleted must not be made without end by whoever has got a token. Operators go on.
func TestACallerCreatesNoMoreClientsThanThereMayBe(t *testing.T) {
	w := newWorld(t)
	caller := w.admin(adminScopes)
	w.ok(w.CreateClient(t.Context(), alice, "before", registry.ClientSpec{}))
	w.ok(w.DisableClient(t.Context(), alice, "before")) // and counts
	issuers, _ := w.set().Len()
	full, err := registry.New(registry.Config{Store: w.conn, Keys: w.keys, MaxClients: issuers + 1})
	if err != nil {
		t.Fatal(err)
	}
	spec := registry.ClientSpec{Audience: []string{"https://billing"}, Profile: &events.Profile{Name: "Stock"}}
	w.ok(full.CreateClient(t.Context(), caller, "last", spec))
	_, err = full.CreateClient(t.Context(), caller, "beyond", spec)
	wantError(t, err, registry.ErrTooManyClients, "callers with a token", "keyherald client create")
	w.absent(bus.Keys, "issuer.beyond")
	w.absent(bus.Clients, "beyond")
	w.ok(full.UpdateClient(t.Context(), caller, "last", registry.ClientUpdate{Profile: &events.Profile{}}))
	w.ok(full.AddKey(t.Context(), caller, "last", registry.KeySpec{}))
	w.ok(full.CreateClient(t.Context(), alice, "beyond", spec))
}

// A client that has all that the caller has, made by it, is no way to more either.
func TestACallerDoesNotWidenItselfThroughAHelper(t *testing.T) {
	w := newWorld(t)
	caller, on, long := w.admin(adminScopes), true, 24*time.Hour
	spec := registry.ClientSpec{Scope: scopeOf(t, adminScopes), Audience: []string{"https://billing"}, Resource: []string{"https://admin"}}
	wide := spec
	wide.Offline, wide.MaxTokenTTL = true, long
	_, err := w.CreateClient(t.Context(), caller, "helper", wide)
	wantError(t, err, registry.ErrForbidden, "leave to mint tokens", "24h0m0s")
	w.ok(w.CreateClient(t.Context(), caller, "helper", spec))
	w.ok(w.AddKey(t.Context(), caller, "helper", registry.KeySpec{}))
	helper := registry.Caller{Name: "http:helper", Authority: &registry.Authority{Client: "helper", Scope: scopeOf(t, adminScopes)}}
	_, err = w.UpdateClient(t.Context(), helper, "sc_admin", registry.ClientUpdate{Offline: &on})
	wantError(t, err, registry.ErrForbidden, "leave to mint tokens")
	_, err = w.UpdateClient(t.Context(), helper, "sc_admin", registry.ClientUpdate{MaxTokenTTL: &long})
	wantError(t, err, registry.ErrForbidden, "24h0m0s")
}

// Of the caller's own record the one counts that is replaced, not one that was in the set before.
func TestACallerThatIsNarrowedMeanwhileDoesNotUndoIt(t *testing.T) {
	w := newWorld(t)
	caller, on := w.admin(adminScopes), true
	narrow := scopeOf(t, "clients:write")
	scope := scopeOf(t, adminScopes)
	for name, c := range map[string]struct{ give, narrow, undo registry.ClientUpdate }{
		"scope":   {registry.ClientUpdate{Scope: &scope}, registry.ClientUpdate{Scope: &narrow}, registry.ClientUpdate{Scope: &scope}},
		"offline": {registry.ClientUpdate{Offline: &on}, registry.ClientUpdate{Offline: new(bool)}, registry.ClientUpdate{Offline: &on}},
	} {
		w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", c.give))
		done := false
		other := w.join(func(s registry.Store) registry.Store {
			return &faultyStore{Store: s, decided: func(bus.Bucket, string) {
				if !done {
					done = true
					w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", c.narrow))
				}
			}}
		})
		if _, err := other.UpdateClient(t.Context(), caller, "sc_admin", c.undo); !errors.Is(err, registry.ErrForbidden) || !done {
			t.Errorf("%s: %v (narrowed %v)", name, err, done)
		}
	}
}

// What the caller has is looked up when it calls, not when its token was judged.
func TestACallerThatWasNarrowedOrDisabledIsSoAtOnce(t *testing.T) {
	w := newWorld(t)
	caller := w.admin(adminScopes)
	spec := registry.ClientSpec{Audience: []string{"https://billing"}, Scope: scopeOf(t, "billing:read")}
	w.ok(w.CreateClient(t.Context(), caller, "", spec))
	narrow := scopeOf(t, "clients:write")
	w.ok(w.UpdateClient(t.Context(), alice, "sc_admin", registry.ClientUpdate{Scope: &narrow}))
	_, err := w.CreateClient(t.Context(), caller, "", spec)
	wantError(t, err, registry.ErrForbidden, "scope billing:read")
	w.ok(w.DisableClient(t.Context(), alice, "sc_admin"))
	_, err = w.CreateClient(t.Context(), caller, "", registry.ClientSpec{Audience: []string{"https://billing"}})
	wantError(t, err, registry.ErrForbidden, "unknown or disabled")
}
