package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

func TestI19_TheMetadataSayWhatThereIsAndNothingElse(t *testing.T) {
	f := newFixture(t)
	const want = `{"issuer":"https://auth.example.com","token_endpoint":"https://auth.example.com/oauth/token",` +
		`"jwks_uri":"https://auth.example.com/.well-known/jwks.json","grant_types_supported":["client_credentials","urn:ietf:params:oauth:grant-type:jwt-bearer"],` +
		`"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],` +
		`"token_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],` +
		`"id_token_signing_alg_values_supported":["EdDSA"],` +
		`"introspection_endpoint":"https://auth.example.com/oauth/introspect",` +
		`"introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],` +
		`"introspection_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],` +
		`"revocation_endpoint":"https://auth.example.com/oauth/revoke",` +
		`"revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],` +
		`"revocation_endpoint_auth_signing_alg_values_supported":["EdDSA","Ed25519","ES256","RS256","PS256"],"response_types_supported":[]}`
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		w := f.get(path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" || w.Body.String() != want {
			t.Errorf("%s: status %d, %s\n%s, want\n%s", path, w.Code, w.Header().Get("Content-Type"), w.Body, want)
		}
	}
}

func TestAClientsMetadataTellWhereItsKeysAre(t *testing.T) {
	f := newFixture(t)
	want := `{"issuer":"https://auth.example.com/v1/clients/%[1]s","jwks_uri":"https://auth.example.com/v1/clients/%[1]s/.well-known/openid-configuration/jwks",` +
		`"response_types_supported":[]}`
	for _, name := range []string{"orders", "stranger"} {
		w := f.get("/v1/clients/" + name + "/.well-known/openid-configuration")
		if w.Code != http.StatusOK || w.Body.String() != fmt.Sprintf(want, name) {
			t.Errorf("%s: status %d, %s", name, w.Code, w.Body)
		}
	}
	for _, name := range []string{"a%20b", "a%22b", strings.Repeat("x", 65)} {
		if w := f.get("/v1/clients/" + name + "/.well-known/openid-configuration"); w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", name, w.Code)
		}
	}
}

func TestAnIssuerWithAPathHasItsEndpointsBelowIt(t *testing.T) {
	const issuer = "https://example.com/auth/v2"
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(c *Config) { c.Issuer = issuer })
		f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+issuer+`"}`)
		f.start()
		time.Sleep(2 * time.Second)
		for _, path := range []string{"/auth/v2/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/auth/v2",
			"/auth/v2/.well-known/oauth-authorization-server"} {
			var m metadata
			w := f.get(path)
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
				t.Fatalf("%s: status %d: %v", path, w.Code, err)
			}
			if m.Issuer != issuer || m.TokenEndpoint != issuer+"/oauth/token" || m.JWKSURI != issuer+"/.well-known/jwks.json" {
				t.Errorf("%s: %+v", path, m)
			}
		}
		for path, status := range map[string]int{
			"/auth/v2/.well-known/jwks.json":                                   200,
			"/auth/v2/v1/clients/orders/.well-known/openid-configuration/jwks": 200,
			"/auth/v2/healthz":                  200,
			"/auth/v2/readyz":                   200,
			"/healthz":                          200,
			"/readyz":                           200,
			"/.well-known/jwks.json":            404,
			"/.well-known/openid-configuration": 404,
			"/auth/v2":                          404,
			"/auth/.well-known/jwks.json":       404,
			"/v1/clients/orders/.well-known/openid-configuration/jwks":                 404,
			"/auth/v2/v1/clients/orders/x/.well-known/openid-configuration/jwks":       404,
			"/auth/v2/v1/clients/orders/.well-known/openid-configuration/jwks/nothing": 404,
		} {
			if w := f.get(path); w.Code != status {
				t.Errorf("%s: status %d, want %d", path, w.Code, status)
			}
		}
		r := f.withKey()
		r.URL.Path = "/auth/v2/oauth/token"
		if token := f.granted(r); token.Claims.Issuer != issuer {
			t.Errorf("iss %s", token.Claims.Issuer)
		}
	})
}

func TestI19_AConfigurationThatCannotBeRightIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		modify func(*Config)
		reason string
	}{
		{"no issuer", func(c *Config) { c.Issuer = "" }, "URL"},
		{"plain http", func(c *Config) { c.Issuer = "http://auth.example.com" }, "https"},
		{"a query", func(c *Config) { c.Issuer = "https://auth.example.com?x" }, "query"},
		{"a fragment", func(c *Config) { c.Issuer = "https://auth.example.com#x" }, "fragment"},
		{"a slash at the end", func(c *Config) { c.Issuer = "https://auth.example.com/" }, "slash"},
		{"a slash at the end of the path", func(c *Config) { c.Issuer = "https://auth.example.com/a/" }, "slash"},
		{"an empty segment", func(c *Config) { c.Issuer = "https://auth.example.com/a//b" }, "segment"},
		{"a wildcard", func(c *Config) { c.Issuer = "https://auth.example.com/{a}" }, "path"},
		{"an escape", func(c *Config) { c.Issuer = "https://auth.example.com/a%2fb" }, "path"},
		{"a dot segment", func(c *Config) { c.Issuer = "https://auth.example.com/../a" }, "path"},
		{"no keys", func(c *Config) { c.Keys = nil }, "Keys"},
		{"no clients", func(c *Config) { c.Clients = nil }, "Clients"},
		{"no leases", func(c *Config) { c.Leases = nil }, "Leases"},
		{"no replay memory", func(c *Config) { c.Assertions = nil }, "Assertions"},
		{"nobody to revoke by", func(c *Config) { c.Revoke = nil }, "Revoke"},
		{"tokens that outlive leases", func(c *Config) { c.TokenTTL = time.Hour + time.Second }, "TokenTTL"},
		{"tokens without a life", func(c *Config) { c.TokenTTL = time.Millisecond }, "TokenTTL"},
		{"a negative life", func(c *Config) { c.TokenTTL = -1 }, "TokenTTL"},
		{"a hasty rotation", func(c *Config) { c.KeyRotation = time.Minute }, "KeyRotation"},
		{"a negative rotation", func(c *Config) { c.KeyRotation = -1 }, "KeyRotation"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBucket()
			cfg := Config{Issuer: testIssuer, Keys: b, Clients: &clientRecords{Clients: events.NewClients()}, Leases: b.publish, Assertions: &replays{}, Revoke: b.revoke}
			if _, err := New(cfg); err != nil {
				t.Fatal(err)
			}
			test.modify(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("error %v, want one about %s", err, test.reason)
			}
		})
	}
}
