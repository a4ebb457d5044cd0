package mint

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"

	"github.com/keyherald/keyherald/events"
)

// Credential is how a [Requester] proves who it is: a [*Minter], by private_key_jwt, or what [JWTBearer], [Federated],
// [FederatedFile], [Certificate] or [APIKey] returns.
type Credential interface {
	// check returns why the credential can be of no use with issuer.
	check(issuer string) error
	// authenticate adds the proof to a request to the token endpoint of issuer.
	authenticate(ctx context.Context, issuer string, form url.Values, header http.Header) error
}

// APIKey returns the credential of an API key, which is sent by client_secret_basic. To whom it is sent, it is known: a
// key pair is better.
func APIKey(key events.APIKey) Credential { return apiKey(func() events.APIKey { return key }) }

// apiKey is a function so that printing a value which has it shows nothing.
type apiKey func() events.APIKey

func (k apiKey) check(string) error {
	if k().Client == "" {
		return errors.New("the API key is empty: read one with events.ParseAPIKey")
	}
	return nil
}

func (k apiKey) authenticate(_ context.Context, _ string, _ url.Values, header http.Header) error {
	key := k()
	// RFC 6749 §2.3.1: each part in form encoding, then as RFC 7617 says.
	pair := url.QueryEscape(string(key.Client)) + ":" + url.QueryEscape(key.Reveal())
	header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	return nil
}
