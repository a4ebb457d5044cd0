package issuer

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
)

// TestOverHTTP runs a node and the clients of package mint over a real connection and a real clock.
func TestOverHTTP(t *testing.T) {
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer server.Close()
	f := newFixture(t, func(c *Config) { c.Issuer = server.URL })
	f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+server.URL+`"}`)
	handler = f.node.Handler()
	f.start()
	for deadline := time.Now().Add(30 * time.Second); f.node.Ready() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(f.node.Ready())
		}
	}
	accessKey, err := events.NewAccessKey("orders", "k1", "acc-0123456789", f.private)
	if err != nil {
		t.Fatal(err)
	}
	minter, err := mint.FromAccessKey(accessKey, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, credential := range map[string]mint.Credential{"access key": minter, "API key": mint.APIKey(f.apiKey)} {
		requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: server.URL, Credential: credential})
		if err != nil {
			t.Fatal(err)
		}
		token, err := requester.Token(context.Background(), mint.Request{Audience: []string{"https://ledger"}, Scope: "billing:read"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parsed, err := verify(f.bucket.Keys(), token.AccessToken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if parsed.Claims.ClientID != "orders" || parsed.Claims.Scope != "billing:read" || !slices.Equal(parsed.Claims.Audience, []string{"https://ledger"}) {
			t.Errorf("%s: claims %+v", name, parsed.Claims)
		}
		var refused *mint.OAuthError
		_, err = requester.Token(context.Background(), mint.Request{Scope: "admin"})
		if !errors.As(err, &refused) || refused.Code != "invalid_scope" || refused.Status != 400 {
			t.Errorf("%s: error %v, want invalid_scope", name, err)
		}
	}
}
