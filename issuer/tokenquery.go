package issuer

import (
	"errors"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// tokenQuery is a request about a token, by a client that has proved itself.
type tokenQuery struct {
	caller *clientauth.Client
	text   string
	parsed *jws.Token // nil: it is none
}

// readTokenQuery reads a request of introspection or revocation, which are alike (RFC 7662 §2.1, RFC 7009 §2.1), and authenticates who
// sends it. The hint about the token's type is not needed: there is one type.
func (n *Node) readTokenQuery(c *call) (*tokenQuery, error) {
	params, err := readParams(c.w, c.r, false)
	if err != nil {
		return nil, err
	}
	text := params.Get(paramToken)
	if text == "" { // before the client's assertion is used up, as is what follows
		return nil, invalidRequest("token is missing")
	}
	now := time.Now()
	if _, _, err := n.trusted(now); err != nil {
		return nil, unavailable(err.Error())
	}
	if err := n.checkAge(n.cfg.Clients.Confirmed(), now); err != nil {
		return nil, unavailable(err.Error())
	}
	auth, err := authRequest(c.r, params)
	if err != nil {
		return nil, err
	}
	caller, err := n.authenticate(c, &auth)
	if err != nil {
		return nil, err
	}
	parsed, err := jws.Parse(text)
	if err != nil {
		parsed = nil
	}
	return &tokenQuery{caller, text, parsed}, nil
}

// own reports whether the token says that it is the caller's. That is nothing before it was verified.
func (q *tokenQuery) own(platform string) bool {
	claims := &q.parsed.Claims
	return claims.ClientID == string(q.caller.Name) && (claims.Issuer == platform || claims.Issuer == events.ClientURL(platform, q.caller.Name))
}

// audience returns for which of the token's audiences the caller may ask what it is worth: any, if it is the caller's own, else one that
// the caller is. It is empty if there is none.
func (q *tokenQuery) audience(platform string) string {
	if q.parsed == nil {
		return ""
	}
	own := q.own(platform)
	for _, aud := range q.parsed.Claims.Audience {
		if own || slices.Contains(q.caller.Record.Resource, aud) {
			return aud
		}
	}
	return ""
}

// mayEnd reports whether the caller may revoke the token: if it is its own, or it is for nobody but the caller. Of several audiences
// one must not end it for the others.
func (q *tokenQuery) mayEnd(platform string) bool {
	others := func(aud string) bool { return !slices.Contains(q.caller.Record.Resource, aud) }
	return q.own(platform) || len(q.parsed.Claims.Audience) > 0 && !slices.ContainsFunc(q.parsed.Claims.Audience, others)
}

// verify judges the token as a verifier of the audience does, but for what it may be bound to: who asks is not who holds it. An external
// issuer's token is judged by a verifier that accepts that issuer, as the service that is its audience may do.
func (n *Node) verify(q *tokenQuery, audience string) (*verifier.Token, error) {
	judge, err := n.judgeOf(q.parsed.Claims.Issuer)
	if err != nil {
		return nil, err
	}
	return judge.VerifyRequest(q.text, verifier.Request{Audience: audience, Confirm: func(verifier.Confirmation) bool { return true }})
}

// judgeOf returns the verifier of an issuer's tokens. Each external issuer has its own, which accepts that issuer alone, and remembers no
// tokens: of the others' there are enough.
func (n *Node) judgeOf(iss string) (*verifier.Verifier, error) {
	e := n.cfg.Keys.Keys().IssuerOf(iss)
	if e == nil || e.Record.Type != events.TypeExternal {
		return n.judge, nil
	}
	if judge, ok := n.judges.Load(e.Name); ok {
		return judge.(*verifier.Verifier), nil
	}
	judge, err := verifier.New(verifier.Config{
		Audience: n.cfg.Issuer, MaxStaleness: n.cfg.MaxStaleness, Externals: []events.Name{e.Name}, TokenCacheMemory: -1, KeyTableMemory: -1,
	}, n.cfg.Keys)
	if err == nil {
		n.judges.Store(e.Name, judge)
	}
	return judge, err
}

// undecided is the answer while the node does not know what the token is worth.
func undecided(err error) error {
	if errors.Is(err, verifier.ErrUndecided) {
		return unavailable(err.Error())
	}
	return nil
}
