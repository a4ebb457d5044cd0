package clientauth

import (
	"context"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

// PrivateKeyJWT is the registered name of client authentication by an assertion (OpenID Connect Core §9, RFC 7591 §2).
const PrivateKeyJWT = "private_key_jwt"

// clientSigned checks an assertion that a client signed with one of its registered keys: first what its text alone shows,
// then who signed it, then that it is new.
func (a *Assertions) clientSigned(ctx context.Context, t *jws.Token, r *Request) (*Client, error) {
	name := claimed(t.Claims.Subject)
	now := time.Now()
	if problem := a.checkClientSigned(t, r, now); problem != "" {
		return nil, unfit(InvalidClient, paramClientAssertion, problem, name)
	}
	record, reason := a.checkSigner(t, name, now, MaxAssertionLife)
	if record == nil {
		return nil, refuse(name, reason)
	}
	if err := a.use(ctx, name, &t.Claims, InvalidClient, paramClientAssertion); err != nil {
		return nil, err
	}
	return &Client{Name: name, Record: record, Method: PrivateKeyJWT, Credential: t.Header.KeyID}, nil
}

// checkClientSigned returns what is wrong with the assertion by itself, or "". It depends on nothing but the request.
func (a *Assertions) checkClientSigned(t *jws.Token, r *Request, now time.Time) string {
	c := &t.Claims
	switch {
	case t.Header.Type != "" && !t.Header.IsType("client-authentication+jwt") && !t.Header.IsType("JWT"):
		// Other kinds of tokens are signed with the same key; none of them must pass for this one (RFC 8725 §3.11).
		return "typ is of another kind of token: use client-authentication+jwt"
	case c.Issuer == "" || c.Issuer != c.Subject:
		return "iss and sub must both be the client_id (RFC 7523 section 3)"
	case c.ClientID != "" && c.ClientID != c.Subject:
		return "client_id claim differs from sub"
	case r.ClientID != "" && r.ClientID != c.Subject:
		return "client_id of the request differs from sub (RFC 7521 section 4.2)"
	case len(c.Audience) != 1 || c.Audience[0] != a.issuer:
		// A token endpoint's URL would let another server, which this client also uses, pass the assertion on.
		return "aud must be the issuer identifier of this server, and nothing else: not the URL of the token endpoint"
	case c.ID == "":
		return "jti is required"
	}
	return checkTimes(c, now, MaxAssertionLife)
}
