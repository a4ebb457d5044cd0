package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/registry"
)

// problem is an error answer (RFC 9457).
type problem struct {
	Type   string `json:"type"` // the OpenAPI document, and a fragment that names the problem
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	challenge  string        // what follows the realm in WWW-Authenticate; empty: there is none
	retryAfter time.Duration // zero: do not say
	reason     string        // for the audit log; empty: the detail
}

// bareChallenge is a challenge that has nothing but a realm.
const bareChallenge = "-"

func newProblem(status int, kind, title, detail string) *problem {
	return &problem{Type: kind, Title: title, Status: status, Detail: detail}
}

func (p *problem) Error() string { return p.logged() }

func (p *problem) logged() string {
	if p.reason != "" {
		return p.reason
	}
	return p.Detail
}

func invalidRequest(detail string) *problem {
	return newProblem(http.StatusBadRequest, "invalid-request", "The request is not valid", detail)
}

func notFound(detail string) *problem {
	return newProblem(http.StatusNotFound, "not-found", "Not found", detail)
}

// unavailable is the answer while nothing can be decided or done.
func unavailable(err error) *problem {
	p := newProblem(http.StatusServiceUnavailable, "unavailable", "Not now", "this node cannot decide or do this now, and nothing was done: try again")
	p.reason, p.retryAfter = err.Error(), retryAfter
	return p
}

// asProblem turns any error into an answer. What it does not know is a fault of ours, and not shown. Of what is there the answer says no more
// than that it is in the way: who made it, whose it is and in which state is for those who may read, and for the log.
func asProblem(err error) *problem {
	var p *problem
	var forbidden *registry.Forbidden
	conflict := func(kind, title, detail string) *problem { return newProblem(http.StatusConflict, kind, title, detail) }
	if errors.As(err, &p) {
		return p
	}
	switch {
	case errors.Is(err, bus.ErrUnknownOutcome): // before its causes
		p = newProblem(http.StatusServiceUnavailable, "outcome-unknown", "It may or may not have been done",
			"the registry did not answer in time: look at what is there before doing it again; a credential that nobody has got can be revoked")
		p.retryAfter = retryAfter
	case errors.As(err, &forbidden):
		p = newProblem(http.StatusForbidden, "forbidden", "The caller may not do this", forbidden.Told())
		p.challenge = `error="insufficient_scope"`
		if !forbidden.Scope.IsEmpty() { // a scope needs no escapes: RFC 6749 §3.3 leaves " and \ out
			p.challenge += `, scope="` + forbidden.Scope.String() + `"`
		}
	case errors.Is(err, registry.ErrPrivateKey):
		p = newProblem(http.StatusBadRequest, "private-key", "This is a private key", err.Error())
	case errors.Is(err, registry.ErrInvalid):
		p = invalidRequest(err.Error())
	case errors.Is(err, registry.ErrNotFound):
		p = notFound("there is no such client, key or API key")
	case errors.Is(err, registry.ErrExists):
		p = conflict("exists", "It exists already", "the id belongs to somebody, or did: choose another, or none to have one made")
	case errors.Is(err, registry.ErrKeyTaken):
		p = conflict("key-taken", "The public key is registered already", "it is, or was, a key of this client or of another: make a new pair")
	case errors.Is(err, registry.ErrTooManyKeys), errors.Is(err, registry.ErrTooManySecrets):
		p = conflict("too-many", "The client has as many as it may have", "revoke a key, or an API key, that is not in use")
	case errors.Is(err, registry.ErrTooManyClients):
		p = conflict("full", "There are as many clients as there may be", "callers with a token create no more: an operator can")
	case errors.Is(err, registry.ErrDisabled), errors.Is(err, registry.ErrKeyDead):
		p = conflict("dead", "It is disabled or has ended", "nothing can be added to it or changed of it")
	case errors.Is(err, registry.ErrChanged):
		p = newProblem(http.StatusPreconditionFailed, "changed", "It was changed meanwhile", "the client has changed since the answer with that ETag: read it again")
	case errors.Is(err, bus.ErrUnreachable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, ErrUndecided):
		p = unavailable(err)
	default:
		p = newProblem(http.StatusInternalServerError, "fault", "This is a fault of the server", "see its log")
	}
	p.reason = err.Error()
	return p
}

// write sends the answer. It does not change p, which may be sent many times.
func (p *problem) write(w http.ResponseWriter, issuer string) {
	body := *p
	body.Type = issuer + pathOpenAPI + "#/x-problems/" + p.Type
	if p.challenge != "" {
		challenge := `Bearer realm="` + issuer + `"`
		if p.challenge != bareChallenge {
			challenge += ", " + p.challenge
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(p.retryAfter)))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, "application/problem+json", p.Status, &body)
}

func writeJSON(w http.ResponseWriter, mediaType string, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil { // our own types, and options that were checked
		http.Error(w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
