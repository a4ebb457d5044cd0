package registry_test

import (
	"regexp"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func TestEnsurePlatformMakesItOnce(t *testing.T) {
	w := emptyWorld(t)
	made := must(w.EnsurePlatform(t.Context(), alice, platformURL))(t)
	if !regexp.MustCompile(`^acc-[a-z0-9]{20}$`).MatchString(made.Account) {
		t.Errorf("account is %q", made.Account)
	}
	first := w.stored(bus.Keys, "issuer.platform")
	m := members(t, first)
	if len(m) != 4 || m["type"] != "platform" || m["status"] != "active" || m["iss"] != platformURL || m["account"] != made.Account {
		t.Errorf("record is %s", first.Value)
	}
	if live := w.set().IssuerOf(platformURL); live == nil || live.Record.Account != made.Account {
		t.Errorf("the live set has %+v", live)
	}

	again := must(w.EnsurePlatform(t.Context(), alice, platformURL))(t)
	if again.Account != made.Account || w.stored(bus.Keys, "issuer.platform").Revision != first.Revision {
		t.Error("a second start wrote again")
	}
	if got := w.audit.last(t); got["outcome"] != "unchanged" {
		t.Errorf("audit line is %v", got)
	}
}

func TestEnsurePlatformRefuses(t *testing.T) {
	w := newWorld(t)
	account := w.set().Platform().Record.Account
	for name, c := range map[string]struct {
		iss  string
		kind error
		want []string
	}{
		"another URL":           {"https://other.example.com", registry.ErrOtherPlatform, []string{"made for the issuer " + platformURL, "not for https://other.example.com", "empty registry"}},
		"the URL with a path":   {platformURL + "/x", registry.ErrOtherPlatform, []string{platformURL + "/x"}},
		"a slash at the end":    {platformURL + "/", registry.ErrInvalid, []string{"ends with a slash: leave it out"}},
		"http on a public host": {"http://auth.example.com", registry.ErrInvalid, []string{"http is for loopback addresses only"}},
		"a query":               {platformURL + "?a", registry.ErrInvalid, []string{"query"}},
		"no URL":                {"auth", registry.ErrInvalid, []string{`"auth" is not a URL`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.EnsurePlatform(t.Context(), alice, c.iss)
			wantError(t, err, c.kind, c.want...)
		})
	}
	if p := w.set().Platform().Record; p.Iss != platformURL || p.Account != account {
		t.Errorf("the platform is now %+v", p)
	}

	w.server.Write(bus.Keys, "issuer.platform", "not json")
	if p, err := w.EnsurePlatform(t.Context(), alice, platformURL); err != nil || p.Account != account {
		t.Errorf("garbage on the platform's name changes what it is: %v, %v", p, err)
	}
	w.server.Delete(bus.Keys, "issuer.platform")
	_, err := w.EnsurePlatform(t.Context(), alice, platformURL)
	wantError(t, err, registry.ErrNotFound, "was deleted", "nats kv put KEYS issuer.platform")
}

func TestEnsurePlatformGivesAnAccountToARecordWithoutOne(t *testing.T) {
	w := emptyWorld(t)
	w.server.Write(bus.Keys, "issuer.platform", `{"type":"platform","status":"active","iss":"https://auth.example.com","future":1}`)
	p := must(w.EnsurePlatform(t.Context(), alice, platformURL))(t)
	if m := members(t, w.stored(bus.Keys, "issuer.platform")); !events.IsAccount(p.Account) || m["account"] != p.Account || m["future"] != 1.0 {
		t.Errorf("record is %v, returned was %+v", m, p)
	}
}

func TestAPlatformDoesNotTakeAnExternalIssuersURL(t *testing.T) {
	for _, iss := range []string{platformURL, platformURL + "/", platformURL + "/v1/clients/orders"} {
		t.Run(iss, func(t *testing.T) {
			w := emptyWorld(t)
			if _, err := w.AddIssuer(t.Context(), alice, "idp", registry.IssuerSpec{Iss: iss, Use: []string{events.UseAssertion}}); err != nil {
				t.Fatal(err)
			}
			_, err := w.EnsurePlatform(t.Context(), alice, platformURL)
			wantError(t, err, registry.ErrExists, "external issuer idp has the iss "+iss, "nats kv del KEYS issuer.idp")
			w.absent(bus.Keys, "issuer.platform")
		})
	}
}
