package mint

import (
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/keyherald/keyherald/events"
)

// Credential is how a [Requester] proves who it is: a [*Minter], by private_key_jwt, or what [APIKey] returns.
type Credential interface {
	// authenticate adds the proof to a request to the token endpoint of issuer.
	authenticate(issuer string, form url.Values, header http.Header) error
}

// APIKey returns the credential of an API key, which is sent by client_secret_basic. To whom it is sent, it is known: a
// key pair is better.
func APIKey(key events.APIKey) Credential { return apiKey(func() events.APIKey { return key }) }

// apiKey is a function so that printing a value which has it shows nothing.
type apiKey func() events.APIKey

func (k apiKey) authenticate(_ string, _ url.Values, header http.Header) error {
	key := k()
	// RFC 6749 §2.3.1: each part in form encoding, then as RFC 7617 says.
	pair := url.QueryEscape(string(key.Client)) + ":" + url.QueryEscape(key.Reveal())
	header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	return nil
}
