package httpauth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/keyherald/keyherald/verifier/internal/bearer"
	"github.com/keyherald/keyherald/verifier/jws"
)

// queryParameter is the name of a token in a query (RFC 6750 §2.3).
const queryParameter = "access_token"

// token finds the one token of a request, or says what is wrong.
func (g *Guard) token(r *http.Request) (string, *Error) {
	token, refusal := g.inHeader(r.Header["Authorization"])
	if refusal != nil && refusal != g.noToken && refusal != g.otherScheme {
		return "", refusal
	}
	found := token != ""
	take := func(values []string, taken bool) bool {
		if len(values) == 0 {
			return true
		}
		if len(values) > 1 || found {
			return false
		}
		if taken {
			token, found = values[0], true
		}
		return true
	}
	if !take(inQuery(r.URL.RawQuery), g.cfg.Query) {
		return "", g.twoTokens
	}
	if g.cfg.Cookie != "" && !take(inCookies(r, g.cfg.Cookie), true) {
		return "", g.twoTokens
	}
	switch {
	case !found:
		return "", refusal
	case len(token) > jws.MaxToken: // no verifier takes a longer one, so it is not even looked at
		return "", g.tooLong
	case !isToken68(token):
		return "", g.badSyntax
	}
	return token, nil
}

// inHeader finds the token in the Authorization header. Its form is checked later, with that of all others.
func (g *Guard) inHeader(values []string) (string, *Error) {
	switch {
	case len(values) == 0:
		return "", g.noToken
	case len(values) > 1:
		return "", g.twoTokens
	}
	token, reason := bearer.Token(values[0])
	switch {
	case reason == ReasonNoToken:
		return "", g.noToken
	case reason != "":
		return "", g.otherScheme
	case token == "":
		return "", g.badSyntax
	}
	return token, nil
}

// inQuery returns the tokens in a query. Nearly all queries have none, and are not parsed to see it.
func inQuery(raw string) []string {
	if raw == "" || !strings.Contains(raw, queryParameter) && !strings.Contains(raw, "%") {
		return nil
	}
	query, _ := url.ParseQuery(raw) // which leaves out what it cannot read
	return query[queryParameter]
}

func inCookies(r *http.Request, name string) (values []string) {
	for _, cookie := range r.CookiesNamed(name) {
		values = append(values, cookie.Value)
	}
	return values
}

// isToken68 checks the b64token of RFC 6750 §2.1: letters, digits and -._~+/, then any number of =.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '-' && c <= '9' || c == '_' || c == '~' || c == '+' { // - . / and digits are neighbours
			continue
		}
		return false
	}
	return s != ""
}
