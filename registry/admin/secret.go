package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/registry"
)

// secretResource is an API key in an answer.
type secretResource struct {
	SecretID       string `json:"secretId"`
	ClientID       string `json:"clientId"`
	GenerationDate string `json:"generationDate,omitempty"`
	Expires        string `json:"expires,omitempty"` // none: never
	Secret         string `json:"secret,omitempty"`  // when it was made: here and nowhere else
}

type secretList struct {
	Secrets []secretResource `json:"secrets"`
}

// secretRequest asks for an API key.
type secretRequest struct {
	expires time.Time // zero: never
}

func (s *secretRequest) member(name string, value []byte) error {
	if name != "expires" {
		return nil
	}
	text, err := strictjson.String(value)
	if err != nil {
		return err
	}
	if s.expires, err = time.Parse(time.RFC3339, text); err != nil {
		return fmt.Errorf("not a time like %s (RFC 3339)", "2027-01-31T12:00:00Z")
	}
	if !s.expires.After(time.Now()) { // the zero time of Go, which can be written as text, would mean never
		return fmt.Errorf("%s has passed, the API key would have expired already: choose a later end, or none", text)
	}
	return nil
}

func (a *API) serveAddSecret(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "secret add", registry.ScopeKeysWrite, func(ctx context.Context, req *request) (*answer, error) {
		var s secretRequest
		if err := req.readBody(s.member); err != nil {
			return nil, err
		}
		return a.addSecret(ctx, req.caller, req.client(), &s)
	})
}

func (a *API) addSecret(ctx context.Context, caller registry.Caller, name events.Name, s *secretRequest) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	secret, err := a.reg.AddSecret(ctx, caller, name, s.expires)
	if err != nil {
		return nil, err
	}
	body := describeSecret(name, events.Secret{ID: secret.ID, IssuedAt: time.Now().Unix()})
	if !secret.Expires.IsZero() {
		body.Expires = timeText(secret.Expires.Unix())
	}
	body.Secret = secret.Key.Reveal()
	return &answer{status: http.StatusCreated, body: body}, nil
}

func describeSecret(client events.Name, s events.Secret) secretResource {
	r := secretResource{SecretID: s.ID, ClientID: string(client)}
	if s.IssuedAt != 0 {
		r.GenerationDate = timeText(s.IssuedAt)
	}
	if s.Expires != 0 {
		r.Expires = timeText(s.Expires)
	}
	return r
}

func (a *API) serveListSecrets(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "secret list", registry.ScopeClientsRead, func(ctx context.Context, req *request) (*answer, error) {
		return a.listSecrets(ctx, req.client())
	})
}

// listSecrets lists what is kept of API keys, which is neither their text nor, here, their hash.
func (a *API) listSecrets(ctx context.Context, name events.Name) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	secrets, err := a.reg.Secrets(ctx, name)
	if err != nil {
		return nil, err
	}
	list := secretList{Secrets: []secretResource{}}
	for _, s := range secrets {
		list.Secrets = append(list.Secrets, describeSecret(name, s))
	}
	return &answer{status: http.StatusOK, body: list}, nil
}

func (a *API) serveRevokeSecret(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "secret revoke", registry.ScopeKeysWrite, func(ctx context.Context, req *request) (*answer, error) {
		return a.revokeSecret(ctx, req.caller, req.client(), req.http.PathValue("secretId"))
	})
}

func (a *API) revokeSecret(ctx context.Context, caller registry.Caller, name events.Name, id string) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	if _, err := events.ParseName(id); err != nil { // the alphabet of ids is that of names
		return nil, notFound("the client has no API key of this id")
	}
	if err := a.reg.RevokeSecret(ctx, caller, name, id); err != nil {
		return nil, err
	}
	return &answer{status: http.StatusNoContent}, nil
}
