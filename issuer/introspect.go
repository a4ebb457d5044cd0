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

// serveIntrospect tells the token's client, and the services that it is for, what it is worth. All others learn that it is not active,
// as of any text that is no token (RFC 7662 §4).
func (n *Node) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	query, err := n.readTokenQuery(w, r)
	var answer *introspection
	if err == nil {
		answer, err = n.introspect(query)
	}
	if err != nil {
		n.refuse(w, n.audit(r), "introspection refused", err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (n *Node) introspect(q *tokenQuery) (*introspection, error) {
	audience := q.audience(n.cfg.Issuer)
	if audience == "" {
		return &introspection{}, nil
	}
	token, err := n.verify(q, audience)
	if err != nil {
		return &introspection{}, undecided(err)
	}
	return describeToken(token), nil
}

func describeToken(t *verifier.Token) *introspection {
	answer := &introspection{
		Active: true, Scope: t.Scope.String(), ClientID: string(t.Client), TokenType: "Bearer", Expires: t.Expires.Unix(), IssuedAt: t.IssuedAt.Unix(),
		Subject: t.Subject, Audience: t.Audience, Issuer: t.Issuer, ID: t.ID,
	}
	if t.Confirmation != nil {
		answer.Bound = &confirmation{base64.RawURLEncoding.EncodeToString(t.Confirmation.CertificateSHA256[:])}
	}
	return answer
}
