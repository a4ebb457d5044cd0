package issuer

import (
	"errors"
	"fmt"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/issuer/internal/claims"
	"github.com/keyherald/keyherald/verifier/jws"
)

// Statement is what a node says to itself, or to another node, by way of a caller: such as where a list goes on. It is signed with a
// node's key, so that every node knows it for one of the platform's, and no secret is shared. It is no access token: its
// typ is another one.
type Statement struct {
	Type    string // typ, such as cursor+jwt
	Subject string // sub: whom it was made for
	Value   string // what it says; the caller can read it
	Expires time.Time
}

// typeAccessToken is the typ of an access token (RFC 9068 §2.1), which a statement must not have.
const typeAccessToken = "at+jwt"

// claimValue is the claim in which a statement has its value.
const claimValue = "val"

var (
	// ErrUnavailable: the node cannot sign, or cannot decide, now.
	ErrUnavailable = errors.New("this node cannot decide now")
	// ErrStatement: it is not a statement of the platform of that type, or it has ended.
	ErrStatement = errors.New("not a statement of this platform, or one that has ended")
)

// Sign signs a statement. The error is [ErrUnavailable] when there is no key whose lease is long enough.
func (n *Node) Sign(s Statement) (string, error) {
	now := time.Now()
	set, _, err := n.trusted(now)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if s.Type == "" || s.Type == typeAccessToken {
		return "", fmt.Errorf("sign statement: typ %q is not one of a statement", s.Type)
	}
	exp := s.Expires.Unix()
	key := n.ring.acquire(set, now, exp)
	if key == nil {
		return "", fmt.Errorf("%w: no signing key whose lease is long enough", ErrUnavailable)
	}
	var c claims.Builder
	c.String("iss", n.cfg.Issuer)
	c.String("sub", s.Subject)
	c.Int("exp", exp)
	c.String(claimValue, s.Value)
	return jws.Sign(jws.Header{Algorithm: jws.EdDSA, KeyID: string(key.kid), Type: s.Type}, c.JSON(), key)
}

// Open returns what a node of this platform has signed as a statement of a type. The errors are [ErrStatement] and [ErrUnavailable].
func (n *Node) Open(typ, text string) (Statement, error) {
	now := time.Now()
	set, _, err := n.trusted(now)
	if err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t, err := jws.Parse(text)
	if err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	key := set.Key(events.Platform, events.KeyID(t.Header.KeyID))
	if t.Claims.Issuer != n.cfg.Issuer || t.Header.Type != typ || typ == typeAccessToken || !t.Claims.HasExpiry || now.Unix() >= t.Claims.Expiry ||
		key == nil || !key.State(now).Usable() || !jws.Algorithm(key.Record.Algorithm).Same(t.Header.Algorithm) {
		return Statement{}, ErrStatement
	}
	if err := jws.Verify(jws.Algorithm(key.Record.Algorithm), key.Record.Public, t.SigningInput(), t.Signature()); err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	var obj strictjson.Object
	if err := obj.Parse(t.Payload()); err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	value, err := strictjson.String(obj.Get(claimValue))
	if err != nil {
		return Statement{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return Statement{Type: typ, Subject: t.Claims.Subject, Value: value, Expires: time.Unix(t.Claims.Expiry, 0)}, nil
}
