package clientauth

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

func basic(user, password string) []string {
	return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

// escapeAll percent-encodes every byte, as RFC 6749 appendix B allows.
func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + string("0123456789ABCDEF"[s[i]>>4]) + string("0123456789ABCDEF"[s[i]&15]))
	}
	return b.String()
}

func TestI13_AnAPIKeyIsAcceptedInBothPlaces(t *testing.T) {
	w := newWorld(t)
	secret := w.apiKeys["orders"].Reveal()
	tests := []struct {
		name   string
		r      Request
		method string
	}{
		{"in the header", Request{Authorization: basic("orders", secret)}, "client_secret_basic"},
		{"in the header, form-encoded", Request{Authorization: basic(url.QueryEscape("orders"), escapeAll(secret))}, "client_secret_basic"},
		{"in the header, scheme in small letters", Request{Authorization: []string{"basic " + basic("orders", secret)[0][6:]}}, "client_secret_basic"},
		{"in the header, and client_id in the form", Request{Authorization: basic("orders", secret), ClientID: "orders"}, "client_secret_basic"},
		{"in the form", Request{ClientID: "orders", Secret: secret}, "client_secret_post"},
		{"in the form alone", Request{Secret: secret}, "client_secret_post"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := w.auth.Authenticate(t.Context(), &test.r)
			if err != nil {
				t.Fatal(err)
			}
			if client.Name != "orders" || client.Method != test.method || client.Credential != "s1" {
				t.Errorf("client %+v", client)
			}
		})
	}
}

func TestI4_WhoeverHasNoValidAPIKeyGetsOneMessage(t *testing.T) {
	w := newWorld(t)
	orders := w.apiKeys["orders"].Reveal()
	wrong, stranger := events.NewAPIKey("orders").Reveal(), events.NewAPIKey("stranger").Reveal()
	tests := []struct {
		name, reason string
		r            Request
	}{
		{"wrong key", "unknown or expired API key", Request{Secret: wrong}},
		{"wrong key in the header", "unknown or expired API key", Request{Authorization: basic("orders", wrong)}},
		{"unknown client", "unknown client", Request{Secret: stranger}},
		{"disabled client", "disabled client", Request{Secret: w.apiKeys["closed"].Reveal()}},
		{"external issuer", "not a client", Request{Secret: w.apiKeys["github"].Reveal()}},
		{"credentials without a client", "unknown client", Request{Secret: w.apiKeys["nobody"].Reveal()}},
		{"another client's key in the header", "API key of another client", Request{Authorization: basic("closed", orders)}},
		{"another client's key in the form", "API key of another client", Request{ClientID: "closed", Secret: orders}},
		{"an empty user", "API key of another client", Request{Authorization: basic("", orders)}},
		{"client_id differs from the header", "client_id differs from the user of the Authorization header",
			Request{Authorization: basic("orders", orders), ClientID: "closed"}},
		{"an empty password", "malformed API key", Request{Authorization: basic("orders", "")}},
		{"a wrong checksum", "malformed API key", Request{Secret: orders[:len(orders)-1] + "!"}},
		{"no colon", "malformed Basic credentials", Request{Authorization: []string{"Basic b3JkZXJz"}}},
		{"no base64", "malformed Basic credentials", Request{Authorization: []string{"Basic ???"}}},
		{"nothing", "malformed Basic credentials", Request{Authorization: []string{"Basic"}}},
		{"a wrong escape in the user", "malformed Basic credentials", Request{Authorization: basic("%zz", orders)}},
		{"a wrong escape in the password", "malformed Basic credentials", Request{Authorization: basic("orders", "%zz")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, err := w.auth.Authenticate(t.Context(), &test.r)
			e := refused(t, client, err, InvalidClient)
			if e.Description != failed {
				t.Errorf("description %q tells more than others", e.Description)
			}
			if e.Reason != test.reason {
				t.Errorf("reason %q, want %q", e.Reason, test.reason)
			}
			if e.Challenge != (len(test.r.Authorization) > 0) {
				t.Errorf("challenge %v", e.Challenge)
			}
			for _, secret := range []string{orders, wrong, stranger} {
				if strings.Contains(e.Error(), secret[10:]) {
					t.Error("the reason has a part of an API key")
				}
			}
		})
	}
}

func TestI13_ManyAPIKeysOfOneClientEachUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := events.NewAPIKey("orders"), events.NewAPIKey("orders")
		end := time.Now().Add(time.Hour)
		w.secrets("orders",
			events.Secret{ID: "old", SHA256: first.Hash(), Expires: end.Unix()},
			events.Secret{ID: "new", SHA256: second.Hash()})
		try := func(key events.APIKey) (*Client, error) {
			return w.auth.Authenticate(t.Context(), &Request{Secret: key.Reveal()})
		}
		for key, id := range map[*events.APIKey]string{&first: "old", &second: "new"} {
			if client, err := try(*key); err != nil || client.Credential != id {
				t.Errorf("client %v, error %v, want the key %s", client, err, id)
			}
		}
		time.Sleep(time.Until(end))
		client, err := try(first)
		refused(t, client, err, InvalidClient)
		if _, err := try(second); err != nil {
			t.Error(err)
		}
		w.secrets("orders", events.Secret{ID: "third", SHA256: events.NewAPIKey("orders").Hash()})
		client, err = try(second) // revoked: it is not in the record any more
		refused(t, client, err, InvalidClient)
	})
}

func TestI2_OneWayOfAuthenticationAtATime(t *testing.T) {
	w := newWorld(t)
	secret := w.apiKeys["orders"].Reveal()
	assertion := w.assertion(jws.Header{}, claims(nil))
	for name, r := range map[string]*Request{
		"header and form":                        {Authorization: basic("orders", secret), Secret: secret},
		"header and assertion":                   {Authorization: basic("orders", secret), AssertionType: AssertionType, Assertion: assertion},
		"form and assertion":                     {Secret: secret, AssertionType: AssertionType, Assertion: assertion},
		"form and assertion type":                {Secret: secret, AssertionType: AssertionType},
		"all three":                              {Authorization: basic("orders", secret), Secret: secret, Assertion: assertion},
		"two headers":                            {Authorization: append(basic("orders", secret), basic("orders", secret)...)},
		"a header of another scheme and a form":  {Authorization: []string{"Bearer abc"}, Secret: secret},
		"a header of another scheme and a basic": {Authorization: append(basic("orders", secret), "Bearer abc")},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := w.auth.Authenticate(t.Context(), r)
			refused(t, client, err, InvalidRequest)
			if len(w.memory.used) > 0 {
				t.Error("the assertion was used up")
			}
		})
	}
}

func TestANameAloneProvesNothing(t *testing.T) {
	w := newWorld(t)
	for name, r := range map[string]*Request{
		"client_id alone":     {ClientID: "orders"},
		"unknown client_id":   {ClientID: "stranger"},
		"nothing":             {},
		"a bearer token":      {Authorization: []string{"Bearer abc"}, ClientID: "orders"},
		"an empty header":     {Authorization: []string{""}, ClientID: "orders"},
		"a scheme like basic": {Authorization: []string{"BasicX b3JkZXJzOmE="}},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := w.auth.Authenticate(t.Context(), r)
			e := refused(t, client, err, InvalidClient)
			if e.Description == failed || e.Description == "" {
				t.Errorf("description %q does not say what to do", e.Description)
			}
		})
	}
}
