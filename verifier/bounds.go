package verifier

import (
	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// findClient applies the subject rule: who the token may speak for, and whose record bounds it.
func (j *judgement) findClient() error {
	c := &j.token.Claims
	switch j.issuer.Record.Type {
	case events.TypeExternal:
		j.client = j.issuer
		return nil
	case events.TypeClient:
		if c.Subject != string(j.issuer.Name) || c.ClientID != string(j.issuer.Name) {
			return errSubject
		}
		if !j.issuer.Record.Offline {
			return errNotOffline
		}
		j.client = j.issuer
		return nil
	}
	if c.Subject != c.ClientID {
		return errSubject
	}
	j.client = j.set.Issuer(events.Name(c.ClientID))
	switch {
	case j.client == nil:
		return j.missing(errUnknownClient, errBehindClient)
	case j.client.Record.Type != events.TypeClient:
		return errUnknownClient
	case j.client.Record.Status != events.Active:
		return errClientDisabled
	}
	return nil
}

// checkGrantedAudience: each audience must be one that the record allows, this service's or not. The audience of the
// account is allowed to every client that may mint its own tokens.
func (j *judgement) checkGrantedAudience() error {
	for _, aud := range j.token.Claims.Audience {
		if !j.client.Record.AllowsAudience(aud) && !(j.issuer.Record.Type == events.TypeClient && isAccount(aud, j.set.Platform())) {
			return errAudienceNotGiven
		}
	}
	return nil
}

// checkCutOff: a token without iat (its IssuedAt is zero) was issued before any cut-off.
func (j *judgement) checkCutOff() error {
	cutOff := max(j.issuer.Record.NotBefore, j.client.Record.NotBefore)
	if cutOff != 0 && j.token.Claims.IssuedAt <= cutOff {
		return errCutOff
	}
	return nil
}

func (j *judgement) checkRevoked() error {
	revocations := j.v.feed.Revocations()
	if revocations.Len() > 0 && revocations.Revoked(TokenID(j.token)) {
		return errRevoked
	}
	return nil
}

// TokenID is under which a token is revoked: by iss and jti or, if it has no jti, by its text.
func TokenID(t *jws.Token) events.TokenID {
	if t.Claims.ID != "" {
		return events.TokenByID(t.Claims.Issuer, t.Claims.ID)
	}
	return events.TokenByText(t.SigningInput())
}

// limitScope makes the effective scope, in room if it fits. A client's own token without a scope, or with the one value that the SDKs of
// Authress put there, has all that its record grants. One that says it has no scope ("scope":"") has none.
func (j *judgement) limitScope(room []string) (events.Scope, error) {
	c := &j.token.Claims
	granted := j.client.Record.Scope
	if j.issuer.Record.Type == events.TypeClient && (!c.HasScope || c.Scope == "openid") {
		return granted, nil
	}
	scope, err := granted.IntersectText(c.Scope, room)
	if err != nil {
		return events.Scope{}, errScope
	}
	return scope, nil
}
