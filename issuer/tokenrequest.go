package issuer

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/keyherald/keyherald/events/strictjson"
	"github.com/keyherald/keyherald/issuer/clientauth"
	"github.com/keyherald/keyherald/issuer/peer"
	"github.com/keyherald/keyherald/verifier/jws"
)

// tokenRequest is a request to the token endpoint.
type tokenRequest struct {
	grantType string
	auth      clientauth.Request
	assertion string // of the jwt-bearer grant
	scope     string
	resource  []string // RFC 8707 §2: may be repeated
	audience  string   // the same by another name, as many services have it
}

// The parameters that mean something to the token endpoint.
const (
	paramGrantType     = "grant_type"
	paramScope         = "scope"
	paramResource      = "resource"
	paramAudience      = "audience"
	paramClientID      = "client_id"
	paramSecret        = "client_secret"
	paramAssertionType = "client_assertion_type"
	paramAssertion     = "client_assertion"
	paramToken         = "token"     // of introspection and revocation
	paramGrant         = "assertion" // RFC 7521 §4.1
)

// parseTokenRequest reads a token request. It is one for the SDKs of Authress if it may be JSON.
func parseTokenRequest(w http.ResponseWriter, r *http.Request, mayBeJSON bool) (*tokenRequest, error) {
	params, err := readParams(w, r, mayBeJSON)
	if err != nil {
		return nil, err
	}
	auth, err := authRequest(r, params)
	if err != nil {
		return nil, err
	}
	return &tokenRequest{
		grantType: params.Get(paramGrantType),
		scope:     params.Get(paramScope),
		resource:  slices.DeleteFunc(params[paramResource], func(s string) bool { return s == "" }),
		audience:  params.Get(paramAudience),
		assertion: params.Get(paramGrant),
		auth:      auth,
	}, nil
}

// authRequest picks what a request says about who sends it.
func authRequest(r *http.Request, params url.Values) (clientauth.Request, error) {
	certificates, err := peer.Certificates(r)
	if err != nil {
		return clientauth.Request{}, invalidRequest(err.Error())
	}
	return clientauth.Request{
		Authorization: r.Header.Values("Authorization"),
		ClientID:      params.Get(paramClientID),
		Secret:        params.Get(paramSecret),
		AssertionType: params.Get(paramAssertionType),
		Assertion:     params.Get(paramAssertion),
		Certificates:  certificates,
	}, nil
}

// readParams reads the parameters of a request. Those that nobody knows are ignored, but none may come twice, and one without a
// value counts as omitted (RFC 6749 §3.2).
func readParams(w http.ResponseWriter, r *http.Request, mayBeJSON bool) (url.Values, error) {
	if err := checkQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	isJSON, err := checkContentType(r.Header.Values("Content-Type"), mayBeJSON)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	params := make(url.Values, 8) // as many as a usual request has
	if isJSON {
		err = readJSON(params, body)
	} else {
		err = readForm(params, body)
	}
	if err != nil {
		return nil, err
	}
	for name, values := range params {
		if len(values) > 1 && name != paramResource {
			return nil, invalidRequest(named(name, "a parameter") + " was sent more than once")
		}
	}
	return params, nil
}

const formType = "application/x-www-form-urlencoded"

// checkContentType tells a form from a JSON body, and refuses all else.
func checkContentType(types []string, mayBeJSON bool) (isJSON bool, err error) {
	switch {
	case len(types) > 1: // who reads the other one takes the body for something else (RFC 9110 §5.3)
		return false, invalidRequest("more than one Content-Type header: send one")
	case len(types) == 1 && types[0] == formType: // as nearly every client sends it
		return false, nil
	case len(types) == 1:
		mediaType, _, err := mime.ParseMediaType(types[0])
		isJSON = mayBeJSON && mediaType == "application/json"
		if err == nil && (isJSON || mediaType == formType) {
			return isJSON, nil
		}
	}
	return false, invalidRequest("Content-Type must be " + formType)
}

// readBody reads the whole body.
func readBody(w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	if r.ContentLength >= 0 && r.ContentLength <= usualBody {
		body = make([]byte, r.ContentLength) // the server lets no more through
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		answer := invalidRequest("the body is longer than 65535 bytes")
		answer.status = http.StatusRequestEntityTooLarge
		return nil, answer
	}
	if err != nil {
		return nil, invalidRequest("the body could not be read")
	}
	return body, nil
}

// checkQuery refuses parameters in the URL: URLs get into logs, and are no place for credentials (RFC 6749 §2.3.1).
func checkQuery(query string) error {
	if query == "" {
		return nil
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return invalidRequest("the URL has a malformed query: send parameters in the body")
	}
	for _, name := range []string{paramSecret, paramAssertion, paramGrant, paramToken} {
		if params.Has(name) {
			return invalidRequest("a credential was sent in the URL, and may be in logs now: replace it, and send it in the body")
		}
	}
	for _, name := range []string{paramGrantType, paramClientID, paramAssertionType, paramScope, paramResource, paramAudience} {
		if params.Has(name) {
			return invalidRequest("a parameter was sent in the URL: send it in the body")
		}
	}
	return nil
}

// readForm reads a body as url.ParseQuery does, with fewer allocations: nearly every request has a form.
func readForm(params url.Values, body []byte) error {
	text := string(body)
	n := 1 + strings.Count(text, "&")
	if n > maxParams {
		return invalidRequest("the body has more than " + strconv.Itoa(maxParams) + " parameters")
	}
	values := make([]string, 0, n)
	for text != "" {
		var param string
		param, text, _ = strings.Cut(text, "&")
		if param == "" {
			continue
		}
		escapedName, escapedValue, _ := strings.Cut(param, "=")
		name, errName := url.QueryUnescape(escapedName)
		value, errValue := url.QueryUnescape(escapedValue)
		if errName != nil || errValue != nil || strings.Contains(param, ";") {
			return invalidRequest("the body is not well-formed " + formType)
		}
		if earlier, again := params[name]; again {
			params[name] = append(earlier, value)
			continue
		}
		values = append(values, value)
		params[name] = values[len(values)-1 : len(values) : len(values)] // to append does not write over the next
	}
	return nil
}

// readJSON reads the body that the SDKs of Authress send: an object with the parameters as strings.
func readJSON(params url.Values, body []byte) error {
	var object strictjson.Object
	if err := object.Parse(body); err != nil {
		return invalidRequest("the body is not a JSON object, or has a member twice")
	}
	for i := range object.Len() {
		name, value := string(object.Name(i)), object.Value(i)
		text, err := strictjson.String(value)
		if err == nil {
			params.Set(name, text)
			continue
		}
		if name == paramResource {
			if params[name], err = strictjson.Strings(value, jws.MaxAudience); err == nil {
				continue
			}
		}
		if isParam(name) {
			return invalidRequest(named(name, "a member of the body") + " is not a string")
		}
	}
	return nil
}

func isParam(name string) bool {
	switch name {
	case paramGrantType, paramScope, paramResource, paramAudience, paramClientID, paramSecret, paramAssertionType, paramAssertion, paramGrant:
		return true
	}
	return false
}

// named is the name of a parameter that there is, to be told; what else a stranger sends is not repeated.
func named(name, otherwise string) string {
	if isParam(name) || name == paramToken {
		return name
	}
	return otherwise
}
