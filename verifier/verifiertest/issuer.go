package verifiertest

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Issuer is a [*Client] or an [*External]: whose key can be revoked, and who can be disabled.
type Issuer interface{ self() party }

// party is somebody with a key, registered or not.
type party struct {
	kit *Kit
	iss string
	key events.AccessKey // external issuers have none in production; here it only keeps the parts together
}

func (p party) self() party { return p }

// Client is a service client with one key.
type Client struct{ party }

// Client registers a service client that may mint its own tokens, and its key. Without options its record grants no scope, and
// the audience of the kit.
func (k *Kit) Client(name events.Name, grants ...Grant) *Client {
	k.t.Helper()
	return &Client{k.register(name, &events.Issuer{Type: events.TypeClient, Offline: true}, grants...)}
}

// Stranger returns a client that makes tokens as all others do, but is not registered.
func (k *Kit) Stranger(name events.Name) *Client {
	k.t.Helper()
	return &Client{k.party(name, events.ClientURL(PlatformURL, name))}
}

// AccessKey is the client's private credential, for a service under test that mints its own tokens (package issuer/mint, with
// [PlatformURL] as the issuer). Those are made by the clock of the machine, which Advance does not move.
func (c *Client) AccessKey() events.AccessKey { return c.key }

// External is an issuer other than the platform and its clients, such as the identity provider of users.
type External struct{ party }

// External registers an external issuer of access tokens, and its key. The service takes them only if its [verifier.Config.Externals]
// names it: New was to be told. Without options the issuer's record grants no scope, and the audience of the kit.
func (k *Kit) External(name events.Name, grants ...Grant) *External {
	k.t.Helper()
	if !slices.Contains(k.cfg.Externals, name) {
		k.t.Fatalf("verifiertest: tokens of %s would all be refused: name it in the Externals of New's configuration", name)
	}
	iss := "https://external.test/" + string(name)
	return &External{k.register(name, &events.Issuer{Type: events.TypeExternal, Iss: iss, Use: []string{events.UseAccessToken}}, grants...)}
}

// RevokeKey revokes the issuer's key, for ever: tokens that it has signed are refused, and those that it signs from now on. Online tokens
// are not signed by it.
func (k *Kit) RevokeKey(of Issuer) {
	k.t.Helper()
	key := of.self().key
	what := "revoke the key of " + string(key.Client)
	if k.feed.keys.Key(key.Client, key.KeyID) == nil {
		k.t.Fatalf("verifiertest: %s: it was never registered: revoke that of the client which Client or External has returned", what)
	}
	value, err := (&events.KeyRevocation{RevokedAt: k.Now().Unix(), Reason: "revoked by the test"}).Encode()
	k.check(what, err)
	k.feed.put(events.RevokedRecord(key.Client, key.KeyID), value)
}

// Disable disables the issuer: all of its tokens are refused, of a client the online ones, too.
func (k *Kit) Disable(issuer Issuer) {
	k.t.Helper()
	name := issuer.self().key.Client
	k.check("disable "+string(name), k.feed.change(name, func(record *events.Issuer) {
		record.Status = events.Disabled
	}))
}

// RevokeToken revokes a single token.
func (k *Kit) RevokeToken(token string) {
	k.t.Helper()
	parsed, err := jws.Parse(token)
	k.check("revoke a token", err)
	value, err := (&events.TokenRevocation{Expires: parsed.Claims.Expiry, Reason: "revoked by the test"}).Encode()
	k.check("revoke a token", err)
	k.feed.revoke(verifier.TokenID(parsed), value)
}

// register writes the records of an issuer and of its key.
func (k *Kit) register(name events.Name, record *events.Issuer, grants ...Grant) party {
	k.t.Helper()
	what := "register " + string(name)
	record.Status = events.Active
	if record.Type != events.TypePlatform {
		record.Audience = []string{k.cfg.Audience}
	}
	iss := record.Iss
	if record.Type == events.TypeClient {
		iss = events.ClientURL(PlatformURL, name)
	}
	for _, g := range grants {
		k.check(what, g.record(record))
	}
	p := k.party(name, iss)
	value, err := record.Encode()
	k.check(what, err)
	k.check(what, k.feed.create(name, value))
	value, err = (&events.Key{Algorithm: events.EdDSA, Public: p.key.Private().Public()}).Encode(p.key.KeyID)
	k.check(what, err)
	k.feed.put(events.KeyRecord(name, p.key.KeyID), value)
	return p
}

// party makes a key.
func (k *Kit) party(name events.Name, iss string) party {
	k.t.Helper()
	what := "make a key of " + string(name)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	k.check(what, err)
	kid, err := events.Thumbprint(public)
	k.check(what, err)
	key, err := events.NewAccessKey(name, events.KeyID(kid), Account, private)
	k.check(what, err)
	return party{k, iss, key}
}

// check fails the test if there is an error, in what the test was about to do.
func (k *Kit) check(what string, err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("verifiertest: %s: %v", what, err)
	}
}
