package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer"
	"github.com/keyherald/keyherald/registry"
)

// nodeCaller is who stands in the records that a node of the token service writes.
const nodeCaller = "issuer"

// publishLeases publishes a node's signing keys into KEYS.
func publishLeases(conn *bus.Conn) issuer.LeasePublisher {
	return func(ctx context.Context, kid events.KeyID, record []byte, replaces uint64, ttl time.Duration) (uint64, error) {
		revision, err := conn.Put(ctx, bus.Put{
			Bucket: bus.Keys, Name: events.KeyRecord(events.Platform, kid).String(), Value: record, Replaces: replaces, Caller: nodeCaller, TTL: ttl,
		})
		if errors.Is(err, bus.ErrConflict) {
			return 0, errors.Join(issuer.ErrConflict, err)
		}
		return revision, err
	}
}

// assertions is the memory of used assertions that all nodes share: the bucket ASSERTIONS, which forgets by itself.
type assertions struct{ conn *bus.Conn }

var _ issuer.ReplayMemory = assertions{}

func (m assertions) Use(ctx context.Context, client events.Name, jti string, _ time.Time) error {
	sum := sha256.Sum256([]byte(string(client) + "\n" + jti))
	name := base64.RawURLEncoding.EncodeToString(sum[:])
	_, err := m.conn.Put(ctx, bus.Put{Bucket: bus.Assertions, Name: name, Caller: nodeCaller})
	if errors.Is(err, bus.ErrConflict) {
		return issuer.ErrReplayed
	}
	return err
}

// revokeTimeout is how long the revocation of one token may take: its caller can try again.
const revokeTimeout = 5 * time.Second

// revokeTokens revokes tokens by a registry that may write revocations, whatever else.
func revokeTokens(reg *registry.Registry) issuer.TokenRevoker {
	return func(ctx context.Context, client events.Name, token events.TokenID, exp time.Time) error {
		ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
		defer cancel()
		_, err := reg.RevokeToken(ctx, registry.Caller{Name: nodeCaller + ":" + string(client)}, token, exp, "revoked by client "+string(client))
		return err
	}
}
