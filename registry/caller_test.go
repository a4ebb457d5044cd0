package registry_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry"
)

// everyWrite does everything that writes, in an order in which it works.
func everyWrite(r *registry.Registry, now time.Time) []func(ctx context.Context, by registry.Caller) error {
	var secret registry.NewSecret
	last := func(_ any, err error) error { return err }
	scope, _ := events.ParseScope("a")
	cert := &x509.Certificate{Raw: []byte("a"), NotAfter: now.Add(time.Hour)} // all that is looked at
	public, _, _ := ed25519.GenerateKey(nil)
	githubKeys := github.Iss + "/jwks"
	return []func(ctx context.Context, by registry.Caller) error{
		func(ctx context.Context, by registry.Caller) error {
			return last(r.EnsurePlatform(ctx, by, platformURL))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.CreateClient(ctx, by, "orders", registry.ClientSpec{}))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.UpdateClient(ctx, by, "orders", registry.ClientUpdate{Scope: &scope}))
		},
		func(ctx context.Context, by registry.Caller) error { return last(r.DisableClient(ctx, by, "orders")) },
		func(ctx context.Context, by registry.Caller) error { return last(r.EnableClient(ctx, by, "orders")) },
		func(ctx context.Context, by registry.Caller) error {
			return last(r.AddKey(ctx, by, "orders", registry.KeySpec{KeyID: "k1"}))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.RotateKey(ctx, by, "orders", registry.Rotation{KeyID: "k2"}))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.RetireKey(ctx, by, "orders", "k2", registry.Retirement{}))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.RevokeKey(ctx, by, "orders", "k1", ""))
		},
		func(ctx context.Context, by registry.Caller) (err error) {
			secret, err = r.AddSecret(ctx, by, "orders", time.Time{})
			return err
		},
		func(ctx context.Context, by registry.Caller) error {
			return r.RevokeSecret(ctx, by, "orders", secret.ID)
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.AddCertificate(ctx, by, "orders", cert))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.RemoveCertificate(ctx, by, "orders", digest(cert)))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.SetCertificateSubject(ctx, by, "orders", events.TLS{DNS: "a"}))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.ClearCertificates(ctx, by, "orders"))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.AddIssuer(ctx, by, "github", github))
		},
		func(ctx context.Context, by registry.Caller) error {
			return last(r.UpdateIssuer(ctx, by, "github", registry.IssuerUpdate{JWKSURI: &githubKeys}))
		},
		func(ctx context.Context, by registry.Caller) error {
			keys := []registry.ProviderKey{{KeyID: "g1", Algorithm: events.EdDSA, Public: public}}
			return last(r.SyncKeys(ctx, by, "github", registry.Published{Source: githubKeys, Keys: keys}))
		},
		func(ctx context.Context, by registry.Caller) error { return last(r.DisableIssuer(ctx, by, "github")) },
		func(ctx context.Context, by registry.Caller) error { return last(r.EnableIssuer(ctx, by, "github")) },
		func(ctx context.Context, by registry.Caller) error {
			return last(r.AddFederated(ctx, by, "orders", mainBranch))
		},
		func(ctx context.Context, by registry.Caller) error {
			return r.RemoveFederated(ctx, by, "orders", mainBranch)
		},
		func(ctx context.Context, by registry.Caller) error { return r.RequireJTI(ctx, by, "orders", true) },
		func(ctx context.Context, by registry.Caller) error {
			return last(r.RevokeToken(ctx, by, events.TokenByID("a", "b"), now.Add(time.Hour), ""))
		},
		func(ctx context.Context, by registry.Caller) error {
			specs, err := registry.ParseKeySet(jwks(eventstest.KeyJSON(99, `"kid":"k9"`)))
			if err != nil {
				return err
			}
			return last(r.ImportKeys(ctx, by, "orders", specs))
		},
	}
}

func TestEveryWriteIsAudited(t *testing.T) {
	w := emptyWorld(t)
	for _, write := range everyWrite(w.Registry, w.clock.Now()) {
		if err := write(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	want := []map[string]string{
		{"op": "platform ensure", "issuer": "platform"},
		{"op": "client create", "issuer": "orders"},
		{"op": "client update", "issuer": "orders"},
		{"op": "client disable", "issuer": "orders"},
		{"op": "client enable", "issuer": "orders"},
		{"op": "key add", "issuer": "orders", "kid": "k1"},
		{"op": "key rotate", "issuer": "orders", "kid": "k2"},
		{"op": "key retire", "issuer": "orders", "kid": "k2"},
		{"op": "key revoke", "issuer": "orders", "kid": "k1"},
		{"op": "secret add", "issuer": "orders"},
		{"op": "secret revoke", "issuer": "orders"},
		{"op": "certificate add", "issuer": "orders", "certificate": "ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs"},
		{"op": "certificate remove", "issuer": "orders", "certificate": "ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs"},
		{"op": "certificate subject", "issuer": "orders", "subject": "san_dns a"},
		{"op": "certificate clear", "issuer": "orders"},
		{"op": "issuer add", "issuer": "github"},
		{"op": "issuer update", "issuer": "github"},
		{"op": "key sync", "issuer": "github", "source": github.Iss + "/jwks"},
		{"op": "issuer disable", "issuer": "github"},
		{"op": "issuer enable", "issuer": "github"},
		{"op": "federation add", "issuer": "orders", "external": "github", "sub": mainBranch.Subject, "aud": mainBranch.Audience},
		{"op": "federation remove", "issuer": "orders", "external": "github", "sub": mainBranch.Subject, "aud": mainBranch.Audience},
		{"op": "client update", "issuer": "orders"},
		{"op": "token revoke", "token": events.TokenByID("a", "b").String()},
		{"op": "key import", "issuer": "orders"},
	}
	lines := strings.Split(strings.TrimSpace(w.audit.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("there are %d lines, want %d, one for each operation:\n%s", len(lines), len(want), w.audit.String())
	}
	for i, text := range lines {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if line["caller"] != alice.Name || line["outcome"] != "done" || line["revision"] == nil || line["level"] != "info" || line["message"] != "audit" {
			t.Errorf("line is %s", text)
		}
		for name, value := range want[i] {
			if line[name] != value {
				t.Errorf("%s is %v, want %s, in %s", name, line[name], value, text)
			}
		}
	}
	if ended := fmt.Sprintf("k1@%d", w.clock.Now().Add(time.Hour+time.Minute).Unix()); !strings.Contains(lines[6], ended) {
		t.Errorf("the rotation's line does not say %s: %s", ended, lines[6])
	}
	if n := registryWrites(); n != len(want) {
		t.Errorf("a Registry has %d methods that take a Caller, and this test knows %d", n, len(want))
	}
}

// registryWrites counts the methods that take a Caller.
func registryWrites() (n int) {
	typ := reflect.TypeFor[*registry.Registry]()
	for i := range typ.NumMethod() {
		for arg := range typ.Method(i).Type.Ins() {
			if arg == reflect.TypeFor[registry.Caller]() {
				n++
			}
		}
	}
	return n
}

func TestEveryWriteNeedsACaller(t *testing.T) {
	w := emptyWorld(t)
	for name, by := range map[string]registry.Caller{
		"nobody":                    {},
		"white space":               {Name: " "},
		"a second header":           {Name: "alice\r\nNats-Rollup: all"},
		"a control character":       {Name: "a\x1b[2J"},
		"something that is no text": {Name: "\xff"},
		"too much":                  {Name: strings.Repeat("a", 257)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, write := range everyWrite(w.Registry, w.clock.Now()) {
				wantError(t, write(t.Context(), by), registry.ErrInvalid, "caller's name")
				if line := w.audit.last(t); line["caller"] != "" || line["outcome"] != "refused" {
					t.Errorf("audit line is %v", line)
				}
			}
		})
	}
	if revision := w.set().Revision(); revision != 0 {
		t.Errorf("something was written: revision %d", revision)
	}
}

func TestTheAuditLogTellsOutcomes(t *testing.T) {
	w := newWorld(t)
	w.client("orders")
	for outcome, c := range map[string]struct {
		fault error
		name  events.Name
	}{
		"done":    {nil, "a"},
		"refused": {nil, "orders"},
		"unknown": {fmt.Errorf("writing: %w", bus.ErrUnknownOutcome), "b"},
		"failed":  {bus.ErrUnreachable, "c"},
	} {
		t.Run(outcome, func(t *testing.T) {
			r := w.join(func(s registry.Store) registry.Store {
				return &faultyStore{Store: s, fault: func(bus.Bucket, string) (bool, error) { return c.fault == nil, c.fault }}
			})
			_, err := r.CreateClient(t.Context(), alice, c.name, registry.ClientSpec{})
			line := r.audit.last(t)
			if line["outcome"] != outcome || line["issuer"] != string(c.name) || line["op"] != "client create" {
				t.Errorf("line is %v", line)
			}
			if reason, _ := line["reason"].(string); (err == nil) != (reason == "") || err != nil && reason != err.Error() {
				t.Errorf("line is %v, error is %v", line, err)
			}
		})
	}
}

// Without NATS nothing is decided from what is remembered: every operation fails, and says why.
func TestWithoutNATSEveryOperationFails(t *testing.T) {
	w := emptyWorld(t)
	writes := everyWrite(w.Registry, w.clock.Now())
	for _, write := range writes {
		w.ok(nil, write(t.Context(), alice))
	}
	w.server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	defer cancel()
	for _, write := range writes {
		err := write(ctx, alice)
		if line := w.audit.last(t); !errors.Is(err, bus.ErrUnreachable) || line["outcome"] != "failed" {
			t.Errorf("error of %s is %v, audit line %v", line["op"], err, line)
		}
	}
	_, clients := w.Clients(ctx)
	_, client := w.Client(ctx, "orders")
	_, issuers := w.Issuers(ctx)
	_, keys := w.Keys(ctx, "orders")
	_, secrets := w.Secrets(ctx, "orders")
	_, federated := w.Federated(ctx, "orders")
	_, requires := w.RequiresJTI(ctx, "orders")
	for _, err := range []error{clients, client, issuers, keys, secrets, federated, requires} {
		if !errors.Is(err, bus.ErrUnreachable) {
			t.Errorf("error of a read is %v", err)
		}
	}
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	w := emptyWorld(t)
	for name, cfg := range map[string]registry.Config{"no store": {Keys: w.keys}, "no keys": {Store: w.conn}} {
		if _, err := registry.New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	r := must(registry.New(registry.Config{Store: w.conn, Keys: w.keys}))(t) // silent, on the real clock
	w.ok(r.EnsurePlatform(t.Context(), alice, platformURL))
	w.ok(r.CreateClient(t.Context(), alice, "orders", registry.ClientSpec{}))
	before := time.Now().Unix()
	entry := must(r.DisableClient(t.Context(), alice, "orders"))(t)
	if entry.Record.NotBefore < before || entry.Record.NotBefore > time.Now().Unix() {
		t.Errorf("not_before is %d, want now", entry.Record.NotBefore)
	}
}
