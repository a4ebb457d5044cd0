package verifiertest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"time"

	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	defaultTTL = 15 * time.Minute // as the token service and package mint have it
	aside      = time.Hour        // how long ago an expired token has ended, and in which time one begins that is not valid yet
)

// Token mints an offline token, signed with the client's own key. Without options it is for the kit's audience, begins now, lives for 15
// minutes, has a jti, and no scope: that makes it good for all that the client's record grants.
func (c *Client) Token(options ...TokenOption) string {
	c.kit.t.Helper()
	return c.mint(map[string]any{"sub": c.key.Client, "client_id": c.key.Client}, options)
}

// OnlineToken mints a token of the platform, as the token service gives it to the client. Without options it is like that of
// [Client.Token], but that the scope which the client's record grants is spelt out.
func (c *Client) OnlineToken(options ...TokenOption) string {
	c.kit.t.Helper()
	return c.kit.platform.mint(map[string]any{"sub": c.key.Client, "client_id": c.key.Client, "scope": c.granted()}, options)
}

// Token mints an access token for a user, or whatever the issuer calls a subject. Without options it is for the kit's audience, begins
// now, lives for 15 minutes, and has a jti and all the scope that the issuer's record grants.
func (e *External) Token(subject string, options ...TokenOption) string {
	e.kit.t.Helper()
	return e.mint(map[string]any{"sub": subject, "scope": e.granted()}, options)
}

// granted is the scope of the record, if there is one.
func (p party) granted() string {
	if entry := p.kit.feed.keys.Issuer(p.key.Client); entry != nil {
		return entry.Record.Scope.String()
	}
	return ""
}

// draft is a token that is being made.
type draft struct {
	ttl    time.Duration
	shift  time.Duration  // from now to when the token begins
	claims map[string]any // of the token
	last   map[string]any // take the place of any others; nil: leave it out
}

// mint makes a token that p signs.
func (p party) mint(claims map[string]any, options []TokenOption) string {
	p.kit.t.Helper()
	what := "make a token of " + string(p.key.Client)
	claims["iss"], claims["aud"], claims["jti"] = p.iss, p.kit.cfg.Audience, rand.Text()
	d := draft{ttl: defaultTTL, claims: claims, last: map[string]any{}}
	for _, o := range options {
		p.kit.check(what, o.token(&d))
	}
	if d.shift < 0 { // it has ended for that long
		d.shift -= d.ttl
	}
	begins := p.kit.Now().Add(d.shift)
	claims["iat"], claims["exp"] = begins.Unix(), begins.Add(d.ttl).Unix()
	maps.Copy(claims, d.last)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(claims)
	p.kit.check(what, err)
	header := jws.Header{Algorithm: jws.EdDSA, KeyID: string(p.key.KeyID), Type: "at+jwt"}
	token, err := jws.Sign(header, text, p.key.Private())
	p.kit.check(what, err)
	return token
}
