package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

var mainBranch = events.Federated{Issuer: "github", Subject: "repo:acme/orders:ref:refs/heads/main", Audience: platformURL}

func TestAFederatedIdentityIsAddedListedAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	w.ok(w.AddSecret(t.Context(), alice, "orders", time.Time{}))
	revision := must(w.AddFederated(t.Context(), alice, "orders", mainBranch))(t)
	e := w.stored(bus.Clients, "orders")
	if m := members(t, e); e.Revision != revision || m["secrets"] == nil || fmt.Sprint(m["federated"]) !=
		"[map[aud:"+platformURL+" issuer:github sub:repo:acme/orders:ref:refs/heads/main]]" {
		t.Errorf("record is %s at %d, want one at %d", e.Value, e.Revision, revision)
	}
	line := w.audit.last(t)
	if line["op"] != "federation add" || line["issuer"] != "orders" || line["external"] != "github" || line["sub"] != mainBranch.Subject || line["outcome"] != "done" {
		t.Errorf("audit line is %v", line)
	}
	// The same again is what is there already, whoever asks.
	if again := must(w.AddFederated(t.Context(), alice, "orders", mainBranch))(t); again != revision {
		t.Errorf("revision %d, want %d as before", again, revision)
	}
	if line := w.audit.last(t); line["outcome"] != "unchanged" {
		t.Errorf("audit line is %v", line)
	}
	pods := events.Federated{Issuer: "github", Subject: "pods:orders-*", Audience: "vault"}
	w.ok(w.AddFederated(t.Context(), alice, "orders", pods))
	if list := must(w.Federated(t.Context(), "orders"))(t); len(list) != 2 || !list[0].Same(mainBranch) || !list[1].Same(pods) {
		t.Errorf("the list is %v", list)
	}
	w.ok(w.DisableIssuer(t.Context(), alice, "github")) // what is to be removed need not be good
	if err := w.RemoveFederated(t.Context(), alice, "orders", mainBranch); err != nil {
		t.Fatal(err)
	}
	if list := must(w.Federated(t.Context(), "orders"))(t); len(list) != 1 || !list[0].Same(pods) {
		t.Errorf("the list is %v", list)
	}
	wantError(t, w.RemoveFederated(t.Context(), alice, "orders", mainBranch), registry.ErrNotFound, "client orders has no such federated identity")
	if m := members(t, w.stored(bus.Clients, "orders")); m["secrets"] == nil {
		t.Errorf("the API key is gone: %v", m)
	}
}

func TestAddFederatedRefuses(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("off")
	w.ok(w.DisableClient(t.Context(), alice, "off"))
	w.ok(w.AddIssuer(t.Context(), alice, "github", registry.IssuerSpec{Iss: "https://g.example", Use: []string{events.UseAssertion}, Audience: []string{platformURL}}))
	w.ok(w.AddIssuer(t.Context(), alice, "login", registry.IssuerSpec{Iss: "https://l.example", Use: []string{events.UseAccessToken}, Audience: []string{"https://billing"}}))
	w.ok(w.AddIssuer(t.Context(), alice, "gone", registry.IssuerSpec{Iss: "https://x.example", Use: []string{events.UseAssertion}}))
	w.ok(w.DisableIssuer(t.Context(), alice, "gone"))
	with := func(change func(*events.Federated)) events.Federated {
		identity := mainBranch
		change(&identity)
		return identity
	}
	before := w.set().Revision()
	for name, c := range map[string]struct {
		client   events.Name
		identity events.Federated
		kind     error
		want     string
	}{
		"an unknown client":           {"nobody", mainBranch, registry.ErrNotFound, "nobody"},
		"a disabled client":           {"off", mainBranch, registry.ErrDisabled, "enable it first"},
		"an external issuer's name":   {"github", mainBranch, registry.ErrNotFound, "type external, not client"},
		"an unknown issuer":           {"orders", with(func(f *events.Federated) { f.Issuer = "k8s" }), registry.ErrNotFound, "there is no issuer or client k8s"},
		"a disabled issuer":           {"orders", with(func(f *events.Federated) { f.Issuer = "gone" }), registry.ErrDisabled, "enable it first"},
		"a client as issuer":          {"orders", with(func(f *events.Federated) { f.Issuer = "orders" }), registry.ErrNotFound, "type client, not external"},
		"the platform as issuer":      {"orders", with(func(f *events.Federated) { f.Issuer = "platform" }), registry.ErrNotFound, "type platform, not external"},
		"an issuer of access tokens":  {"orders", with(func(f *events.Federated) { f.Issuer = "login" }), registry.ErrInvalid, "not one for assertions"},
		"an audience of others":       {"orders", with(func(f *events.Federated) { f.Audience = "https://other" }), registry.ErrInvalid, "not registered for the audience"},
		"everybody":                   {"orders", with(func(f *events.Federated) { f.Subject = "*" }), registry.ErrInvalid, "everybody"},
		"a star within":               {"orders", with(func(f *events.Federated) { f.Subject = "a*b" }), registry.ErrInvalid, "not at its end"},
		"no audience":                 {"orders", with(func(f *events.Federated) { f.Audience = "" }), registry.ErrInvalid, "aud is not text"},
		"an issuer that is no name":   {"orders", with(func(f *events.Federated) { f.Issuer = "https://g.example" }), registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
		"a subject with a line break": {"orders", with(func(f *events.Federated) { f.Subject = "a\nb" }), registry.ErrInvalid, "sub is not text"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.AddFederated(t.Context(), alice, c.client, c.identity)
			wantError(t, err, c.kind, c.want)
			if line := w.audit.last(t); line["outcome"] != "refused" || line["op"] != "federation add" {
				t.Errorf("audit line is %v", line)
			}
		})
	}
	w.absent(bus.Clients, "orders")
	if after := w.set().Revision(); after != before {
		t.Errorf("something was written: revision %d, before %d", after, before)
	}
	for i := range events.MaxSecrets {
		w.ok(w.AddFederated(t.Context(), alice, "orders", with(func(f *events.Federated) { f.Subject = fmt.Sprint("s", i) })))
	}
	_, err := w.AddFederated(t.Context(), alice, "orders", mainBranch)
	wantError(t, err, registry.ErrInvalid, "more than 16 federated identities")
	wantError(t, w.RemoveFederated(t.Context(), alice, "a.b", mainBranch), registry.ErrInvalid, "A-Z a-z 0-9 _ -")
	_, err = w.Federated(t.Context(), "nobody")
	wantError(t, err, registry.ErrNotFound, "nobody")
}

func TestRequireJTIIsKeptInTheClientsRecord(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	if err := w.RequireJTI(t.Context(), alice, "orders", false); err != nil {
		t.Fatal(err)
	}
	w.absent(bus.Clients, "orders")
	if must(w.RequiresJTI(t.Context(), "orders"))(t) {
		t.Error("it is required from the start")
	}
	for _, required := range []bool{true, false} {
		if err := w.RequireJTI(t.Context(), alice, "orders", required); err != nil {
			t.Fatal(err)
		}
		if line := w.audit.last(t); line["op"] != "client update" || line["outcome"] != "done" {
			t.Errorf("audit line is %v", line)
		}
		revision := w.stored(bus.Clients, "orders").Revision
		if got := must(w.RequiresJTI(t.Context(), "orders"))(t); got != required {
			t.Errorf("it is %v, want %v", got, required)
		}
		if err := w.RequireJTI(t.Context(), alice, "orders", required); err != nil {
			t.Fatal(err)
		}
		if line := w.audit.last(t); line["outcome"] != "unchanged" || w.stored(bus.Clients, "orders").Revision != revision {
			t.Errorf("the same again was written: %v", line)
		}
	}
	wantError(t, w.RequireJTI(t.Context(), alice, "nobody", true), registry.ErrNotFound, "nobody")
	w.absent(bus.Clients, "nobody")
}
