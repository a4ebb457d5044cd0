package verifier

import (
	"slices"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// missing decides about something that is not in the set: on a confirmed set that is proof, else it may just not have
// arrived.
func (j *judgement) missing(proof, behind error) error {
	if j.age > upToDate {
		return behind
	}
	return proof
}

func (j *judgement) findIssuer() error {
	iss := j.token.Claims.Issuer
	if iss == "" {
		return errNoIssuer
	}
	j.issuer = j.set.IssuerOf(iss)
	if j.issuer == nil {
		return j.missing(errUnknownIssuer, errBehindIssuer)
	}
	record := j.issuer.Record
	if record.Status != events.Active {
		return errIssuerDisabled
	}
	if record.Type == events.TypeExternal && !(j.v.externals[j.issuer.Name] && slices.Contains(record.Use, events.UseAccessToken)) {
		return errIssuerNotTaken
	}
	return nil
}

func (j *judgement) checkSignature() error {
	header := &j.token.Header
	key := j.set.Key(j.issuer.Name, events.KeyID(header.KeyID))
	if key == nil {
		return j.unknownKey(header.KeyID)
	}
	j.key = key
	switch key.State(j.now) {
	case events.KeyActive, events.KeyRetiring:
	case events.KeyUnknown:
		return j.unknownKey(header.KeyID)
	case events.KeyPending:
		return errKeyPending
	case events.KeyExpired:
		if j.issuer.Record.Type == events.TypePlatform {
			return j.missing(errKeyExpired, errBehindLease)
		}
		return errKeyExpired
	default:
		return errKeyRevoked
	}
	alg := jws.Algorithm(key.Record.Algorithm) // never the token's
	if !alg.Same(header.Algorithm) {
		return errAlgorithm
	}
	if err := jws.VerifyWith(j.v.verifyEd25519, alg, key.Record.Public, j.token.SigningInput(), j.token.Signature()); err != nil {
		return malformed(err)
	}
	return nil
}

// unknownKey decides about a kid that the issuer does not have. An external issuer that publishes its keys may have a new one, which
// whoever looks after its keys has yet to fetch.
func (j *judgement) unknownKey(kid string) error {
	if j.v.reporter != nil && j.issuer.Record.JWKSURI != "" {
		if kid, err := events.ParseKeyID(kid); err == nil {
			j.v.reporter.ReportUnknownKey(j.issuer.Name, kid)
		}
	}
	return j.missing(errUnknownKey, errBehindKey)
}
