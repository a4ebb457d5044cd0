package verifier

import (
	"slices"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

// checkType tells access tokens from everything else that the same key may sign.
func (j *judgement) checkType() error {
	header, claims := &j.token.Header, &j.token.Claims
	ok := header.IsType("at+jwt")
	switch j.issuer.Record.Type {
	case events.TypeClient:
		ok = ok || header.IsType("JWT")
	case events.TypeExternal:
		ok = ok || header.Type == "" || header.IsType("JWT")
		if claims.HasNonce || claims.HasAtHash || claims.HasCHash {
			return errIDToken
		}
		if claims.TokenUse != "" && claims.TokenUse != "access" {
			return errTokenUse
		}
	}
	if !ok {
		return errType
	}
	return j.checkConfirmation()
}

// checkRequired asks for the claims that a token of this type of issuer must have, besides iss.
func (j *judgement) checkRequired() error {
	c := &j.token.Claims
	if j.issuer.Record.Type == events.TypeExternal {
		if c.Subject == "" || len(c.Audience) == 0 || !c.HasExpiry {
			return errMissingExternal
		}
		return nil
	}
	if c.Subject == "" || c.ClientID == "" || len(c.Audience) == 0 || !c.HasIssuedAt || !c.HasExpiry ||
		c.ID == "" && j.issuer.Record.Type == events.TypePlatform {
		return errMissingClaims
	}
	return nil
}

func (j *judgement) checkAudience() error {
	aud := j.token.Claims.Audience
	if !slices.Contains(aud, j.request.Audience) && !j.v.isForAccount(aud, j.platform) {
		return errAudience
	}
	return nil
}

// isForAccount reports whether an entry of aud is the audience of the platform's whole account, if that is accepted here.
func (v *Verifier) isForAccount(aud []string, platform *events.IssuerEntry) bool {
	return v.cfg.AccountAudience && slices.ContainsFunc(aud, func(aud string) bool { return isAccount(aud, platform) })
}

// isAccount reports whether aud is the audience of the platform's whole account.
func isAccount(aud string, platform *events.IssuerEntry) bool {
	account, ok := strings.CutSuffix(aud, accountSuffix)
	return ok && account != "" && platform != nil && account == platform.Record.Account
}

func (j *judgement) checkTimes() error {
	c := &j.token.Claims
	now, leeway := j.now.Unix(), j.v.cfg.leeway()
	if now >= c.Expiry+leeway {
		return errExpired
	}
	if c.HasNotBefore && now < c.NotBefore-leeway || c.HasIssuedAt && now < c.IssuedAt-leeway {
		return errTooEarly
	}
	from := c.IssuedAt
	if !c.HasIssuedAt { // external only
		from = now
	} else if c.Expiry <= from {
		return errLifetime
	}
	if c.Expiry-from > int64(min(j.issuer.Record.TokenTTL(), events.MaxTokenTTL)/time.Second) {
		return errLifetime
	}
	return nil
}
