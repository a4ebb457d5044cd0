package issuer

import (
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/internal/claims"
	"github.com/keyherald/keyherald/verifier/jws"
)

// accessToken is a token that was issued, with what the audit log says of it.
type accessToken struct {
	text []byte
	kid  events.KeyID
	id   string // jti
	exp  int64
}

// issue signs an access token (RFC 9068 §2) for what was granted.
func (n *Node) issue(set *events.Set, g *grant, now time.Time) (*accessToken, error) {
	iat := now.Unix()
	exp := iat + int64(g.ttl/time.Second)
	key := n.ring.acquire(set, now, exp)
	if key == nil {
		return nil, unavailable("no signing key whose lease is long enough")
	}
	id := claims.NewID()
	room := n.rooms.get()
	defer n.rooms.put(room)
	text, err := signAccessToken(room, key, n.cfg.Issuer, g, iat, exp, id)
	var tooLarge *jws.Error
	if errors.As(err, &tooLarge) && tooLarge.Reason == jws.ReasonSize {
		return nil, errTokenSize
	}
	if err != nil {
		return nil, err
	}
	return &accessToken{text: text, kid: key.kid, id: id, exp: exp}, nil
}

// signAccessToken assembles the claims and signs them. A token of a client is about the client
// itself: sub is client_id (RFC 9068 §2.2). All of it was validated: as a record, or against one.
func signAccessToken(room *room, key *signingKey, issuer string, g *grant, iat, exp int64, id string) ([]byte, error) {
	c := claims.In(room[:])
	c.String("iss", issuer)
	c.String("sub", string(g.client))
	c.Audience(g.audience)
	c.String("client_id", string(g.client))
	c.Int("iat", iat)
	c.Int("exp", exp)
	c.String("jti", id)
	c.String("scope", g.scope)
	c.Certificate(g.certificate)
	return key.tokens.AppendValid(nil, c.JSON())
}
