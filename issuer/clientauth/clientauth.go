// Package clientauth finds out which service client a request to the token endpoint comes from.
//
// A client proves itself with a credential; each kind of credential is a [Method] in a file of its own:
//
//	client_secret_basic  an API key in the Authorization header (RFC 6749 §2.3.1)
//	client_secret_post   an API key in the form (RFC 6749 §2.3.1)
//	private_key_jwt      an assertion, signed with a registered key (RFC 7523 §2.2), or a federated identity
//	tls_client_auth, self_signed_tls_client_auth
//	                     a certificate, shown in the TLS handshake (RFC 8705 §2)
//
// A request has to use exactly one of them. To say who one is, client_id alone, proves nothing and is refused. A certificate counts
// only if nothing else is there to authenticate with, see [MutualTLS].
//
// # Assertions
//
// All are checked in the same order: what the text alone shows, then the records, then one signature, then, for those that are used once,
// the replay memory. What differs:
//
//	           private_key_jwt          federated                      jwt-bearer grant
//	sent as    client_assertion         client_assertion + client_id   assertion
//	iss        the client               the external issuer            the client
//	sub        the client               a registered identity          the client
//	aud        the issuer, alone        the registered one, alone      the issuer or the token endpoint, no other
//	typ        client-authentication+jwt, JWT or none; federated JOSE, too; the grant only JWT or none
//	life       5 minutes                max_token_ttl of the issuer    an hour
//	jti        once, required           not looked at                  once if there; require_jti of the client
//
// What aud may be: an assertion that is also for somebody else can be passed on by whoever that is. RFC 7523 §3 would let it be one of
// several; draft-ietf-oauth-rfc7523bis §4 asks for the issuer identifier as sole value. The aud of a federated
// identity is registered, because it cannot always be chosen, and it must be the sole value all the same: a Kubernetes
// token or a JWT-SVID, which may have several, has to be requested for this server alone.
//
// # Federated identities
//
// A workload that has a token of a third party (a Kubernetes service account, a GitHub Actions job, a JWT-SVID with an iss) sends it with
// client_id. It is accepted if CLIENTS has that issuer, subject and audience for the client, the issuer's record is active and has the
// use assertion, and the token is signed with a key of the set; keys are never fetched while a request waits.
//
// Such a token is used many times by design, for as long as it lives, and mostly has no jti: it is not remembered. So whoever gets hold
// of it, here or on its way, is the client until it ends, for max_token_ttl of the issuer's record at most. To end it sooner, disable
// the issuer or the client, or remove the identity; all of these count at once.
//
// A kid that is not in the set is told to [AssertionConfig.UnknownKey], so that the issuer's keys can be looked for; the answer is the
// same refusal as every other. "Try again" would say that there is such an identity, and would not count as a failed attempt where
// those are limited; and the client may send the same token again anyway.
//
// # What a caller learns
//
// What is wrong with the request itself, such as an assertion for somebody else or one that has ended, is said in plain
// words: it depends on nothing that the caller does not know. All else, such as an unknown client, a disabled one, an unknown,
// wrong, expired or revoked key, or an unknown issuer, is one message, in the time that one signature, one hash or one chain of
// certificates takes, so that nobody can find out which clients and keys exist. The reason is in [Error.Reason], for the log.
package clientauth

import (
	"context"
	"crypto/x509"
	"slices"
	"time"

	"github.com/keyherald/keyherald/events"
)

// KeySet is the live set of issuers and keys.
type KeySet interface {
	// Keys returns the set of now. It is asked once for each request.
	Keys() *events.Set
}

// ClientSource is the live set of CLIENTS: how clients may authenticate.
type ClientSource interface {
	// Client returns the record of a client, or nil. It is not changed after it was returned.
	Client(events.Name) *events.Client
}

// Request is what a request says about who sends it. An empty string is a parameter that was not sent: a parameter
// without a value counts as omitted (RFC 6749 §3.2).
type Request struct {
	Authorization []string // the values of all Authorization headers
	ClientID      string   // client_id
	Secret        string   // client_secret
	AssertionType string   // client_assertion_type
	Assertion     string   // client_assertion
	// Certificates is what the sender showed in the TLS handshake, its own first. Whoever fills this in vouches that the sender has
	// proved to have the private key of the first, and for nothing else: who signed it, and when it ends, is checked here.
	Certificates []*x509.Certificate
}

// Client is a client that has proved itself.
type Client struct {
	Name events.Name
	// Record is the client's record as it was when the credential was checked: active, and of type client.
	Record *events.Issuer
	// Method and Credential, the id of the API key, the kid, the thumbprint, or issuer and sub of a federated identity, are for the
	// audit log.
	Method     string
	Credential string
	// Certificate is the thumbprint (x5t#S256) of the certificate with which the client has proved itself, to which its tokens are
	// bound (RFC 8705 §3). Empty: it has used another credential.
	Certificate string
}

// Recheck returns the client's record as it is now, or why the client would not be authenticated any more: the replay memory may have
// taken seconds, in which the client was disabled or its key revoked. Every error is an [*Error].
func (c *Client) Recheck(set *events.Set, now time.Time) (*events.Issuer, error) {
	record, reason := activeClient(set, c.Name)
	if reason == "" && (c.Method == PrivateKeyJWT || c.Method == JWTBearer) {
		if entry := set.Key(c.Name, events.KeyID(c.Credential)); entry == nil || !entry.State(now).Usable() {
			reason = "the key ended while the assertion was checked"
		}
	}
	if reason != "" {
		refused := refuse(c.Name, reason)
		refused.Method = c.Method
		return nil, refused
	}
	return record, nil
}

// Method is one way to authenticate. Its methods are safe for concurrent use.
type Method interface {
	// Name is the method's registered name (RFC 7591 §2, token_endpoint_auth_method).
	Name() string
	// Presented reports whether the request tries this method, well or badly.
	Presented(*Request) bool
	// Authenticate checks the credential. Every error is an [*Error].
	Authenticate(context.Context, *Request) (*Client, error)
}

// Authenticator tries the methods that are offered.
type Authenticator struct{ methods []Method }

// New returns an authenticator that offers the given methods.
func New(methods ...Method) *Authenticator { return &Authenticator{methods} }

// Names lists the names of the methods, for the metadata.
func (a *Authenticator) Names() []string {
	var names []string
	for _, m := range a.methods {
		if several, ok := m.(interface{ Names() []string }); ok {
			names = append(names, several.Names()...)
			continue
		}
		names = append(names, m.Name())
	}
	return names
}

// Authenticate returns the client that the request comes from. Every error is an [*Error].
func (a *Authenticator) Authenticate(ctx context.Context, r *Request) (*Client, error) {
	method, err := a.choose(r)
	if err == nil {
		var client *Client
		var cause error
		if client, cause = method.Authenticate(ctx, r); cause == nil {
			return client, nil
		}
		err = asError(cause, method.Name())
	}
	err.Challenge = len(r.Authorization) > 0
	return nil, err
}

// Tried reports whether a request has any client authentication, well or badly: not if it has no more than a client_id. A certificate may
// be that of a sidecar and does not count beside a grant that proves who asks.
func (a *Authenticator) Tried(r *Request) bool {
	without := *r
	without.Certificates = nil
	r = &without
	return len(r.Authorization) > 0 || slices.ContainsFunc(a.methods, func(m Method) bool { return m.Presented(r) })
}

// choose returns the one method that the request uses.
func (a *Authenticator) choose(r *Request) (Method, *Error) {
	var tried []Method
	for _, m := range a.methods {
		if m.Presented(r) {
			tried = append(tried, m)
		}
	}
	foreign := len(r.Authorization) > 0 && !hasBasic(r)
	switch {
	case len(r.Authorization) > 1:
		return nil, invalidRequest("more than one Authorization header: send one")
	case len(tried) > 1 || len(tried) == 1 && foreign: // RFC 6749 §2.3
		return nil, invalidRequest("more than one way of client authentication: use one")
	case len(tried) == 1:
		return tried[0], nil
	case foreign:
		return nil, &Error{Code: InvalidClient, Reason: "unknown authorization scheme", Claimed: claimed(r.ClientID),
			Description: "this Authorization scheme is not for client authentication: use Basic"}
	case r.ClientID == "" && len(r.Certificates) > 0:
		return nil, &Error{Code: InvalidClient, Reason: "certificate without client_id",
			Description: "to authenticate with a certificate, send client_id with it (RFC 8705 section 2)"}
	case r.ClientID != "":
		return nil, &Error{Code: InvalidClient, Reason: "client_id without a credential", Claimed: claimed(r.ClientID),
			Description: "client_id alone proves nothing, and no certificate came with it: " + whatToSend}
	}
	return nil, &Error{Code: InvalidClient, Reason: "no credential",
		Description: "no client authentication: " + whatToSend}
}

const whatToSend = "send an API key as client_secret, or a client_assertion signed with a registered key"

// activeClient returns the record of an active client, or nil and why there is none.
func activeClient(set *events.Set, name events.Name) (record *events.Issuer, reason string) {
	entry := set.Issuer(name)
	switch {
	case entry == nil:
		return nil, "unknown client"
	case entry.Record.Type != events.TypeClient:
		return nil, "not a client"
	case entry.Record.Status != events.Active:
		return nil, "disabled client"
	}
	return entry.Record, ""
}

// claimed is the client that an unproved text names, or empty: what is no name does not get into a log.
func claimed(id string) events.Name {
	name, err := events.ParseName(id)
	if err != nil {
		return ""
	}
	return name
}
