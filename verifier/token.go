package verifier

import (
	"encoding/json"
	"time"

	"github.com/keyherald/keyherald/events"
)

// Token is a token that was accepted.
type Token struct {
	Issuer     string            // iss
	IssuerName events.Name       // its record: "platform", a client, or an external issuer
	IssuerType events.IssuerType // who speaks: for platform and client, Client is who acts
	Subject    string            // sub; of an external issuer it says nothing about our clients
	Client     events.Name       // the service client; empty for an external issuer's token
	Scope      events.Scope      // effective: the token's, within what the record grants
	Audience   []string          // aud
	ID         string            // jti; may be empty for client and external
	KeyID      events.KeyID      // kid
	Expires    time.Time         // exp
	IssuedAt   time.Time         // iat; zero if there is none (external only)
	// Confirmation is what the token is bound to, and what the caller has confirmed; nil: it is a bearer token.
	Confirmation *Confirmation
	payload      []byte
}

// Claims returns the token's claims as they were signed, a JSON object. It must not be changed.
func (t *Token) Claims() json.RawMessage { return t.payload }
