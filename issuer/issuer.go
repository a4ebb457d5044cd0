// Package issuer is the OAuth 2.0 token service of keyherald: it turns a service client's credential into an access token.
//
// # What it promises
//
//   - A token never says more than the client's record does: not its audience, not its scope, not its life, and not after
//     the client was disabled. The token service decides from its own live copy of the records, and answers nothing
//     when that copy may be old (503, [Config.MaxStaleness]).
//   - Each node signs with a key of its own, made in memory, that never leaves it. What the node publishes is the public
//     half, with a lease: an exp that it moves on while it runs. A token ends at least a minute before the lease of its key
//     does, as the node sees it come back in its own copy of the records; so every token that was issued can be verified
//     until it ends, whatever happens to the node. Nodes need no leader and share no secret.
//   - A key is used one second after it came back, so that verifiers have it before the first token. A new key takes over
//     before the old one stops. A node that stops shortens its lease to the end of its last token.
//   - A node can be given a key instead ([Config.SigningKey]), and several nodes the same one. The lease of such a key is renewed by
//     whoever comes first, and shortened by nobody: it ends two hours after the last node that has the key.
//   - What a caller may learn from a refusal is what package clientauth says; the reason goes to the audit log, one
//     line for each token issued or refused, with no secret in it.
//
// # Wiring
//
// The outside comes in through the interfaces of [Config]; nothing here knows NATS.
//
//	node, err := issuer.New(issuer.Config{Issuer: "https://auth.example.com", Keys: keys, …})
//	go node.Run(ctx)                        // keeps the key's lease; after ctx is done, shortens it
//	http.Handle("/", node.Handler())        // endpoints, under the path of the issuer's URL
//
// Who sent a request, and which certificate it showed, is what the connection says. Behind a proxy that ends TLS, wrap the handler in
// that of package peer.
//
// A client that has authenticated with a certificate ([Config.Certificates]) gets tokens that are bound to it (cnf.x5t#S256, RFC 8705
// §3): they are good for nobody who has not its private key, too. A client that shows a certificate and uses another credential gets
// bearer tokens: the certificate may be that of a sidecar, which others share.
//
// # Endpoints
//
//	POST /oauth/token                              client_credentials (RFC 6749 §4.4), jwt-bearer (RFC 7523 §2.1), resource (RFC 8707)
//	POST /api/authentication/oauth/tokens          the same for the SDKs of Authress, as JSON too
//	POST /oauth/introspect                         what a token is worth now (RFC 7662), for its client and its audience
//	POST /oauth/revoke                             the end of a token, everywhere (RFC 7009), for its client or its only audience
//	GET  /.well-known/oauth-authorization-server   metadata (RFC 8414), also as /.well-known/openid-configuration
//	GET  /.well-known/jwks.json                    the nodes' keys, also as /.well-known/openid-configuration/jwks
//	GET  /v1/clients/{name}/.well-known/…          metadata and keys of a client that mints offline tokens
//	GET  /healthz, /readyz                         liveness, readiness
package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/clientauth"
	"github.com/keyherald/keyherald/verifier"
)

// KeySet is the node's own live copy of KEYS.
type KeySet interface {
	// Keys returns the set of now. A later call may return another one.
	Keys() *events.Set
	// Revocations returns the set of revoked tokens.
	Revocations() *events.Revocations
	// Confirmed is when both were last known to be complete; zero: never.
	Confirmed() time.Time
}

// ClientSource is the node's own live copy of CLIENTS.
type ClientSource interface {
	// Client returns the record of a client, or nil. It is not changed after it was returned.
	Client(events.Name) *events.Client
	// Confirmed is when the copy was last known to be complete; zero: never.
	Confirmed() time.Time
}

// ReplayMemory remembers, for all nodes, which client assertions were used.
type ReplayMemory = clientauth.ReplayMemory

// ErrReplayed is what a [ReplayMemory] says of an assertion that was used before.
var ErrReplayed = clientauth.ErrReplayed

// ErrConflict is what a [LeasePublisher] returns, wrapped or not, when the record has another revision than the one to
// replace.
var ErrConflict = errors.New("the record of the signing key was changed by someone else")

// LeasePublisher writes the record key.platform.<kid> in KEYS, the bucket keeping it for ttl, and returns its revision.
// It is a compare-and-set: replaces is the revision of the record's last message, zero if there must be none; otherwise
// nothing is written and the error is [ErrConflict]. When it returns nil the record is safe from loss. After any other
// error the record may or may not have been written. The node calls it from one goroutine at a time.
type LeasePublisher func(ctx context.Context, kid events.KeyID, record []byte, replaces uint64, ttl time.Duration) (revision uint64, err error)

// TokenRevoker revokes a token, which ends at exp, on behalf of a client. When it returns nil the revocation is safe from loss, and on
// its way to every verifier. A token that is revoked already is no error. After an error it may or may not be revoked.
type TokenRevoker func(ctx context.Context, client events.Name, token events.TokenID, exp time.Time) error

// Config says how a node works.
type Config struct {
	// Issuer is the platform's iss, as its record has it: an https URL without a slash at its end. Required.
	Issuer string
	// Keys, Clients, Leases, Assertions and Revoke are the outside. Required.
	Keys       KeySet
	Clients    ClientSource
	Leases     LeasePublisher
	Assertions ReplayMemory
	Revoke     TokenRevoker
	// Certificates says whether clients can show certificates here: by TLS with tls.RequestClientCert, or through a proxy. False:
	// nobody authenticates with one.
	Certificates bool
	// Authorities returns those whose certificates are accepted by their subject, as they are now. Nil: there are none, and
	// certificates are accepted by their digest alone.
	Authorities func() *x509.CertPool
	// MaxStaleness is how long ago the records may have been confirmed complete for the node to answer. Zero: an hour;
	// negative: any time.
	MaxStaleness time.Duration
	// UnknownKey is told of a kid of an external issuer that an assertion names and that is not in Keys; see
	// [clientauth.AssertionConfig]. Nil: nobody is told.
	UnknownKey func(issuer events.Name, kid string)
	// TokenTTL is the life of an access token, unless the client's record says less. Zero: 15 minutes; at most an hour.
	TokenTTL time.Duration
	// KeyRotation is the age at which the signing key is replaced. Zero: a day; at least 10 minutes.
	KeyRotation time.Duration
	// SigningKey is an Ed25519 key to sign with. Its record has a lease as any other; several nodes may have the same key, and keep the
	// one record together. It is never replaced, whatever KeyRotation says. Sign is called by several goroutines. Nil: the node makes
	// keys of its own, in memory.
	SigningKey crypto.Signer
	// Used is told of each client that has proved itself, while its request waits: it must not block. Nil: nobody is told.
	Used func(*clientauth.Client)
	// Metrics counts what the node does. Nil: nothing does.
	Metrics *Metrics
	// Logger gets the audit log, and what happens to the signing key. The zero value is silent.
	Logger zerolog.Logger
}

// Node is one node of the token service.
type Node struct {
	cfg        Config
	path       string // of the issuer's URL: empty, or with a slash before and none after it
	auth       *clientauth.Authenticator
	assertions *clientauth.Assertions
	judge      *verifier.Verifier
	judges     sync.Map // *verifier.Verifier of an external issuer, by its name
	throttle   *throttle
	ring       keyring
	rooms      rooms
	handler    http.Handler
	patterns   []string // of handler
	started    atomic.Bool
}

// New returns a node, which is not ready before [Node.Run] runs.
func New(cfg Config) (*Node, error) {
	path, err := issuerPath(cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if cfg.Keys == nil || cfg.Clients == nil || cfg.Leases == nil || cfg.Assertions == nil || cfg.Revoke == nil {
		return nil, errors.New("issuer: Keys, Clients, Leases, Assertions and Revoke are required")
	}
	if err := cfg.setDefaults(); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	n := &Node{cfg: cfg, path: path}
	n.cfg.SigningKey = nil // the key ring hides it
	n.ring = keyring{
		keys: cfg.Keys, publish: cfg.Leases, mayMake: n.checkPlatform, generate: newSigningKey, rotation: cfg.KeyRotation, log: cfg.Logger,
	}
	if cfg.SigningKey != nil {
		key, err := wrap(cfg.SigningKey)
		if err != nil {
			return nil, fmt.Errorf("issuer: %w", err)
		}
		n.ring.fixed = newSharedLease(key)
	}
	n.assertions, err = clientauth.NewAssertions(clientauth.AssertionConfig{
		Issuer: cfg.Issuer, TokenEndpoint: cfg.Issuer + pathToken, Keys: cfg.Keys, Clients: cfg.Clients, Memory: cfg.Assertions,
		UnknownKey: cfg.UnknownKey,
	})
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	secrets := clientauth.NewSecrets(cfg.Keys, cfg.Clients)
	methods := []clientauth.Method{secrets.Basic(), secrets.Post(), n.assertions.Method()}
	if cfg.Certificates {
		methods = append(methods, clientauth.NewMutualTLS(cfg.Keys, cfg.Clients, cfg.Authorities))
	}
	n.auth = clientauth.New(methods...)
	// It is asked for the audience of each token; without one it would be for nobody but this server.
	if n.judge, err = verifier.New(verifier.Config{Audience: cfg.Issuer, MaxStaleness: cfg.MaxStaleness}, cfg.Keys); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if n.throttle, err = newThrottle(); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	n.handler = n.routes()
	return n, nil
}

func (c *Config) setDefaults() error {
	if c.MaxStaleness == 0 {
		c.MaxStaleness = defaultStaleness
	}
	if c.TokenTTL == 0 {
		c.TokenTTL = defaultTokenTTL
	}
	if c.TokenTTL < time.Second || c.TokenTTL > MaxTokenTTL {
		return fmt.Errorf("TokenTTL %v is not between a second and %v: a token must end before the lease of its key", c.TokenTTL, MaxTokenTTL)
	}
	if c.KeyRotation == 0 {
		c.KeyRotation = defaultRotation
	}
	if c.KeyRotation < MinKeyRotation {
		return fmt.Errorf("KeyRotation %v is less than %v", c.KeyRotation, MinKeyRotation)
	}
	return nil
}

// issuerPath checks the issuer's URL and returns its path.
func issuerPath(issuer string) (string, error) {
	if err := events.CheckIssuerURL("URL", issuer); err != nil {
		return "", err
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return "", fmt.Errorf("issuer is not a URL: %w", err)
	}
	if strings.HasSuffix(issuer, "/") {
		return "", errors.New("issuer URL ends with a slash: leave it out, what comes after it begins with one")
	}
	for _, segment := range strings.Split(u.EscapedPath(), "/") {
		if segment == "." || segment == ".." || strings.Trim(segment, pathCharacters) != "" {
			return "", errors.New("issuer URL has a path of other characters than A-Z a-z 0-9 - . _ ~")
		}
	}
	if strings.Contains(u.Path, "//") {
		return "", errors.New("issuer URL has an empty path segment")
	}
	return u.Path, nil
}

// pathCharacters are the unreserved ones of RFC 3986 §2.3: they have one spelling.
const pathCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// Run keeps the lease of the node's signing key until ctx is done; then it shortens the lease to the end of the last
// token and returns nil. Stop serving requests before: the node is not ready any more from then on. Run may be called
// once.
func (n *Node) Run(ctx context.Context) error {
	if n.started.Swap(true) {
		return errors.New("issuer: Run was called twice: its key is gone, make a new node")
	}
	n.ring.run(ctx)
	return nil
}

// Handler returns the endpoints. They live under the path of the issuer's URL.
func (n *Node) Handler() http.Handler { return n.handler }
