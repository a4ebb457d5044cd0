package registry_test

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

func TestI13_AddSecretKeepsTheHashOnly(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	expires := w.clock.Now().Add(time.Hour)
	secret := must(w.AddSecret(t.Context(), alice, "orders", expires))(t)
	if !regexp.MustCompile(`^[a-zA-Z0-9]{8}$`).MatchString(secret.ID) {
		t.Errorf("id is %q", secret.ID)
	}
	key := must(events.ParseAPIKey(secret.Key.Reveal()))(t)
	if key.Client != "orders" {
		t.Errorf("the API key is of %s", key.Client)
	}
	e := w.stored(bus.Clients, "orders")
	hash := key.Hash()
	want := fmt.Sprintf(`{"secrets":[{"id":%q,"sha256":%q,"iat":%d,"exp":%d}]}`, secret.ID, hex.EncodeToString(hash[:]), w.clock.Now().Unix(), expires.Unix())
	if string(e.Value) != want || e.Revision != secret.Revision || e.Caller != alice.Name {
		t.Errorf("record is %s\nwant      %s", e.Value, want)
	}
	random := key.Reveal()[len("khs_orders_"):][:43]
	for where, text := range map[string]string{"the bucket": string(e.Value), "the audit log": w.audit.String(), "a print": fmt.Sprintf("%v %+v %#v", secret, secret, secret)} {
		if strings.Contains(text, random) {
			t.Errorf("%s has the API key", where)
		}
	}
	if got := w.audit.last(t); got["secret"] != secret.ID || got["issuer"] != "orders" || got["op"] != "secret add" {
		t.Errorf("audit line is %v", got)
	}
}

func TestSecretsAreReplacedOneByOne(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	if list := must(w.Secrets(t.Context(), "orders"))(t); len(list) != 0 {
		t.Errorf("a new client has API keys: %v", list)
	}
	w.server.Write(bus.Clients, "orders", `{"require_jti":true,"tls":{"san_dns":"a"},"federated":[{"issuer":"ci","sub":"a","aud":"b"}],"newer":1}`)
	old := must(w.AddSecret(t.Context(), alice, "orders", time.Time{}))(t)
	next := must(w.AddSecret(t.Context(), alice, "orders", time.Time{}))(t)
	list := must(w.Secrets(t.Context(), "orders"))(t)
	if len(list) != 2 || list[0].ID != old.ID || list[1].ID != next.ID || list[0].SHA256 != old.Key.Hash() || list[1].Expires != 0 {
		t.Fatalf("the API keys are %v", list)
	}
	if err := w.RevokeSecret(t.Context(), alice, "orders", old.ID); err != nil {
		t.Fatal(err)
	}
	list = must(w.Secrets(t.Context(), "orders"))(t)
	if len(list) != 1 || list[0].ID != next.ID {
		t.Fatalf("after the revocation, the API keys are %v", list)
	}
	m := members(t, w.stored(bus.Clients, "orders"))
	if m["require_jti"] != true || m["tls"].(map[string]any)["san_dns"] != "a" || m["federated"] == nil || m["newer"] != 1.0 {
		t.Errorf("what else the record had is lost: %v", m)
	}
	wantError(t, w.RevokeSecret(t.Context(), alice, "orders", old.ID), registry.ErrNotFound, "client orders has no API key", old.ID)
	if err := w.RevokeSecret(t.Context(), alice, "orders", next.ID); err != nil {
		t.Fatal(err)
	}
	if m := members(t, w.stored(bus.Clients, "orders")); m["secrets"] != nil {
		t.Errorf("the last API key is still there: %v", m)
	}
}

func TestAClientHasSixteenSecretsAtMost(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	soon := must(w.AddSecret(t.Context(), alice, "orders", w.clock.Now().Add(time.Minute)))(t)
	for range events.MaxSecrets - 1 {
		w.ok(w.AddSecret(t.Context(), alice, "orders", time.Time{}))
	}
	_, err := w.AddSecret(t.Context(), alice, "orders", time.Time{})
	wantError(t, err, registry.ErrTooManySecrets, "client orders has 16 API keys already")
	if n := len(must(w.Secrets(t.Context(), "orders"))(t)); n != events.MaxSecrets {
		t.Errorf("there are %d", n)
	}
	w.clock.advance(time.Minute) // one has expired, and makes room
	w.ok(w.AddSecret(t.Context(), alice, "orders", time.Time{}))
	for _, s := range must(w.Secrets(t.Context(), "orders"))(t) {
		if s.ID == soon.ID {
			t.Error("the expired one is still there")
		}
	}
}

func TestSecretsRefuse(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	w.client("off")
	w.ok(w.AddSecret(t.Context(), alice, "off", time.Time{}))
	w.ok(w.DisableClient(t.Context(), alice, "off"))
	w.client("garbage")
	w.server.Write(bus.Clients, "garbage", "not json")
	w.ok(w.AddIssuer(t.Context(), alice, "github", github))
	for name, c := range map[string]struct {
		client  events.Name
		expires time.Time
		kind    error
		want    string
	}{
		"an unknown client":      {"nobody", time.Time{}, registry.ErrNotFound, "nobody"},
		"an external issuer":     {"github", time.Time{}, registry.ErrNotFound, "type external, not client"},
		"a disabled client":      {"off", time.Time{}, registry.ErrDisabled, "enable it first"},
		"an end that has passed": {"orders", w.clock.Now(), registry.ErrInvalid, "expired at"},
		"an end in 1970":         {"orders", time.Unix(0, 0), registry.ErrInvalid, "expired at"},
		"a malformed record":     {"garbage", time.Time{}, registry.ErrInvalid, "nats kv history CLIENTS garbage"},
		"a name that is none":    {"a.b", time.Time{}, registry.ErrInvalid, "A-Z a-z 0-9 _ -"},
	} {
		t.Run(name, func(t *testing.T) {
			secret, err := w.AddSecret(t.Context(), alice, c.client, c.expires)
			wantError(t, err, c.kind, c.want)
			if secret.Key.Reveal() != "" {
				t.Error("an API key came with the error")
			}
		})
	}
	wantError(t, w.RevokeSecret(t.Context(), alice, "orders", "x"), registry.ErrNotFound, `no API key "x"`)
	wantError(t, w.RevokeSecret(t.Context(), alice, "garbage", "x"), registry.ErrInvalid, "is malformed", "disable it")
	wantError(t, w.RevokeSecret(t.Context(), alice, "a.b", "x"), registry.ErrInvalid, "A-Z a-z 0-9 _ -")
	_, err := w.Secrets(t.Context(), "nobody")
	wantError(t, err, registry.ErrNotFound, "nobody")
	_, err = w.Secrets(t.Context(), "garbage")
	wantError(t, err, registry.ErrInvalid, "is malformed")
	off := must(w.Secrets(t.Context(), "off"))(t)
	if err := w.RevokeSecret(t.Context(), alice, "off", off[0].ID); err != nil {
		t.Errorf("an API key of a disabled client cannot be revoked: %v", err)
	}
}
