package verifier

import (
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Request is what there is to know of the request that brought a token. The zero value is a bearer token for this service.
type Request struct {
	// Audience takes the place of [Config.Audience]. Empty: it does not.
	Audience string
	// Confirm reports whether the caller is the holder of a bound token, such as [ByCertificate] does. Nil: it has shown nothing,
	// so that a bound token is refused. It is called after the signature was checked, at most once, and must not wait.
	Confirm func(Confirmation) bool
}

// judgement is the state of one call of Verify.
type judgement struct {
	v       *Verifier
	request Request
	set     *events.Set
	now     time.Time
	age     time.Duration // of the set's last confirmation
	token   *jws.Token
	issuer  *events.IssuerEntry
	client  *events.IssuerEntry // whose record bounds the token: the client's, or the external issuer's
	scope   events.Scope        // effective
	bound   *Confirmation
}

// Verify judges a bearer token. The error is an [*Error]; see the package comment for what it can mean. It makes no network
// call and takes no lock.
func (v *Verifier) Verify(token string) (*Token, error) { return v.VerifyRequest(token, Request{}) }

// VerifyRequest is Verify for a token whose request is known: for another audience, or with what the token may be bound to.
func (v *Verifier) VerifyRequest(token string, r Request) (*Token, error) {
	if r.Audience == "" {
		r.Audience = v.cfg.Audience
	}
	// The confirmation is read before the set, and before the clock: a set that is swapped in meanwhile is newer than it is
	// taken for. The other way round, what an old set lacks would be judged by the confirmation of the next.
	confirmed := v.feed.Confirmed()
	j := judgement{v: v, request: r, set: v.feed.Keys(), now: v.cfg.Now()}
	j.age = staleness(j.now, confirmed)
	if v.tooOld(j.age) {
		return nil, errStale
	}
	t, err := jws.Parse(token)
	if err != nil {
		return nil, malformed(err)
	}
	j.token = t
	if len(t.Header.Ignored) > 0 {
		v.cfg.Logger.Debug().Strs("header", t.Header.Ignored).Msg("token brings a key or a place of one: ignored")
	}
	if err := j.judge(); err != nil {
		return nil, err
	}
	return j.result(), nil
}

// judge makes the checks in the order of the package comment. The calls are spelt out: through function values, j would
// be allocated for every token.
func (j *judgement) judge() error {
	err := j.findIssuer()
	if err == nil {
		err = j.checkSignature()
	}
	if err == nil {
		err = j.checkType()
	}
	if err == nil {
		err = j.checkRequired()
	}
	if err == nil {
		err = j.checkAudience()
	}
	if err == nil {
		err = j.checkTimes()
	}
	if err == nil {
		err = j.findClient()
	}
	if err == nil {
		err = j.checkGrantedAudience()
	}
	if err == nil {
		err = j.checkCutOff()
	}
	if err == nil {
		err = j.checkRevoked()
	}
	if err == nil {
		err = j.limitScope()
	}
	return err
}

func (j *judgement) result() *Token {
	c := &j.token.Claims
	t := &Token{
		Issuer: c.Issuer, IssuerName: j.issuer.Name, IssuerType: j.issuer.Record.Type, Subject: c.Subject, Scope: j.scope,
		Audience: c.Audience, ID: c.ID, KeyID: events.KeyID(j.token.Header.KeyID), Expires: time.Unix(c.Expiry, 0), Confirmation: j.bound,
		payload: j.token.Payload(),
	}
	if c.HasIssuedAt {
		t.IssuedAt = time.Unix(c.IssuedAt, 0)
	}
	if j.client.Record.Type == events.TypeClient {
		t.Client = j.client.Name
	}
	return t
}
