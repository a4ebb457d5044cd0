package mint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// service is a token service that keeps the last request and answers as it is told.
type service struct {
	*httptest.Server
	request *http.Request
	form    url.Values
	status  int
	body    string

	retryAfter string
}

func newService(t *testing.T) *service {
	s := &service{status: 200, body: `{"access_token":"x.y.z","token_type":"Bearer","expires_in":60,"scope":"a b"}`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		s.request, s.form = r, r.PostForm
		if s.retryAfter != "" {
			w.Header().Set("Retry-After", s.retryAfter)
		}
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) requester(t *testing.T, credential Credential) *Requester {
	t.Helper()
	r, err := NewRequester(RequesterConfig{Issuer: s.URL, Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARequestCarriesWhatIsAskedForAndTheProof(t *testing.T) {
	s := newService(t)
	key, err := events.ParseAccessKey(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	minter, err := FromAccessKey(key, s.URL)
	if err != nil {
		t.Fatal(err)
	}
	apiKey := events.NewAPIKey("orders")
	question := Request{Audience: []string{"https://a", "https://b"}, Scope: "a b"}
	for name, credential := range map[string]Credential{"key": minter, "API key": APIKey(apiKey)} {
		sent := time.Now()
		token, err := s.requester(t, credential).Token(t.Context(), question)
		if err != nil {
			t.Fatal(err)
		}
		if token.AccessToken != "x.y.z" || token.Scope != "a b" {
			t.Errorf("%s: token %+v", name, token)
		}
		if life := token.Expires.Sub(sent); life < time.Minute || token.Expires.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: expires after %v", name, life)
		}
		if s.request.Method != "POST" || s.request.URL.Path != "/oauth/token" || s.request.URL.RawQuery != "" {
			t.Errorf("%s: %s %s", name, s.request.Method, s.request.URL)
		}
		if got := fmt.Sprint(s.form["grant_type"], s.form["resource"], s.form["scope"]); got != "[client_credentials] [https://a https://b] [a b]" {
			t.Errorf("%s: form %v", name, got)
		}
	}

	if _, err := s.requester(t, APIKey(apiKey)).Token(t.Context(), Request{}); err != nil {
		t.Fatal(err)
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("orders:"+apiKey.Reveal())); s.request.Header.Get("Authorization") != want {
		t.Error("the API key is not in the Authorization header")
	}
	if s.form.Has("client_secret") || s.form.Has("scope") || s.form.Has("resource") {
		t.Errorf("form %v", s.form)
	}

	if _, err := s.requester(t, minter).Token(t.Context(), Request{}); err != nil {
		t.Fatal(err)
	}
	assertion, err := jws.Parse(s.form.Get("client_assertion"))
	if err != nil {
		t.Fatal(err)
	}
	if got := assertion.Claims.Audience; len(got) != 1 || got[0] != s.URL {
		t.Errorf("aud of the assertion %q, want the issuer", got)
	}
	if s.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || s.form.Get("client_id") != "sc_aAKceYi7VJDCU8vB7HcTo3Q" {
		t.Errorf("form %v", s.form)
	}
	if s.request.Header.Get("Authorization") != "" {
		t.Error("an Authorization header beside the assertion")
	}
}

func TestAnAnswerThatIsNoTokenIsAnError(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		code   string // of an OAuthError, or empty
	}{
		{"refused", 400, `{"error":"invalid_scope","error_description":"no"}`, "invalid_scope"},
		{"unauthorized", 401, `{"error":"invalid_client"}`, "invalid_client"},
		{"unavailable", 503, `{"error":"temporarily_unavailable"}`, "temporarily_unavailable"},
		{"an error with status 200", 200, `{"error":"invalid_client","access_token":"x.y.z","token_type":"Bearer"}`, "invalid_client"},
		{"a token with status 400", 400, `{"access_token":"x.y.z","token_type":"Bearer"}`, ""},
		{"a page", 502, `<html>secret-part</html>`, ""},
		{"a page with status 200", 200, `<html>secret-part</html>`, ""},
		{"nothing", 200, ``, ""},
		{"no token", 200, `{"token_type":"Bearer"}`, ""},
		{"a token of another type", 200, `{"access_token":"x.y.z","token_type":"DPoP"}`, ""},
		{"a token of no type", 200, `{"access_token":"x.y.z"}`, ""},
		{"wrong types", 200, `{"access_token":"secret-part","token_type":"Bearer","expires_in":"secret-part"}`, ""},
		{"too long", 200, `{"access_token":"` + strings.Repeat("x", maxResponse) + `","token_type":"Bearer"}`, ""},
		{"a token and a long tail", 200, `{"access_token":"x.y.z","token_type":"Bearer"}` + strings.Repeat(" ", maxResponse), ""},
		{"a text with control characters", 400, `{"error":"a\u001b[31mb","error_description":"c\nd"}`, "a\x1b[31mb"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			s.status, s.body = test.status, test.body
			token, err := s.requester(t, APIKey(events.NewAPIKey("orders"))).Token(t.Context(), Request{})
			if err == nil || token != nil {
				t.Fatalf("token %v, error %v", token, err)
			}
			var refused *OAuthError
			if errors.As(err, &refused) != (test.code != "") {
				t.Fatalf("error %v", err)
			}
			if test.code != "" && (refused.Code != test.code || refused.Status != test.status) {
				t.Errorf("error %+v, want %s", refused, test.code)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "secret-part") {
				t.Errorf("error %q has what it must not have", err)
			}
		})
	}
}

func TestARefusalSaysWhenToAskAgain(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0": 0, "-1": 0, "86400": time.Minute, "99999999999999999999": 0, "Fri, 31 Dec 2027 23:59:59 GMT": 0,
	} {
		s := newService(t)
		s.status, s.body, s.retryAfter = 429, `{"error":"temporarily_unavailable"}`, text
		_, err := s.requester(t, APIKey(events.NewAPIKey("orders"))).Token(t.Context(), Request{})
		var refused *OAuthError
		if !errors.As(err, &refused) || refused.RetryAfter != want {
			t.Errorf("Retry-After %q: error %+v, want to wait for %v", text, refused, want)
		}
	}
}

func TestALifeThatCannotBeIsBounded(t *testing.T) {
	for life, want := range map[int64]time.Duration{-5: 0, 0: 0, 60: time.Minute, 1<<63 - 1: 100 * 365 * 24 * time.Hour} {
		now := time.Now()
		token, err := readAnswer(200, fmt.Appendf(nil, `{"access_token":"x","token_type":"bearer","expires_in":%d}`, life), now)
		if err != nil {
			t.Fatal(err)
		}
		if got := token.Expires.Sub(now); got != want {
			t.Errorf("expires_in %d: %v, want %v", life, got, want)
		}
	}
}

func TestACredentialDoesNotFollowARedirect(t *testing.T) {
	thief := newService(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		honest := httptest.NewServer(http.RedirectHandler(thief.URL+"/oauth/token", status))
		following := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
		for _, client := range []*http.Client{nil, following} {
			r, err := NewRequester(RequesterConfig{Issuer: honest.URL, Credential: APIKey(events.NewAPIKey("orders")), HTTP: client})
			if err != nil {
				t.Fatal(err)
			}
			if token, err := r.Token(t.Context(), Request{}); err == nil {
				t.Errorf("status %d: token %v", status, token)
			}
		}
		honest.Close()
	}
	if thief.request != nil {
		t.Error("the redirect was followed")
	}
}

func TestARequesterThatCannotBeRightIsRefused(t *testing.T) {
	key := APIKey(events.NewAPIKey("orders"))
	for name, cfg := range map[string]RequesterConfig{
		"no issuer":     {Credential: key},
		"plain http":    {Issuer: "http://auth.example.com", Credential: key},
		"no credential": {Issuer: "https://auth.example.com"},
		"a query":       {Issuer: "https://auth.example.com?a", Credential: key},
	} {
		if _, err := NewRequester(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	plain := RequesterConfig{Issuer: "http://127.0.0.1:8080", Credential: Certificate("orders")}
	if _, err := NewRequester(plain); err == nil {
		t.Error("a certificate over plain http: no error")
	}
	other := RequesterConfig{Issuer: "https://auth.example.com"}
	for name, credential := range map[string]Credential{
		"a minter for another issuer":                goldenMinter(t),
		"a grant of a minter for another issuer":     JWTBearer(goldenMinter(t)),
		"a grant without a minter":                   JWTBearer(nil),
		"an empty API key":                           APIKey(events.APIKey{}),
		"a federated token of no client":             FederatedFile("", "token"),
		"a federated token of a client that is none": FederatedFile("a/b", "token"),
		"a federated token from no file":             FederatedFile("orders", ""),
		"a federated token from nowhere":             Federated("orders", nil),
		"a certificate of no client":                 Certificate(""),
		"a certificate of a client that is none":     Certificate("a b"),
	} {
		other.Credential = credential
		if _, err := NewRequester(other); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
