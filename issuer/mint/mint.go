// Package mint is what a service uses to get tokens for itself: offline, by signing them with its own private key, or
// online, from the token service.
//
// # Offline
//
// A client that is registered as offline makes its access tokens itself, with no call to anybody:
//
//	key, err := events.ParseAccessKey(text)           // as keyherald key add printed it
//	minter, err := mint.FromAccessKey(key, "https://auth.example.com")
//	token, err := minter.Token(mint.Request{Audience: []string{"https://billing"}, Scope: "billing:read"})
//
// The private key may be anywhere, in a KMS or an HSM too: [Config] takes any [crypto.Signer].
//
// Such a token has the header members alg, kid and typ "at+jwt", and the claims aud, iss, sub, client_id, iat, exp, jti and scope,
// in this order: that is, but for jti, what the SDKs of Authress mint. Its iss is <issuer>/v1/clients/<client>, and sub is
// client_id. What it asks for in scope and audience holds only as far as the client's record allows it.
//
// # Online
//
// A [Requester] asks the token service for a token, proving who it is by a key (private_key_jwt), by a token of a third party
// ([Federated], [FederatedFile]), by the TLS certificate of its connection ([Certificate]), or by an [APIKey]:
//
//	requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: "https://auth.example.com", Credential: minter})
//	token, err := requester.Token(ctx, mint.Request{Audience: []string{"https://billing"}})
//
// # Always
//
// A [Source] keeps a token for as long as it is good and gets the next one in time, offline or online. It has the shape of
// golang.org/x/oauth2; a [Transport] adds its tokens to HTTP requests, those to the services that they are for, and to no others:
//
//	source, err := mint.NewSource(mint.SourceConfig{Provider: requester, Request: mint.Request{Audience: []string{"https://billing"}}})
//	transport, err := mint.NewTransport(mint.TransportConfig{Source: source, Origins: []string{"https://billing.example.com"}})
//	client := &http.Client{Transport: transport}
//
// Nothing in this package prints, logs or returns in an error any key, API key or token.
package mint

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/internal/claims"
	"github.com/keyherald/keyherald/verifier/jws"
)

const (
	// DefaultTTL is the life of a token that is asked for without one. To mint another costs no call, so there is no reason
	// for more than the token service gives; and it is long enough to be reused by requests that follow one another.
	DefaultTTL = 15 * time.Minute
	// MaxTTL is the longest life that any verifier accepts.
	MaxTTL = events.MaxTokenTTL
)

// Config says who mints, and with what.
type Config struct {
	// Issuer is the platform's URL, such as https://auth.example.com. Required; a slash at its end is left out.
	Issuer string
	// Client is the client's name. Required.
	Client events.Name
	// KeyID is the kid under which Key is registered for the client. Required.
	KeyID events.KeyID
	// Key signs: Ed25519, ECDSA on P-256, or RSA. Required.
	Key crypto.Signer
	// Algorithm is the one that Key is registered with. Empty: EdDSA for an Ed25519 key, ES256 for one on P-256; for an RSA
	// key, RS256 or PS256 must be chosen.
	Algorithm events.Algorithm
	// Account is the account of an access key in the form of Authress; see [Minter.AccountAudience]. Optional.
	Account string
}

// Minter mints the tokens of one client. It is safe for concurrent use if its key is.
type Minter struct {
	platform  string
	issuer    string // of offline tokens: the client's URL
	client    string
	account   string
	kid       string
	algorithm jws.Algorithm
	signer    func() crypto.Signer // a function, because it may be the private key itself: see String
}

// New returns a minter.
func New(cfg Config) (*Minter, error) {
	platform := strings.TrimSuffix(cfg.Issuer, "/")
	if err := events.CheckIssuerURL("issuer", platform); err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	client, err := events.ParseName(string(cfg.Client))
	if err != nil {
		return nil, fmt.Errorf("mint: client: %w", err)
	}
	kid, err := events.ParseKeyID(string(cfg.KeyID))
	if err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	if cfg.Account != "" && !events.IsAccount(cfg.Account) {
		return nil, errors.New("mint: the account is not one of an access key")
	}
	algorithm, err := algorithmOf(cfg.Key, cfg.Algorithm)
	if err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	return &Minter{
		platform: platform, issuer: events.ClientURL(platform, client), client: string(client), account: cfg.Account,
		kid: string(kid), algorithm: algorithm, signer: func() crypto.Signer { return cfg.Key },
	}, nil
}

// FromAccessKey returns a minter for an access key, the issuer being the platform's URL.
func FromAccessKey(key events.AccessKey, issuer string) (*Minter, error) {
	if key.Private() == nil {
		return nil, errors.New("mint: the access key is empty: read one with events.ParseAccessKey")
	}
	return New(Config{Issuer: issuer, Client: key.Client, KeyID: key.KeyID, Key: key.Private(), Account: key.Account})
}

// algorithmOf returns the algorithm to sign with.
func algorithmOf(key crypto.Signer, chosen events.Algorithm) (jws.Algorithm, error) {
	if key == nil {
		return "", errors.New("no key to sign with")
	}
	public := key.Public()
	if chosen == "" {
		switch public.(type) {
		case ed25519.PublicKey:
			chosen = events.EdDSA
		case *ecdsa.PublicKey:
			chosen = events.ES256
		default:
			return "", fmt.Errorf("a key of type %T needs an Algorithm: the one that it is registered with", public)
		}
	}
	if err := events.CheckPublicKey(chosen, public); err != nil {
		return "", err
	}
	return jws.Algorithm(chosen), nil
}

// Request is what a token is to say.
type Request struct {
	// Audience is whom the token is for. An offline token needs one at least; for an online one, none means all that
	// the client is registered for.
	Audience []string
	// Scope is what the token is good for, values separated by spaces. Empty: all that the client is registered for.
	Scope string
	// TTL is the life of an offline token, in whole seconds. Zero: [DefaultTTL]; at most [MaxTTL], and verifiers refuse more
	// than the client's record says, by default an hour. The life of an online token is the token service's choice.
	TTL time.Duration
	// NoID leaves jti out of an offline token, as the SDKs of Authress do. Such a token can be revoked only by whoever
	// has its text.
	NoID bool
}

// Token mints an offline token.
func (m *Minter) Token(r Request) (string, error) {
	token, err := m.provide(context.Background(), r)
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

var _ Provider = (*Minter)(nil)

// provide needs no context: a [crypto.Signer] takes none.
func (m *Minter) provide(_ context.Context, r Request) (*Token, error) {
	if len(r.Audience) == 0 || len(r.Audience) > jws.MaxAudience {
		return nil, fmt.Errorf("mint: a token needs 1 to %d audiences: the services that it is for", jws.MaxAudience)
	}
	for _, a := range r.Audience {
		if a == "" || len(a) > events.MaxURI || !utf8.ValidString(a) {
			return nil, fmt.Errorf("mint: an audience is not text of 1 to %d bytes", events.MaxURI)
		}
	}
	if _, err := events.ParseScope(r.Scope); err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	ttl := r.TTL.Truncate(time.Second)
	if r.TTL == 0 {
		ttl = DefaultTTL
	}
	if ttl < time.Second || ttl > MaxTTL {
		return nil, fmt.Errorf("mint: a life of %v is not between a second and %v", r.TTL, MaxTTL)
	}
	iat := time.Now().Unix()
	var c claims.Builder
	c.Audience(r.Audience)
	c.String("iss", m.issuer)
	c.String("sub", m.client)
	c.String("client_id", m.client)
	c.Int("iat", iat)
	c.Int("exp", iat+int64(ttl/time.Second))
	if !r.NoID {
		c.String("jti", claims.NewID())
	}
	if r.Scope != "" {
		c.String("scope", r.Scope)
	}
	text, err := m.sign("at+jwt", &c)
	if err != nil {
		return nil, err
	}
	return &Token{AccessToken: text, Scope: r.Scope, Expires: time.Unix(iat, 0).Add(ttl)}, nil
}

func (m *Minter) sign(typ string, c *claims.Builder) (string, error) {
	token, err := jws.Sign(jws.Header{Algorithm: m.algorithm, KeyID: m.kid, Type: typ}, c.JSON(), m.signer())
	if err != nil {
		return "", fmt.Errorf("mint: %w", err)
	}
	return token, nil
}

// AccountAudience is the audience that the SDKs of Authress give to every token of an account: {account}.accounts.authress.io.
// A verifier accepts it only if it is configured to. It is empty without an account.
func (m *Minter) AccountAudience() string {
	if m.account == "" {
		return ""
	}
	return m.account + ".accounts.authress.io"
}

// String names the client and the key.
func (m *Minter) String() string { return "minter of " + m.client + " with key " + m.kid }
