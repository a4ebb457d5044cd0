package issuer

import (
	"errors"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// revoke ends a token (RFC 7009): every verifier refuses it within milliseconds of the answer.
func (n *Node) revoke(c *call) error {
	query, err := n.readTokenQuery(c)
	if err == nil {
		err = n.end(c, query)
	}
	if err == nil {
		c.w.WriteHeader(http.StatusOK)
	}
	return err
}

// end ends the token if the caller is its client or its only audience. A text that is no token of anybody here, or one that has
// ended, needs no end, which is no error (RFC 7009 §2.2).
func (n *Node) end(c *call, q *tokenQuery) error {
	if q.parsed == nil || !q.parsed.Claims.HasExpiry {
		return nil
	}
	claims := &q.parsed.Claims
	audience := n.cfg.Issuer // to be judged in any case: who may not revoke it is told so only about a token that is one
	if len(claims.Audience) > 0 {
		audience = claims.Audience[0]
	}
	_, err := n.verify(q, audience)
	if undecided := undecided(err); undecided != nil {
		return undecided
	}
	exp := time.Unix(claims.Expiry, 0)
	if !mayBeAccepted(err, exp, time.Now()) && !n.mayComeBack(q, err) {
		return nil
	}
	if !q.mayEnd(n.cfg.Issuer) {
		return &refusal{q.caller, badRequest(codeUnauthorizedClient, "the token was not issued to this client, nor is this client its only audience (RFC 7009 section 2.1)")}
	}
	if exp.After(time.Now().Add(events.MaxTokenTTL + events.MaxLeeway)) {
		return &refusal{q.caller, invalidRequest("the token begins too far in the future for its revocation to be remembered: revoke the key that signed it")}
	}
	if wait := n.throttle.revoked(q.caller.Name, time.Now()); wait > 0 {
		return &refusal{q.caller, tooMany("too many revocations by this client: to refuse all of its tokens, disable it or revoke its key", wait)}
	}
	if err := n.cfg.Revoke(c.r.Context(), q.caller.Name, verifier.TokenID(q.parsed), exp); err != nil {
		answer := unavailable("revocation not written: " + err.Error())
		answer.Description = "the token may not be revoked yet: try again"
		return &refusal{q.caller, answer}
	}
	n.cfg.Logger.Info().Str("address", c.address).Str("client", string(q.caller.Name)).Str("method", q.caller.Method).Str("credential", q.caller.Credential).
		Str("iss", claims.Issuer).Str("jti", claims.ID).Int64("exp", claims.Expiry).Msg("token revoked")
	return nil
}

// mayBeAccepted reports whether some verifier accepts a token that was judged so, or may do so at some time: the signature was found to
// be good, and what speaks against the token is the time, the audience, or a record that may be changed again.
func mayBeAccepted(err error, exp, now time.Time) bool {
	var refused *verifier.Error
	if !errors.As(err, &refused) {
		return err == nil
	}
	switch refused.Reason {
	case verifier.ReasonAudience, verifier.ReasonTooEarly, verifier.ReasonSubject, verifier.ReasonClient, verifier.ReasonCutOff:
		return true
	case verifier.ReasonLifetime: // unless it is longer than any record can allow
		return exp.Sub(now) <= events.MaxTokenTTL+events.MaxLeeway
	case verifier.ReasonExpired: // here, but perhaps not where the clock is behind
		return now.Before(exp.Add(events.MaxLeeway))
	}
	return false
}

// mayComeBack reports whether a token was refused for the state of its key or issuer alone: a key that is not valid yet, an issuer that is
// disabled, or a deleted key of the caller's own, which may be put back. Of that key nothing can be verified; the revocation harms nobody
// but the caller, and is remembered no longer than its tokens live.
func (n *Node) mayComeBack(q *tokenQuery, err error) bool {
	var refused *verifier.Error
	if !errors.As(err, &refused) {
		return false
	}
	set := n.cfg.Keys.Keys()
	issuer := set.IssuerOf(q.parsed.Claims.Issuer)
	if issuer == nil {
		return false
	}
	switch refused.Reason {
	case verifier.ReasonKey:
		return issuer.Name == q.caller.Name && q.own(n.cfg.Issuer)
	case verifier.ReasonKeyState, verifier.ReasonIssuer:
	default:
		return false
	}
	key := set.Key(issuer.Name, events.KeyID(q.parsed.Header.KeyID))
	if key == nil || key.Record == nil {
		return false
	}
	if state := key.State(time.Now()); !state.Usable() && state != events.KeyPending {
		return false
	}
	alg := jws.Algorithm(key.Record.Algorithm)
	return alg.Same(q.parsed.Header.Algorithm) && jws.Verify(alg, key.Record.Public, q.parsed.SigningInput(), q.parsed.Signature()) == nil
}
