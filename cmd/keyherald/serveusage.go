package main

import (
	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/issuer/clientauth"
	"github.com/keyherald/keyherald/registry/lastuse"
)

// recordUsage returns what is to be told of every client that has proved itself, and the task that writes it down.
func recordUsage(a *app, conn *bus.Conn) (func(*clientauth.Client), task, error) {
	recorder, err := lastuse.New(lastuse.Config{Store: conn, Caller: nodeCaller, Logger: a.log})
	if err != nil {
		return nil, task{}, err
	}
	used := func(c *clientauth.Client) {
		if kind, ok := usageKind(c.Method); ok {
			recorder.Note(kind, c.Name, c.Credential)
		}
	}
	return used, task{"last use", recorder.Run}, nil
}

// usageKind is the kind of credential that a way of authentication uses, if it is one that is registered itself. Of a subject, of which
// there are as many certificates and assertions as somebody else makes, no use is noted: each would be a record for ever.
func usageKind(method string) (events.UsageKind, bool) {
	switch method {
	case clientauth.ClientSecretBasic, clientauth.ClientSecretPost:
		return events.UsedSecret, true
	case clientauth.PrivateKeyJWT, clientauth.JWTBearer:
		return events.UsedKey, true
	case clientauth.SelfSignedTLSClientAuth:
		return events.UsedCertificate, true
	}
	return "", false
}
