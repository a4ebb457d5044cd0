package clientauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

// The registered names of the two ways to send an API key (RFC 7591 §2).
const (
	ClientSecretBasic = "client_secret_basic"
	ClientSecretPost  = "client_secret_post"
)

// Secrets checks API keys against the hashes in CLIENTS.
type Secrets struct {
	keys    KeySet
	clients ClientSource
}

// NewSecrets returns a checker of API keys. [Secrets.Basic] and [Secrets.Post] are the two ways to send one.
func NewSecrets(keys KeySet, clients ClientSource) *Secrets { return &Secrets{keys, clients} }

// Basic is client_secret_basic: client id and API key as user and password of an Authorization header.
func (s *Secrets) Basic() Method { return secretBasic{s} }

// Post is client_secret_post: the API key as client_secret in the form. The client_id may be left out, because an API
// key names its client.
func (s *Secrets) Post() Method { return secretPost{s} }

type secretBasic struct{ secrets *Secrets }

func (secretBasic) Name() string              { return ClientSecretBasic }
func (secretBasic) Presented(r *Request) bool { return hasBasic(r) }

func (b secretBasic) Authenticate(_ context.Context, r *Request) (*Client, error) {
	id, secret, ok := parseBasic(r.Authorization[0])
	if !ok {
		return nil, refuse("", "malformed Basic credentials")
	}
	if r.ClientID != "" && r.ClientID != id {
		return nil, refuse(claimed(id), "client_id differs from the user of the Authorization header")
	}
	return b.secrets.check(b.Name(), secret, &id)
}

type secretPost struct{ secrets *Secrets }

func (secretPost) Name() string              { return ClientSecretPost }
func (secretPost) Presented(r *Request) bool { return r.Secret != "" }

func (p secretPost) Authenticate(_ context.Context, r *Request) (*Client, error) {
	if r.ClientID == "" {
		return p.secrets.check(p.Name(), r.Secret, nil)
	}
	return p.secrets.check(p.Name(), r.Secret, &r.ClientID)
}

var (
	_ Method = secretBasic{}
	_ Method = secretPost{}
)

// check finds the client whose API key text is. With id, it must be that client. What it costs does not depend on
// whether the client exists or what its secrets are: the hash is made first, and compared at least once.
func (s *Secrets) check(method, text string, id *string) (*Client, error) {
	key, err := events.ParseAPIKey(text)
	if err != nil {
		// Prefix, length and checksum are public knowledge: to refuse at once tells nothing.
		var who events.Name
		if id != nil {
			who = claimed(*id)
		}
		return nil, refuse(who, "malformed API key")
	}
	found := s.match(s.clients.Client(key.Client), key.Hash(), time.Now())
	record, reason := activeClient(s.keys.Keys(), key.Client)
	switch {
	case id != nil && *id != string(key.Client):
		return nil, refuse(claimed(*id), "API key of another client")
	case record == nil:
		return nil, refuse(key.Client, reason)
	case found == "":
		return nil, refuse(key.Client, "unknown or expired API key")
	}
	return &Client{Name: key.Client, Record: record, Method: method, Credential: found}, nil
}

// match returns the id of the client's secret with the given hash, or empty. Every hash is compared, in constant time.
func (s *Secrets) match(client *events.Client, hash [sha256.Size]byte, now time.Time) (id string) {
	if client == nil {
		client = &events.Client{Secrets: make([]events.Secret, 1)} // validated records have no hash of zeros
	}
	for i := range client.Secrets {
		secret := &client.Secrets[i]
		same := subtle.ConstantTimeCompare(secret.SHA256[:], hash[:]) == 1
		expired := secret.Expires != 0 && now.Unix() >= secret.Expires
		if same && !expired {
			id = secret.ID
		}
	}
	return id
}

const basicScheme = "Basic"

func hasBasic(r *Request) bool {
	for _, value := range r.Authorization {
		if scheme, _, _ := strings.Cut(value, " "); strings.EqualFold(scheme, basicScheme) {
			return true
		}
	}
	return false
}

// parseBasic reads the user and password of RFC 7617, each in the form encoding that RFC 6749 §2.3.1 asks for.
func parseBasic(value string) (id, secret string, ok bool) {
	_, encoded, _ := strings.Cut(value, " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Trim(encoded, " "))
	if err != nil {
		return "", "", false
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	if id, err = url.QueryUnescape(user); err != nil {
		return "", "", false
	}
	if secret, err = url.QueryUnescape(password); err != nil {
		return "", "", false
	}
	return id, secret, true
}
