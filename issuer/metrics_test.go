package issuer

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
)

func TestEveryRequestIsCountedOnce(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("the same metrics were registered twice")
	}
	synctest.Test(t, func(t *testing.T) {
		var used []string
		f := startReady(t, func(c *Config) {
			c.Metrics = metrics
			c.Used = func(c *clientauth.Client) { used = append(used, c.Method+" "+c.Credential) }
		})
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			f.token(f.withKey())
		}
		f.token(withAssertion(assertion))
		f.token(withAssertion(assertion))
		f.token(f.withKey("scope", "admin"))
		f.token(tokenRequestWith("grant_type", "client_credentials", "client_id", "orders"))
		f.token(tokenRequestWith("grant_type", "whatever\n"))
		for _, path := range []string{"/oauth/introspect", "/oauth/revoke"} {
			r := f.withKey("token", "x")
			r.URL.Path = path
			if w := f.do(r); w.Code != http.StatusOK {
				t.Fatalf("%s: status %d", path, w.Code)
			}
		}
		for range addressBurst + 1 {
			f.token(wrongKey(events.Name("c")))
		}
		if len(used) != 6 || used[0] != "client_secret_post s1" || used[2] != "private_key_jwt k1" {
			t.Errorf("told of %q", used)
		}
	})
	const want = `
		# HELP requests_total Requests of clients, by endpoint, grant, way of authentication and outcome.
		# TYPE requests_total counter
		requests_total{endpoint="introspect",grant="",method="client_secret_post",outcome="ok"} 1
		requests_total{endpoint="revoke",grant="",method="client_secret_post",outcome="ok"} 1
		requests_total{endpoint="token",grant="",method="",outcome="unsupported_grant_type"} 1
		requests_total{endpoint="token",grant="client_credentials",method="",outcome="invalid_client"} 1
		requests_total{endpoint="token",grant="client_credentials",method="client_secret_post",outcome="invalid_client"} 20
		requests_total{endpoint="token",grant="client_credentials",method="client_secret_post",outcome="invalid_scope"} 1
		requests_total{endpoint="token",grant="client_credentials",method="client_secret_post",outcome="ok"} 2
		requests_total{endpoint="token",grant="client_credentials",method="client_secret_post",outcome="throttled"} 31
		requests_total{endpoint="token",grant="client_credentials",method="private_key_jwt",outcome="invalid_client"} 1
		requests_total{endpoint="token",grant="client_credentials",method="private_key_jwt",outcome="ok"} 1
	`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "requests_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(registry, "request_duration_seconds"); err != nil || n != 3 {
		t.Errorf("%d histograms (%v), want one for each endpoint", n, err)
	}
}
