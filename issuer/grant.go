package issuer

import (
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// grant is what a token will say.
type grant struct {
	client   events.Name
	audience []string
	scope    string
	ttl      time.Duration
	// certificate is the thumbprint of the one that the token is bound to. Empty: none.
	certificate string
}

// decide says what the client gets, which is never more than its record allows.
func decide(client events.Name, record *events.Issuer, r *tokenRequest, now time.Time, ttl time.Duration) (*grant, error) {
	if record.NotBefore >= now.Unix() {
		// Verifiers refuse what is made up to then; whoever has just been enabled again has to wait for a second.
		answer := badRequest(codeUnauthorizedClient, "tokens of this client are refused if they are made now: try again later")
		answer.retryAfter = time.Unix(record.NotBefore+1, 0).Sub(now).Round(time.Second)
		return nil, answer
	}
	scope, err := decideScope(record, r.scope)
	if err != nil {
		return nil, err
	}
	audience, err := decideAudience(record, r)
	if err != nil {
		return nil, err
	}
	return &grant{client: client, audience: audience, scope: scope.String(), ttl: min(ttl, record.TokenTTL())}, nil
}

// decideScope returns the scope asked for, or all that the client has (RFC 6749 §3.3).
func decideScope(record *events.Issuer, asked string) (events.Scope, error) {
	if asked == "" {
		return record.Scope, nil
	}
	scope, err := events.ParseScope(asked)
	if err != nil {
		return events.Scope{}, badRequest(codeInvalidScope, "scope is not a list of values separated by single spaces (RFC 6749 section 3.3)")
	}
	if !record.Scope.Contains(scope) {
		return events.Scope{}, badRequest(codeInvalidScope, "scope has a value that the client is not registered for")
	}
	return scope, nil
}

// decideAudience returns the audiences asked for (RFC 8707 §2), or all that the client has. There is no wildcard: a token
// always says whom it is for.
func decideAudience(record *events.Issuer, r *tokenRequest) ([]string, error) {
	asked := r.resource
	if r.audience != "" {
		asked = append(slices.Clip(asked), r.audience)
	}
	if len(asked) == 0 {
		return registeredAudience(record)
	}
	var audience []string
	for _, a := range asked {
		if slices.Contains(audience, a) {
			continue
		}
		if len(a) > events.MaxURI || !isText(a) || !record.AllowsAudience(a) {
			return nil, badRequest(codeInvalidTarget, "resource or audience is not one that the client is registered for")
		}
		audience = append(audience, a)
	}
	if len(audience) > jws.MaxAudience {
		return nil, badRequest(codeInvalidTarget, "more audiences than the "+strconv.Itoa(jws.MaxAudience)+" that a token can have")
	}
	return audience, nil
}

func registeredAudience(record *events.Issuer) ([]string, error) {
	switch n := len(record.Audience); {
	case n == 0:
		return nil, badRequest(codeInvalidTarget, "the client is not registered for certain audiences: say which one, with resource or audience")
	case n > jws.MaxAudience:
		return nil, badRequest(codeInvalidTarget, "the client has more audiences than a token can have: say which ones, with resource")
	}
	return record.Audience, nil
}

// isText reports whether s is UTF-8 without control characters, as the audiences of records are.
func isText(s string) bool {
	for _, c := range s {
		if c < 0x20 || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

var errTokenSize = &oauthError{
	Code: codeInvalidTarget, Description: "the token would be longer than 8192 bytes: ask for fewer audiences or a smaller scope", status: http.StatusBadRequest,
}
