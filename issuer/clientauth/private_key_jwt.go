package clientauth

import (
	"context"
	"crypto"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// AssertionType is the client_assertion_type of a signed assertion (RFC 7523 §2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// PrivateKeyJWT is private_key_jwt: the client signs an assertion for this issuer with one of its registered keys (RFC
// 7521 §4.2, RFC 7523 §3, with the stricter audience of draft-ietf-oauth-rfc7523bis §4).
type PrivateKeyJWT struct {
	issuer string
	keys   KeySet
	memory ReplayMemory
	decoys decoys
}

var _ Method = (*PrivateKeyJWT)(nil)

// NewPrivateKeyJWT returns the method for assertions whose audience is issuer.
func NewPrivateKeyJWT(issuer string, keys KeySet, memory ReplayMemory) (*PrivateKeyJWT, error) {
	decoys, err := newDecoys()
	if err != nil {
		return nil, err
	}
	return &PrivateKeyJWT{issuer, keys, memory, decoys}, nil
}

// Name is private_key_jwt.
func (*PrivateKeyJWT) Name() string { return "private_key_jwt" }

// Presented reports whether there is any part of an assertion.
func (*PrivateKeyJWT) Presented(r *Request) bool { return r.Assertion != "" || r.AssertionType != "" }

// Algorithms lists what assertions may be signed with, for the metadata (RFC 8414 §2).
func (*PrivateKeyJWT) Algorithms() []string {
	var names []string
	for _, a := range jws.Algorithms() {
		names = append(names, string(a))
	}
	return names
}

// Authenticate checks the assertion: first what its text alone shows, then who signed it, then that it is new.
func (p *PrivateKeyJWT) Authenticate(ctx context.Context, r *Request) (*Client, error) {
	switch {
	case r.Assertion == "":
		return nil, invalidRequest("client_assertion_type without client_assertion")
	case r.AssertionType == "":
		return nil, invalidRequest("client_assertion without client_assertion_type: send " + AssertionType)
	case r.AssertionType != AssertionType:
		return nil, invalidRequest("client_assertion_type is not " + AssertionType)
	}
	token, err := jws.Parse(r.Assertion)
	if err != nil {
		return nil, &Error{Code: InvalidClient, Description: "client_assertion: " + describe(err), Reason: err.Error(), Claimed: claimed(r.ClientID)}
	}
	name := claimed(token.Claims.Subject)
	now := time.Now()
	if problem := p.checkText(token, r, now); problem != "" {
		return nil, &Error{Code: InvalidClient, Description: "client_assertion: " + problem, Reason: "assertion: " + problem, Claimed: name}
	}
	record, reason := p.checkSigner(token, name, now)
	if record == nil {
		return nil, refuse(name, reason)
	}
	if err := p.use(ctx, name, &token.Claims); err != nil {
		return nil, err
	}
	return &Client{Name: name, Record: record, Method: p.Name(), Credential: token.Header.KeyID}, nil
}

// describe is what may be told of an unreadable assertion: its kind of mistake.
func describe(err error) string {
	var e *jws.Error
	if errors.As(err, &e) {
		return "not a signed token of the accepted form (" + string(e.Reason) + ")"
	}
	return "not a signed token of the accepted form"
}

// checkText returns what is wrong with the assertion by itself, or "". It depends on nothing but the request.
func (p *PrivateKeyJWT) checkText(t *jws.Token, r *Request, now time.Time) string {
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
	case len(c.Audience) != 1 || c.Audience[0] != p.issuer:
		// A token endpoint's URL would let another server, which this client also uses, pass the assertion on.
		return "aud must be the issuer identifier of this server, and nothing else: not the URL of the token endpoint"
	case c.ID == "":
		return "jti is required"
	}
	return checkTimes(c, now)
}

// checkTimes bounds the assertion's life on both ends, also if it has no iat (which RFC 7523 leaves optional).
func checkTimes(c *jws.Claims, now time.Time) string {
	exp := time.Unix(c.Expiry, 0)
	issued := issuedAt(c)
	switch {
	case !c.HasExpiry:
		return "exp is required"
	case !now.Before(exp.Add(leeway)):
		return "it has expired"
	case c.HasNotBefore && now.Add(leeway).Before(time.Unix(c.NotBefore, 0)):
		return "it is not valid yet (nbf)"
	case now.Add(leeway).Before(issued):
		if c.HasIssuedAt {
			return "iat is in the future"
		}
		return "exp is too far away: it may live for 5 minutes"
	case exp.Sub(issued) > MaxAssertionLife:
		// With what is above this bounds its age, too.
		return "it lives too long: exp may be 5 minutes after iat"
	}
	return ""
}

// issuedAt is when the assertion was made, or the earliest moment at which it can have been.
func issuedAt(c *jws.Claims) time.Time {
	if c.HasIssuedAt {
		return time.Unix(c.IssuedAt, 0)
	}
	return time.Unix(c.Expiry, 0).Add(-MaxAssertionLife)
}

// checkSigner returns the record of the client that signed, or why there is none. One signature is checked whatever
// the client and its key are.
func (p *PrivateKeyJWT) checkSigner(t *jws.Token, name events.Name, now time.Time) (*events.Issuer, string) {
	set := p.keys.Keys()
	record, reason := activeClient(set, name)
	if record != nil && record.NotBefore != 0 && issuedAt(&t.Claims).Unix() <= record.NotBefore {
		reason = "assertion from before the client's not_before"
	}
	alg, public, problem := signerKey(set, t, name, now)
	if problem != "" {
		alg, public = t.Header.Algorithm, p.decoys[t.Header.Algorithm]
	}
	if reason == "" {
		reason = problem
	}
	if err := jws.Verify(alg, public, t.SigningInput(), t.Signature()); err != nil && reason == "" {
		reason = "wrong signature"
	}
	if reason != "" {
		return nil, reason
	}
	return record, ""
}

// signerKey returns the key that the assertion names, with its one algorithm, or why it is none that may sign.
func signerKey(set *events.Set, t *jws.Token, name events.Name, now time.Time) (alg jws.Algorithm, key crypto.PublicKey, problem string) {
	entry := set.Key(name, events.KeyID(t.Header.KeyID))
	if entry == nil {
		return "", nil, "unknown key"
	}
	if state := entry.State(now); !state.Usable() {
		return "", nil, state.String() + " key"
	}
	if alg = jws.Algorithm(entry.Record.Algorithm); !t.Header.Algorithm.Same(alg) {
		return "", nil, "algorithm of another kind of key"
	}
	return alg, entry.Record.Public, ""
}

// use takes the assertion's jti, so that it is accepted once.
func (p *PrivateKeyJWT) use(ctx context.Context, name events.Name, c *jws.Claims) error {
	err := p.memory.Use(ctx, name, c.ID, time.Unix(c.Expiry, 0).Add(leeway))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReplayed):
		return &Error{Code: InvalidClient, Claimed: name, Reason: "assertion: replayed", err: err,
			Description: "client_assertion: it was used before: make one for each request"}
	}
	return &Error{Code: Unavailable, Claimed: name, Reason: "assertion: replay memory: " + err.Error(), err: err,
		Description: "it could not be found out whether the client_assertion is new: try again with another one, or use an API key"}
}
