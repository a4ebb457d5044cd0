package admin

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/registry"
)

// keyResource is a key in an answer.
type keyResource struct {
	KeyID          string `json:"keyId"`
	ClientID       string `json:"clientId"`
	GenerationDate string `json:"generationDate"`
	PublicKey      string `json:"publicKey"`           // standard base64 of the DER of a SubjectPublicKeyInfo
	AccessKey      string `json:"accessKey,omitempty"` // of a pair that was made: here and nowhere else
}

// describeKey describes a key. One whose record does not say when it was made was so when the record was written.
func describeKey(client events.Name, kid events.KeyID, record *events.Key, modified int64) keyResource {
	made := record.IssuedAt
	if made == 0 {
		made = modified
	}
	der, err := x509.MarshalPKIXPublicKey(record.Public)
	if err != nil { // a key that was admitted has a form
		der = nil
	}
	return keyResource{
		KeyID: string(kid), ClientID: string(client), GenerationDate: timeText(made), PublicKey: base64.StdEncoding.EncodeToString(der),
	}
}

// keyRequest asks for a key. Without a public one a pair is made.
type keyRequest struct {
	public    string
	algorithm events.Algorithm
}

func (k *keyRequest) member(name string, value []byte) (err error) {
	switch name {
	case "publicKey":
		k.public, err = strictjson.String(value)
	case "alg":
		var alg string
		alg, err = strictjson.String(value)
		k.algorithm = events.Algorithm(alg)
	}
	return err
}

func (a *API) serveAddKey(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "key add", registry.ScopeKeysWrite, func(ctx context.Context, req *request) (*answer, error) {
		var k keyRequest
		if err := req.readBody(k.member); err != nil {
			return nil, err
		}
		return a.addKey(ctx, req.caller, req.client(), &k)
	})
}

func (a *API) addKey(ctx context.Context, caller registry.Caller, name events.Name, k *keyRequest) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	spec := registry.KeySpec{Algorithm: k.algorithm}
	if k.public != "" {
		brought, err := registry.ParsePublicKey([]byte(k.public))
		if err != nil {
			return nil, asProblem(err)
		}
		spec.Public = brought.Public
		if spec.Algorithm == "" {
			spec.Algorithm = brought.Algorithm
		}
	}
	key, err := a.reg.AddKey(ctx, caller, name, spec)
	if err != nil {
		return nil, err
	}
	body := describeKey(name, key.KeyID, key.Record, time.Now().Unix())
	if key.AccessKey != nil {
		body.AccessKey = key.AccessKey.Reveal()
	}
	return &answer{status: http.StatusCreated, body: body}, nil
}

func (a *API) serveRevokeKey(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "key revoke", registry.ScopeKeysWrite, func(ctx context.Context, req *request) (*answer, error) {
		return a.revokeKey(ctx, req.caller, req.client(), events.KeyID(req.http.PathValue("keyId")))
	})
}

// revokeKey revokes a key that the client has or had, in whatever state it is. The registry would revoke one that is still to come, too; here
// that is more likely a typing error.
func (a *API) revokeKey(ctx context.Context, caller registry.Caller, name events.Name, kid events.KeyID) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	if a.cfg.Keys.Keys().Key(name, kid) == nil {
		return nil, notFound("the client has no key of this id")
	}
	if _, err := a.reg.RevokeKey(ctx, caller, name, kid, "revoked over HTTP"); err != nil {
		return nil, err
	}
	return &answer{status: http.StatusNoContent}, nil
}
