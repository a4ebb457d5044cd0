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

// judgement is the state of one call of Verify. It is used again for the next one: what is read of a token holds until then, and
// what is kept of it is copied (see [judgement.result]).
type judgement struct {
	v        *Verifier
	request  Request
	set      *events.Set
	now      time.Time
	age      time.Duration       // of the set's last confirmation
	token    *jws.Token          // of the reader
	platform *events.IssuerEntry // read before issuer
	issuer   *events.IssuerEntry
	key      *events.KeyEntry
	client   *events.IssuerEntry // whose record bounds the token: the client's, or the external issuer's
	bound    Confirmation

	reader jws.Reader
	place  int // in the spares
}

// Verify judges a bearer token. The error is an [*Error]; see the package comment for what it can mean. It makes no network
// call and takes no lock. The same Token may be returned for the same token later: it must not be changed.
func (v *Verifier) Verify(token string) (*Token, error) { return v.VerifyRequest(token, Request{}) }

// VerifyRequest is Verify for a token whose request is known: for another audience, or with what the token may be bound to.
func (v *Verifier) VerifyRequest(token string, r Request) (*Token, error) {
	if r.Audience == "" {
		r.Audience = v.cfg.Audience
	}
	// The confirmation is read before the set, and before the clock: a set that is swapped in meanwhile is newer than it is
	// taken for. The other way round, what an old set lacks would be judged by the confirmation of the next.
	confirmed := v.feed.Confirmed()
	set, now := v.feed.Keys(), v.cfg.Now()
	age := events.Staleness(now, confirmed)
	if v.tooOld(age) {
		return nil, v.counts.refused(errStale)
	}
	hash := v.cache.hash(token)
	if t, err := v.recall(token, hash, set, now, &r); err != nil {
		return nil, v.counts.refused(err)
	} else if t != nil {
		v.counts.recalled()
		return t, nil
	}
	j := v.judgements.take()
	defer j.release()
	j.v, j.request, j.set, j.now, j.age = v, r, set, now, age
	a, err := j.decide(token)
	if err != nil {
		return nil, v.counts.refused(err)
	}
	v.counts.accepted()
	v.cache.add(hash, a, now)
	return &a.token, nil
}

// release hands the judgement on. It must not keep a set alive that was replaced.
func (j *judgement) release() {
	v := j.v
	j.v, j.request, j.set, j.token = nil, Request{}, nil, nil
	j.platform, j.issuer, j.key, j.client = nil, nil, nil, nil
	v.judgements.give(j)
}

func (j *judgement) decide(token string) (*accepted, error) {
	v := j.v
	t, err := j.reader.Parse(token, v.headers)
	if err != nil {
		return nil, malformed(err)
	}
	j.token = t
	j.platform = j.set.Platform()
	if len(t.Header.Ignored) > 0 {
		v.cfg.Logger.Debug().Strs("header", t.Header.Ignored).Msg("token brings a key or a place of one: ignored")
	}
	for _, check := range checks {
		if err := check(j); err != nil {
			return nil, err
		}
	}
	v.headers.Add(t)
	return j.result(token)
}

// checks are made in the order of the package comment.
var checks = [...]func(*judgement) error{
	(*judgement).findIssuer,
	(*judgement).checkSignature,
	(*judgement).checkType,
	(*judgement).checkRequired,
	(*judgement).checkAudience,
	(*judgement).checkTimes,
	(*judgement).findClient,
	(*judgement).checkGrantedAudience,
	(*judgement).checkCutOff,
	(*judgement).checkRevoked,
}
