package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
)

// TestServicesCallEachOtherWithTokensOfASource is what a service does with issuer/mint: offline and online, by key and by API key.
func TestServicesCallEachOtherWithTokensOfASource(t *testing.T) {
	s := startSystem(t, "")
	v := s.verifier()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := v.Verify(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, string(token.Client)+" "+token.ID)
	}))
	defer service.Close()

	key, err := events.ParseAccessKey(s.cli("key", "add", "orders"))
	if err != nil {
		t.Fatal(err)
	}
	minter, err := mint.FromAccessKey(key, s.issuer)
	if err != nil {
		t.Fatal(err)
	}
	apiKey, err := events.ParseAPIKey(s.apiKey())
	if err != nil {
		t.Fatal(err)
	}
	online := func(credential mint.Credential) mint.Provider {
		requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: s.issuer, Credential: credential})
		if err != nil {
			t.Fatal(err)
		}
		return requester
	}
	for name, provider := range map[string]mint.Provider{
		"offline": minter, "online, by key": online(minter), "online, by API key": online(mint.APIKey(apiKey)),
		"online, by the grant jwt-bearer": online(mint.JWTBearer(minter)),
	} {
		source, err := mint.NewSource(mint.SourceConfig{Provider: provider, Request: mint.Request{Audience: []string{billing}}})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		transport, err := mint.NewTransport(mint.TransportConfig{Source: source, Origins: []string{service.URL}})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: transport}
		var first string
		for range 3 {
			response, err := client.Get(service.URL)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "orders ") {
				t.Fatalf("%s: %s, %s, error %v", name, response.Status, body, err)
			}
			if first == "" {
				first = string(body)
			}
			if string(body) != first {
				t.Errorf("%s: the token is not reused", name)
			}
		}
	}
}
