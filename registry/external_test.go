package registry_test

import (
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

var github = registry.IssuerSpec{Iss: "https://token.actions.githubusercontent.com", Use: []string{events.UseAssertion}}

func TestAddIssuerWritesItsRecord(t *testing.T) {
	w := newWorld(t)
	scope := must(events.ParseScope("orders:read"))(t)
	entry, err := w.AddIssuer(t.Context(), alice, "idp", registry.IssuerSpec{
		Iss: "https://idp.example/", Use: []string{events.UseAccessToken, events.UseAssertion}, Audience: []string{"https://orders"},
		Scope: scope, JWKSURI: "https://idp.example/jwks?v=1", MaxTokenTTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	e := w.stored(bus.Keys, "issuer.idp")
	const want = `{"type":"external","status":"active","iss":"https://idp.example/","aud":["https://orders"],"scope":"orders:read","max_token_ttl":60,"use":["access_token","assertion"],"jwks_uri":"https://idp.example/jwks?v=1"}`
	if string(e.Value) != want || e.Revision != entry.Revision || e.Caller != alice.Name {
		t.Errorf("record is %s\nwant      %s", e.Value, want)
	}
	if live := w.set().IssuerOf("https://idp.example/"); live == nil || live.Name != "idp" {
		t.Errorf("the live set has %+v", live)
	}
	if _, err := w.AddIssuer(t.Context(), alice, "github", github); err != nil {
		t.Fatal(err)
	}
	w.client("orders")
	list := must(w.Issuers(t.Context()))(t)
	if len(list) != 2 || list[0].Name != "github" || list[1].Name != "idp" {
		t.Errorf("the list is %v", list)
	}
	if one := must(w.Issuer(t.Context(), "idp"))(t); one.Revision != entry.Revision {
		t.Errorf("shown is %+v", one)
	}
	_, err = w.Issuer(t.Context(), "orders")
	wantError(t, err, registry.ErrNotFound, "orders is the name of a record of type client, not external")
	_, err = w.Client(t.Context(), "idp")
	wantError(t, err, registry.ErrNotFound, "type external, not client")
}

func TestAddIssuerRefuses(t *testing.T) {
	w := newWorld(t)
	if _, err := w.AddIssuer(t.Context(), alice, "github", github); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DisableIssuer(t.Context(), alice, "github"); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*registry.IssuerSpec)) registry.IssuerSpec {
		spec := registry.IssuerSpec{Iss: "https://idp.example", Use: []string{events.UseAssertion}}
		change(&spec)
		return spec
	}
	for name, c := range map[string]struct {
		name events.Name
		spec registry.IssuerSpec
		kind error
		want string
	}{
		"the platform's iss":                 {"idp", with(func(s *registry.IssuerSpec) { s.Iss = platformURL }), registry.ErrExists, "belongs to the platform"},
		"the platform's iss with a slash":    {"idp", with(func(s *registry.IssuerSpec) { s.Iss = platformURL + "/" }), registry.ErrExists, "belongs to the platform"},
		"a client's iss":                     {"idp", with(func(s *registry.IssuerSpec) { s.Iss = platformURL + "/v1/clients/orders" }), registry.ErrExists, "belongs to the platform"},
		"the clients' URL space itself":      {"idp", with(func(s *registry.IssuerSpec) { s.Iss = platformURL + "/v1/clients" }), registry.ErrExists, "belongs to the platform"},
		"the iss of another, be it disabled": {"idp", github, registry.ErrExists, "belongs to the external issuer github already"},
		"a name that is taken":               {"github", with(func(*registry.IssuerSpec) {}), registry.ErrExists, "github exists already"},
		"the same again":                     {"github", github, registry.ErrExists, "github exists already"},
		"the platform's name":                {"Platform", with(func(*registry.IssuerSpec) {}), registry.ErrInvalid, "could be taken for the platform"},
		"a name that is none":                {"id.p", with(func(*registry.IssuerSpec) {}), registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
		"no iss":                             {"idp", with(func(s *registry.IssuerSpec) { s.Iss = "" }), registry.ErrInvalid, "is not a URL"},
		"plain http":                         {"idp", with(func(s *registry.IssuerSpec) { s.Iss = "http://idp.example" }), registry.ErrInvalid, "use https"},
		"no use":                             {"idp", with(func(s *registry.IssuerSpec) { s.Use = nil }), registry.ErrInvalid, "needs use"},
		"an unknown use":                     {"idp", with(func(s *registry.IssuerSpec) { s.Use = []string{"id_token"} }), registry.ErrInvalid, "something else than"},
		"access tokens for any audience":     {"idp", with(func(s *registry.IssuerSpec) { s.Use = []string{events.UseAccessToken} }), registry.ErrInvalid, "needs a non-empty aud"},
		"a life with a fraction":             {"idp", with(func(s *registry.IssuerSpec) { s.MaxTokenTTL = 1 }), registry.ErrInvalid, "whole seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.set().Revision()
			_, err := w.AddIssuer(t.Context(), alice, c.name, c.spec)
			wantError(t, err, c.kind, c.want)
			if after := w.set().Revision(); after != before {
				t.Errorf("something was written: revision %d, before %d", after, before)
			}
		})
	}
	if _, err := w.AddIssuer(t.Context(), alice, "near", registry.IssuerSpec{Iss: platformURL + "/v1/clientside", Use: []string{events.UseAssertion}}); err != nil {
		t.Errorf("a URL beside the clients' is refused: %v", err)
	}
}

func TestADisabledIssuerComesBackWithoutItsTokens(t *testing.T) {
	w := newWorld(t)
	if _, err := w.AddIssuer(t.Context(), alice, "github", github); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DisableIssuer(t.Context(), alice, "github"); err != nil {
		t.Fatal(err)
	}
	at := w.clock.Now().Unix()
	if live := w.set().Issuer("github").Record; live.Status != events.Disabled || live.NotBefore != at {
		t.Fatalf("live record is %+v, want disabled with not_before %d", live, at)
	}
	w.clock.advance(time.Minute)
	if _, err := w.EnableIssuer(t.Context(), alice, "github"); err != nil {
		t.Fatal(err)
	}
	if live := w.set().Issuer("github").Record; live.Status != events.Active || live.NotBefore != at || live.Iss != github.Iss {
		t.Fatalf("live record is %+v, want active with not_before %d", live, at)
	}
	w.client("orders")
	_, err := w.DisableIssuer(t.Context(), alice, "orders")
	wantError(t, err, registry.ErrNotFound, "type client, not external")
	_, err = w.EnableIssuer(t.Context(), alice, "platform")
	wantError(t, err, registry.ErrNotFound, "type platform, not external")
}
