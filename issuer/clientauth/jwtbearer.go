package clientauth

import (
	"context"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// JWTBearer is what the audit log calls a client that proved itself by the grant alone.
const JWTBearer = "jwt-bearer"

// notGranted is for grants what failed is for client authentication: one message for all that would tell which clients
// and keys exist.
const notGranted = "assertion: its client is unknown or not active, or it is not signed with one of the client's valid keys"

// Grant checks the assertion of a jwt-bearer grant (RFC 7523 §2.1): one that a client signed about itself. clientID is who sends it,
// as far as the request says or proves that, or empty. A bad one is [InvalidGrant] (§3.1). Every error is an [*Error].
func (a *Assertions) Grant(ctx context.Context, assertion, clientID string) (*Client, error) {
	client, err := a.grant(ctx, assertion, clientID)
	if err != nil {
		return nil, asError(err, JWTBearer)
	}
	return client, nil
}

func (a *Assertions) grant(ctx context.Context, assertion, clientID string) (*Client, error) {
	token, err := jws.Parse(assertion)
	if err != nil {
		return nil, unreadable(InvalidGrant, paramAssertion, err, claimed(clientID))
	}
	client, err := a.grantTo(ctx, token, clientID)
	return client, ofAssertion(err, token)
}

func (a *Assertions) grantTo(ctx context.Context, token *jws.Token, clientID string) (*Client, error) {
	c := &token.Claims
	name := claimed(c.Subject)
	now := time.Now()
	if problem := a.checkGrant(token, clientID, now); problem != "" {
		return nil, unfit(InvalidGrant, paramAssertion, problem, name)
	}
	record, reason := a.checkSigner(token, name, now, MaxGrantLife)
	if record == nil {
		return nil, &Error{Code: InvalidGrant, Description: notGranted, Reason: reason, Claimed: name}
	}
	if c.ID == "" && a.requiresJTI(name) { // only its owner learns this
		return nil, unfit(InvalidGrant, paramAssertion, "jti is required for this client", name)
	}
	if c.ID != "" {
		if err := a.use(ctx, name, c, InvalidGrant, paramAssertion); err != nil {
			return nil, err
		}
	}
	return &Client{Name: name, Record: record, Method: JWTBearer, Credential: token.Header.KeyID}, nil
}

// checkGrant returns what is wrong with the assertion by itself, or "". It depends on nothing but the request.
func (a *Assertions) checkGrant(t *jws.Token, clientID string, now time.Time) string {
	c := &t.Claims
	switch {
	case t.Header.Type != "" && !t.Header.IsType("JWT"):
		// There is no typ for grants; whatever says what it is, is something else (RFC 8725 §3.11).
		return "typ is of another kind of token: use JWT, or none"
	case c.Issuer == "" || c.Issuer != c.Subject:
		return "iss and sub must both be the client_id: a token of another issuer goes into client_assertion"
	case c.ClientID != "" && c.ClientID != c.Subject:
		return "client_id claim differs from sub"
	case clientID != "" && clientID != c.Subject:
		return "sub differs from the client that sends it"
	case !a.isForUs(c.Audience):
		return "aud must be the issuer identifier of this server or the URL of its token endpoint, and nothing else"
	}
	return checkTimes(c, now, MaxGrantLife)
}

// isForUs reports whether an assertion is for this server and for nobody else. RFC 7523 §3 lets its token endpoint stand for
// it, and libraries send arrays.
func (a *Assertions) isForUs(audience []string) bool {
	for _, aud := range audience {
		if aud != a.issuer && (a.endpoint == "" || aud != a.endpoint) {
			return false
		}
	}
	return len(audience) > 0
}

func (a *Assertions) requiresJTI(name events.Name) bool {
	client := a.clients.Client(name)
	return client != nil && client.RequireJTI
}
