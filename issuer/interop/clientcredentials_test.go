package interop

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// TestClientCredentialsOfXOAuth2GetsTokens is golang.org/x/oauth2/clientcredentials with an API key, in both ways in which it can
// send one.
func TestClientCredentialsOfXOAuth2GetsTokens(t *testing.T) {
	s := startSystem(t, "")
	apiKey := s.apiKey()
	v := s.verifier()
	for name, style := range map[string]oauth2.AuthStyle{
		"header": oauth2.AuthStyleInHeader, "form": oauth2.AuthStyleInParams, "by trial": oauth2.AuthStyleAutoDetect,
	} {
		cfg := clientcredentials.Config{
			ClientID: "orders", ClientSecret: apiKey, TokenURL: s.issuer + "/oauth/token", AuthStyle: style,
			Scopes: []string{"billing:read"}, EndpointParams: url.Values{"resource": {billing}},
		}
		token, err := cfg.Token(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if token.Type() != "Bearer" || token.Extra("scope") != "billing:read" || !token.Valid() || time.Until(token.Expiry) > 15*time.Minute {
			t.Errorf("%s: type %s, scope %v, expiry %v", name, token.Type(), token.Extra("scope"), token.Expiry)
		}
		accepted, err := v.Verify(token.AccessToken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if accepted.Client != "orders" || !accepted.Scope.Has("billing:read") || accepted.Scope.Has("billing:write") {
			t.Errorf("%s: client %s, scope %s", name, accepted.Client, accepted.Scope)
		}

		cfg.ClientSecret = apiKey[:len(apiKey)-1] + string(apiKey[len(apiKey)-1]^1)
		var refused *oauth2.RetrieveError
		if _, err := cfg.Token(t.Context()); !errors.As(err, &refused) || refused.ErrorCode != "invalid_client" ||
			refused.Response.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: a wrong API key: error %v", name, err)
		}
		cfg.ClientSecret, cfg.Scopes = apiKey, []string{"billing:admin"}
		if _, err := cfg.Token(t.Context()); !errors.As(err, &refused) || refused.ErrorCode != "invalid_scope" {
			t.Errorf("%s: a scope that the client has not: error %v", name, err)
		}
	}
}
