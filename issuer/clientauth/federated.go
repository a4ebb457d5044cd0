package clientauth

import (
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Federated is what the audit log calls client authentication with a token of a trusted third party.
const Federated = "federated"

// federated checks an assertion of an external issuer. It is not remembered: see the package comment.
func (a *Assertions) federated(t *jws.Token, r *Request) (*Client, error) {
	name := claimed(r.ClientID)
	now := time.Now()
	var err *Error
	if problem := checkForeign(t, r, now); problem != "" {
		err = unfit(InvalidClient, paramClientAssertion, problem, name)
	} else {
		set := a.keys.Keys()
		issuer, reason := assertionIssuer(set, t, now)
		record, reason := a.federatedClient(set, t, name, issuer, reason)
		problem := a.checkSignature(set, t, issuer, now)
		if reason == "" && problem == unknownKey {
			a.unknownKey(issuer, t.Header.KeyID)
		}
		if reason == "" && problem == "" {
			return &Client{Name: name, Record: record, Method: Federated, Credential: string(issuer) + " " + t.Claims.Subject}, nil
		}
		if reason == "" {
			reason = problem
		}
		err = refuse(name, reason)
	}
	err.Method = Federated
	return nil, err
}

// checkForeign returns what is wrong with the assertion by itself, or "". It depends on nothing but the request. What these tokens
// have beside, such as the nonce of an ID token, is their issuer's business.
func checkForeign(t *jws.Token, r *Request, now time.Time) string {
	c, h := &t.Claims, &t.Header
	switch {
	case r.ClientID == "":
		// RFC 7521 §4.2 lets sub name the client; here it is what somebody else calls it, maybe for several of them.
		return "client_id is required beside an assertion of another issuer: it says which client this is"
	case h.Type != "" && !h.IsType("JWT") && !h.IsType("JOSE") && !h.IsType("client-authentication+jwt"):
		// JOSE says no more than JWT does; JWT-SVID §2.3 allows both.
		return "typ is of another kind of token: one with JWT or without a typ is needed"
	case c.Subject == "" || len(c.Subject) > events.MaxURI:
		return "sub must be 1 to 1024 bytes"
	case len(c.Audience) != 1:
		return "aud must be one audience alone: each of several could pass the assertion on to this server"
	case c.Confirmation != nil:
		return "it is bound to a key (cnf): who sends it alone does not prove to have that"
	}
	if problem := checkClock(c, now); problem != "" {
		return problem
	}
	if c.HasIssuedAt && c.Expiry <= c.IssuedAt {
		return "exp is not after iat"
	}
	return ""
}

// assertionIssuer returns the name of the external issuer that the assertion says it is of, and why its record does not allow the
// assertion, or "".
func assertionIssuer(set *events.Set, t *jws.Token, now time.Time) (name events.Name, reason string) {
	c := &t.Claims
	entry := set.IssuerOf(c.Issuer)
	if entry == nil {
		return "", "unknown issuer"
	}
	record := entry.Record
	from := now.Unix() // as verifiers count the life of a token without iat
	if c.HasIssuedAt {
		from = c.IssuedAt
	}
	switch {
	case record.Type != events.TypeExternal:
		return "", "not an external issuer"
	case record.Status != events.Active:
		return entry.Name, "disabled issuer"
	case !slices.Contains(record.Use, events.UseAssertion):
		return entry.Name, "issuer is not one for assertions"
	case !record.AllowsAudience(c.Audience[0]):
		return entry.Name, "audience that the issuer's record does not allow"
	case record.NotBefore != 0 && (!c.HasIssuedAt || c.IssuedAt <= record.NotBefore):
		return entry.Name, "assertion from before the issuer's not_before"
	case c.Expiry-from > int64(record.TokenTTL()/time.Second):
		return entry.Name, "assertion with a longer life than the issuer's max_token_ttl"
	}
	return entry.Name, ""
}

// federatedClient returns the record of the client of that name, and the reason, if there is none so far, why the assertion is not one
// of its identities.
func (a *Assertions) federatedClient(set *events.Set, t *jws.Token, name, issuer events.Name, reason string) (*events.Issuer, string) {
	record, problem := activeClient(set, name)
	switch {
	case reason != "":
		return record, reason
	case record == nil:
		return nil, problem
	case record.NotBefore != 0 && (!t.Claims.HasIssuedAt || t.Claims.IssuedAt <= record.NotBefore):
		return record, oldForClient
	}
	if client := a.clients.Client(name); client != nil {
		for _, f := range client.Federated {
			if f.Issuer == issuer && f.Audience == t.Claims.Audience[0] && f.Matches(t.Claims.Subject) {
				return record, ""
			}
		}
	}
	return record, "not a federated identity of the client"
}
