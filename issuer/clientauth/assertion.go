package clientauth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// AssertionType is the client_assertion_type of a signed assertion (RFC 7523 §2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The parameters that assertions come in, to say which one is wrong.
const (
	paramClientAssertion = "client_assertion" // RFC 7521 §4.2
	paramAssertion       = "assertion"        // RFC 7521 §4.1
)

// AssertionConfig says which assertions are accepted.
type AssertionConfig struct {
	// Issuer is the issuer identifier of this server: whom assertions that clients sign are for. Required.
	Issuer string
	// TokenEndpoint is the URL of the token endpoint, for which grants may be, too. Empty: they are for the issuer alone.
	TokenEndpoint string
	// Keys, Clients and Memory are the outside. Required.
	Keys    KeySet
	Clients ClientSource
	Memory  ReplayMemory
	// UnknownKey is told of a kid that an external issuer's assertion names and that is not in the key set, if all else that the
	// assertion says is right: the issuer may have changed its keys. The signature is not checked, so anybody who knows or
	// guesses a registered identity can cause any number of calls with any kid. It must not block. Nil: nobody is told.
	UnknownKey func(issuer events.Name, kid string)
}

// Assertions checks signed assertions. [Assertions.Method] is client authentication with one, by the client's own key or as
// a federated identity; [Assertions.Grant] is the jwt-bearer grant.
type Assertions struct {
	issuer     string
	endpoint   string
	keys       KeySet
	clients    ClientSource
	memory     ReplayMemory
	unknownKey func(issuer events.Name, kid string)
	decoys     decoys
}

// NewAssertions returns a checker of assertions.
func NewAssertions(cfg AssertionConfig) (*Assertions, error) {
	decoys, err := newDecoys()
	if err != nil {
		return nil, err
	}
	a := &Assertions{issuer: cfg.Issuer, endpoint: cfg.TokenEndpoint, keys: cfg.Keys, clients: cfg.Clients, memory: cfg.Memory,
		unknownKey: cfg.UnknownKey, decoys: decoys}
	if a.unknownKey == nil {
		a.unknownKey = func(events.Name, string) {}
	}
	return a, nil
}

// Algorithms lists what assertions may be signed with, for the metadata (RFC 8414 §2).
func (*Assertions) Algorithms() []string {
	var names []string
	for _, a := range jws.Algorithms() {
		names = append(names, string(a))
	}
	return names
}

// Method is client authentication with an assertion (RFC 7521 §4.2, RFC 7523 §3). Its name is private_key_jwt; that of a federated
// identity has none of its own in the registry of names, and the audit log calls it federated.
func (a *Assertions) Method() Method { return assertionMethod{a} }

type assertionMethod struct{ assertions *Assertions }

var _ Method = assertionMethod{}

func (assertionMethod) Name() string { return PrivateKeyJWT }

// Presented reports whether there is any part of an assertion.
func (assertionMethod) Presented(r *Request) bool { return r.Assertion != "" || r.AssertionType != "" }

// Authenticate tells the two kinds apart by what iss looks like, and not by what is registered: clients have names, and
// external issuers URLs.
func (m assertionMethod) Authenticate(ctx context.Context, r *Request) (*Client, error) {
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
		return nil, unreadable(InvalidClient, paramClientAssertion, err, claimed(r.ClientID))
	}
	var client *Client
	if strings.Contains(token.Claims.Issuer, "://") {
		client, err = m.assertions.federated(token, r)
	} else {
		client, err = m.assertions.clientSigned(ctx, token, r)
	}
	return client, ofAssertion(err, token)
}

// unreadable refuses what is no assertion. What may be told of it is its kind of mistake.
func unreadable(code Code, param string, err error, who events.Name) *Error {
	description := param + ": not a signed token of the accepted form"
	var e *jws.Error
	if errors.As(err, &e) {
		description += " (" + string(e.Reason) + ")"
	}
	return &Error{Code: code, Description: description, Reason: err.Error(), Claimed: who}
}

// unfit refuses an assertion for what its text shows.
func unfit(code Code, param, problem string, who events.Name) *Error {
	return &Error{Code: code, Description: param + ": " + problem, Reason: "assertion: " + problem, Claimed: who}
}

// checkClock checks when an assertion, of whomever, is good.
func checkClock(c *jws.Claims, now time.Time) string {
	switch {
	case !c.HasExpiry:
		return "exp is required"
	case !now.Before(time.Unix(c.Expiry, 0).Add(leeway)):
		return "it has expired"
	case c.HasNotBefore && now.Add(leeway).Before(time.Unix(c.NotBefore, 0)):
		return "it is not valid yet (nbf)"
	case c.HasIssuedAt && now.Add(leeway).Before(time.Unix(c.IssuedAt, 0)):
		return "iat is in the future"
	}
	return ""
}

// checkTimes bounds the assertion's life on both ends, also if it has no iat (which RFC 7523 leaves optional).
func checkTimes(c *jws.Claims, now time.Time, life time.Duration) string {
	if problem := checkClock(c, now); problem != "" {
		return problem
	}
	exp := time.Unix(c.Expiry, 0)
	issued := issuedAt(c, life)
	switch {
	case now.Add(leeway).Before(issued):
		return fmt.Sprintf("exp is too far away: it may live for %.0f minutes", life.Minutes())
	case exp.Sub(issued) > life:
		// With what is above this bounds its age, too.
		return fmt.Sprintf("it lives too long: exp may be %.0f minutes after iat", life.Minutes())
	}
	return ""
}

// issuedAt is when the assertion was made, or the earliest moment at which it can have been.
func issuedAt(c *jws.Claims, life time.Duration) time.Time {
	if c.HasIssuedAt {
		return time.Unix(c.IssuedAt, 0)
	}
	return time.Unix(c.Expiry, 0).Add(-life)
}

// checkSigner returns the record of the client that signed, or why there is none.
func (a *Assertions) checkSigner(t *jws.Token, name events.Name, now time.Time, life time.Duration) (*events.Issuer, string) {
	set := a.keys.Keys()
	record, reason := activeClient(set, name)
	if record != nil && record.NotBefore != 0 && issuedAt(&t.Claims, life).Unix() <= record.NotBefore {
		reason = oldForClient
	}
	if problem := a.checkSignature(set, t, name, now); reason == "" {
		reason = problem
	}
	if reason != "" {
		return nil, reason
	}
	return record, ""
}

// Reasons that more than one kind of assertion is refused for.
const (
	oldForClient = "assertion from before the client's not_before"
	unknownKey   = "unknown key"
)

// checkSignature returns why an assertion is not signed by a key of the issuer of that name, or "". One signature is checked
// whatever the issuer and its key are.
func (a *Assertions) checkSignature(set *events.Set, t *jws.Token, issuer events.Name, now time.Time) string {
	alg, public, problem := a.keyOrDecoy(set, t, issuer, now)
	if err := jws.Verify(alg, public, t.SigningInput(), t.Signature()); err != nil && problem == "" {
		return "wrong signature"
	}
	return problem
}

// keyOrDecoy returns the key to check a signature with: that of signerKey or, if there is a problem with it, a decoy.
func (a *Assertions) keyOrDecoy(set *events.Set, t *jws.Token, issuer events.Name, now time.Time) (jws.Algorithm, crypto.PublicKey, string) {
	alg, public, problem := signerKey(set, t, issuer, now)
	if problem != "" {
		return t.Header.Algorithm, a.decoys[t.Header.Algorithm], problem
	}
	return alg, public, ""
}

// signerKey returns the key that the assertion names, with its one algorithm, or why it is none that may sign.
func signerKey(set *events.Set, t *jws.Token, name events.Name, now time.Time) (alg jws.Algorithm, key crypto.PublicKey, problem string) {
	entry := set.Key(name, events.KeyID(t.Header.KeyID))
	if entry == nil {
		return "", nil, unknownKey
	}
	if state := entry.State(now); !state.Usable() {
		return "", nil, state.String() + " key"
	}
	if alg = jws.Algorithm(entry.Record.Algorithm); !t.Header.Algorithm.Same(alg) {
		return "", nil, "algorithm of another kind of key"
	}
	return alg, entry.Record.Public, ""
}

// use takes the assertion's jti, so that it is accepted once. The two parameters share one memory: what was used as one is used up
// as the other.
func (a *Assertions) use(ctx context.Context, name events.Name, c *jws.Claims, code Code, param string) error {
	ctx, cancel := context.WithTimeout(ctx, memoryTimeout)
	defer cancel()
	err := a.memory.Use(ctx, name, c.ID, time.Unix(c.Expiry, 0).Add(leeway))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReplayed):
		return &Error{Code: code, Claimed: name, Reason: "assertion: replayed", err: err,
			Description: param + ": it was used before: make one for each request"}
	}
	return &Error{Code: Unavailable, Claimed: name, Reason: "assertion: replay memory: " + err.Error(), err: err,
		Description: "it could not be found out whether the " + param + " is new: try again with another one, or use an API key"}
}
