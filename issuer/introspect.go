package issuer

import (
	"encoding/base64"
	"net/http"

	"github.com/keyherald/keyherald/verifier"
)

// introspection is what a token is worth now (RFC 7662 §2.2). Of one that is worth nothing it says nothing else.
type introspection struct {
	Active    bool          `json:"active"`
	Scope     string        `json:"scope,omitempty"` // effective: the token's, within what the record grants now
	ClientID  string        `json:"client_id,omitempty"`
	TokenType string        `json:"token_type,omitempty"`
	Expires   int64         `json:"exp,omitempty"`
	IssuedAt  int64         `json:"iat,omitempty"`
	Subject   string        `json:"sub,omitempty"`
	Audience  []string      `json:"aud,omitempty"`
	Issuer    string        `json:"iss,omitempty"`
	ID        string        `json:"jti,omitempty"`
	Bound     *confirmation `json:"cnf,omitempty"` // RFC 8705 §3.2: for the resource server to compare with what it was shown
}

type confirmation struct {
	CertificateSHA256 string `json:"x5t#S256"`
}

// introspect tells the token's client, and the services that it is for, what it is worth. All others learn that it is not active,
// as of any text that is no token (RFC 7662 §4).
func (n *Node) introspect(c *call) error {
	query, err := n.readTokenQuery(c)
	if err != nil {
		return err
	}
	answer := new(introspection)
	if audience := query.audience(n.cfg.Issuer); audience != "" {
		token, err := n.verify(query, audience)
		if err == nil {
			answer = describeToken(token)
		} else if err := undecided(err); err != nil {
			return err
		}
	}
	writeJSON(c.w, http.StatusOK, answer)
	return nil
}

func describeToken(t *verifier.Token) *introspection {
	answer := &introspection{
		Active: true, Scope: t.Scope.String(), ClientID: string(t.Client), TokenType: "Bearer", Expires: t.Expires.Unix(),
		Subject: t.Subject, Audience: t.Audience, Issuer: t.Issuer, ID: t.ID,
	}
	if !t.IssuedAt.IsZero() { // of external issuers only
		answer.IssuedAt = t.IssuedAt.Unix()
	}
	if t.Confirmation != nil {
		answer.Bound = &confirmation{base64.RawURLEncoding.EncodeToString(t.Confirmation.CertificateSHA256[:])}
	}
	return answer
}
