package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/registry"
)

// clientResource is a client in an answer: what Authress has of one, and then our own.
type clientResource struct {
	ClientID         string            `json:"clientId"`
	CreatedTime      string            `json:"createdTime,omitempty"` // not known of records that were put with the nats command
	Name             string            `json:"name"`
	Options          json.RawMessage   `json:"options"`
	VerificationKeys []keyResource     `json:"verificationKeys"`
	Tags             map[string]string `json:"tags"`

	Scope       string   `json:"scope"`
	Audience    []string `json:"audience"`
	Resource    []string `json:"resource"`
	Offline     bool     `json:"offline"`
	MaxTokenTTL int64    `json:"maxTokenTtl"`
}

// clientRequest is a client in a request. Nil: it is not said.
type clientRequest struct {
	id          string
	profile     events.Profile
	scope       *events.Scope
	audience    *[]string
	resource    *[]string
	offline     *bool
	maxTokenTTL *time.Duration
}

func (c *clientRequest) member(name string, value []byte) (err error) {
	switch name {
	case "clientId":
		c.id, err = strictjson.String(value)
	case "name":
		c.profile.Name, err = strictjson.String(value)
	case "options":
		var compact bytes.Buffer
		if err = json.Compact(&compact, value); err == nil {
			c.profile.Options = compact.Bytes()
		}
	case "tags":
		c.profile.Tags, err = readTags(value)
	case "scope":
		var text string
		if text, err = strictjson.String(value); err == nil {
			c.scope = new(events.Scope)
			*c.scope, err = events.ParseScope(text)
		}
	case "audience":
		c.audience, err = readStrings(value)
	case "resource":
		c.resource, err = readStrings(value)
	case "offline":
		c.offline = new(bool)
		*c.offline, err = strictjson.Bool(value)
	case "maxTokenTtl":
		var seconds int64
		if seconds, err = strictjson.Int(value); err == nil && (seconds < 1 || seconds > int64(events.MaxTokenTTL/time.Second)) {
			err = errors.New("not 1 to 86400 seconds")
		}
		ttl := time.Duration(seconds) * time.Second
		c.maxTokenTTL = &ttl
	}
	return err
}

func readStrings(value []byte) (*[]string, error) {
	list, err := strictjson.Strings(value, events.MaxAudiences)
	return &list, err
}

func readTags(value []byte) (map[string]string, error) {
	tags := map[string]string{}
	var obj strictjson.Object
	if err := obj.Parse(value); err != nil {
		return nil, err
	}
	for i := range obj.Len() {
		text, err := strictjson.String(obj.Value(i))
		if err != nil {
			return nil, err
		}
		tags[string(obj.Name(i))] = text
	}
	return tags, nil
}

func (a *API) serveCreateClient(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "client create", registry.ScopeClientsWrite, func(ctx context.Context, req *request) (*answer, error) {
		var c clientRequest
		if err := req.readBody(c.member); err != nil {
			return nil, err
		}
		return a.createClient(ctx, req.caller, &c)
	})
}

func (a *API) createClient(ctx context.Context, caller registry.Caller, c *clientRequest) (*answer, error) {
	spec, err := a.newSpec(ctx, caller.Authority.Client, c)
	if err != nil {
		return nil, err
	}
	entry, err := a.reg.CreateClient(ctx, caller, events.Name(c.id), spec)
	if err != nil {
		return nil, err
	}
	return &answer{
		status: http.StatusCreated, body: a.resource(entry, &c.profile), etag: a.etag(entry),
		location: a.cfg.Issuer + pathClients + "/" + string(entry.Name),
	}, nil
}

// newSpec is the client that a request asks for. Of what it does not say, the client gets what the SDKs expect, as far as the caller has it.
func (a *API) newSpec(ctx context.Context, caller events.Name, c *clientRequest) (registry.ClientSpec, error) {
	spec := registry.ClientSpec{Profile: &c.profile}
	entry, err := a.reg.Client(ctx, caller)
	if errors.Is(err, registry.ErrNotFound) {
		return spec, nil // which the registry refuses to whoever is not there
	}
	if err != nil {
		return spec, err
	}
	spec.Offline = entry.Record.Offline
	if c.offline != nil {
		spec.Offline = *c.offline
	}
	if spec.Audience = a.defaultAudience(entry.Record, spec.Offline); c.audience != nil {
		spec.Audience = *c.audience
	}
	if c.scope != nil {
		spec.Scope = *c.scope
	}
	if c.resource != nil {
		spec.Resource = *c.resource
	}
	if c.maxTokenTTL != nil {
		spec.MaxTokenTTL = *c.maxTokenTTL
	}
	return spec, nil
}

// defaultAudience is what a client has of which no audience was said: that of the account, if the caller may give it, or else the caller's own.
func (a *API) defaultAudience(caller *events.Issuer, offline bool) []string {
	platform := a.cfg.Keys.Keys().Platform()
	if platform == nil || platform.Record.Account == "" {
		return caller.Audience
	}
	account := events.AccountAudience(platform.Record.Account)
	if caller.AllowsAudience(account) || caller.Offline && offline {
		return []string{account}
	}
	return caller.Audience
}

func (a *API) serveClient(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "client show", registry.ScopeClientsRead, func(ctx context.Context, req *request) (*answer, error) {
		return a.client(ctx, req.client())
	})
}

func (a *API) client(ctx context.Context, name events.Name) (*answer, error) {
	entry, err := a.active(ctx, name)
	if err != nil {
		return nil, err
	}
	profile, err := a.reg.Profile(ctx, name)
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, body: a.resource(entry, &profile), etag: a.etag(entry)}, nil
}

// active returns a client that is there for this API: one that is disabled is not.
func (a *API) active(ctx context.Context, name events.Name) (*events.IssuerEntry, error) {
	entry, err := a.reg.Client(ctx, name)
	switch {
	case errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrInvalid), err == nil && entry.Record.Status != events.Active:
		return nil, notFound("there is no client of this id, or it was deleted")
	case err != nil:
		return nil, asProblem(err)
	}
	return entry, nil
}

func (a *API) serveUpdateClient(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "client update", registry.ScopeClientsWrite, func(ctx context.Context, req *request) (*answer, error) {
		var c clientRequest
		if err := req.readBody(c.member); err != nil {
			return nil, err
		}
		if c.id != "" && c.id != string(req.client()) {
			return nil, invalidRequest("clientId is not the one of the URL: the id of a client does not change")
		}
		return a.updateClient(ctx, req.caller, req.client(), &c, req.http.Header.Values("If-Match"))
	})
}

func (a *API) updateClient(ctx context.Context, caller registry.Caller, name events.Name, c *clientRequest, ifMatch []string) (*answer, error) {
	entry, err := a.active(ctx, name)
	if err != nil {
		return nil, err
	}
	update := registry.ClientUpdate{
		Scope: c.scope, Audience: c.audience, Resource: c.resource, Offline: c.offline, MaxTokenTTL: c.maxTokenTTL, Profile: &c.profile,
	}
	if len(ifMatch) > 0 && strings.TrimSpace(ifMatch[0]) != "*" {
		update.Unchanged = a.revision(entry)
		if !matches(ifMatch, entityTag(update.Unchanged)) {
			return nil, newProblem(http.StatusPreconditionFailed, "changed", "It was changed meanwhile", "the client or a key of it has changed since the answer with that ETag: read it again")
		}
	}
	entry, err = a.reg.UpdateClient(ctx, caller, name, update)
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, body: a.resource(entry, &c.profile), etag: a.etag(entry)}, nil
}

func (a *API) serveDisableClient(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "client disable", registry.ScopeClientsWrite, func(ctx context.Context, req *request) (*answer, error) {
		return a.disableClient(ctx, req.caller, req.client())
	})
}

func (a *API) disableClient(ctx context.Context, caller registry.Caller, name events.Name) (*answer, error) {
	if _, err := a.active(ctx, name); err != nil {
		return nil, err
	}
	if _, err := a.reg.DisableClient(ctx, caller, name); err != nil {
		return nil, err
	}
	return &answer{status: http.StatusNoContent}, nil
}

// resource describes a client with the keys that the set has now.
func (a *API) resource(entry *events.IssuerEntry, profile *events.Profile) *clientResource {
	record := entry.Record
	c := &clientResource{
		ClientID: string(entry.Name), Name: profile.Name, Options: profile.Options, Tags: profile.Tags, VerificationKeys: []keyResource{},
		Scope: record.Scope.String(), Audience: orEmpty(record.Audience), Resource: orEmpty(record.Resource), Offline: record.Offline,
		MaxTokenTTL: int64(record.TokenTTL() / time.Second),
	}
	if record.IssuedAt != 0 {
		c.CreatedTime = timeText(record.IssuedAt)
	}
	if len(c.Options) == 0 {
		c.Options = json.RawMessage("{}")
	}
	if c.Tags == nil {
		c.Tags = map[string]string{}
	}
	now := time.Now()
	for _, key := range a.cfg.Keys.Keys().Keys(entry.Name) {
		if state := key.State(now); state.Usable() || state == events.KeyPending {
			c.VerificationKeys = append(c.VerificationKeys, describeKey(key.Issuer, key.KeyID, key.Record, key.Modified))
		}
	}
	return c
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// timeText is a NumericDate as Authress writes times (RFC 3339).
func timeText(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// etag is the entity tag of a client: the revision of the last message about it or a key of it, which stand in one stream. Its name, options and tags
// do not, but each PUT writes the client's record, too.
func (a *API) etag(entry *events.IssuerEntry) string {
	return entityTag(a.revision(entry))
}

func entityTag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

func (a *API) revision(entry *events.IssuerEntry) uint64 {
	last := entry.Revision
	for _, key := range a.cfg.Keys.Keys().Keys(entry.Name) {
		last = max(last, key.Revision, key.RevokedBy)
	}
	return last
}

// matches reports whether an If-Match header (RFC 9110 §13.1.1) has the tag. Weak ones never match.
func matches(headers []string, etag string) bool {
	for _, header := range headers {
		for tag := range strings.SplitSeq(header, ",") {
			if strings.TrimSpace(tag) == etag {
				return true
			}
		}
	}
	return false
}
