package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

const (
	// maxResponse is the size of an answer, in bytes: a token has at most 8 KiB.
	maxResponse = 64 << 10
	// requestTimeout is how long the HTTP client that is used by default waits.
	requestTimeout = 10 * time.Second

	tokenPath = "/oauth/token"
)

// RequesterConfig says whom to ask for tokens, and how to prove who is asking.
type RequesterConfig struct {
	// Issuer is the platform's URL, such as https://auth.example.com. Required; a slash at its end is left out.
	Issuer string
	// Credential is a [*Minter] or what [APIKey] returns. Required.
	Credential Credential
	// HTTP sends the requests; redirects are not followed, whatever it says. Nil: a client with a timeout of 10 seconds.
	HTTP *http.Client
}

// Requester gets online tokens from the token service. It is safe for concurrent use.
type Requester struct {
	issuer     string
	credential Credential
	http       *http.Client
}

// NewRequester returns a requester.
func NewRequester(cfg RequesterConfig) (*Requester, error) {
	issuer := strings.TrimSuffix(cfg.Issuer, "/")
	if err := events.CheckIssuerURL("issuer", issuer); err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	if cfg.Credential == nil {
		return nil, errors.New("token request: no credential")
	}
	client := http.Client{Timeout: requestTimeout}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	}
	// A redirect would take the credential to wherever it points.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Requester{issuer, cfg.Credential, &client}, nil
}

// Token is an online token.
type Token struct {
	AccessToken string
	Scope       string    // what was granted
	Expires     time.Time // by the clock of this machine
}

// Format prints when the token expires, whatever the verb, and not the token.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "access token until "+t.Expires.UTC().Format(time.RFC3339))
}

// OAuthError is the answer of a token service that refuses (RFC 6749 §5.2). Its texts are the server's.
type OAuthError struct {
	Status      int    // of HTTP
	Code        string // error, such as invalid_client
	Description string // error_description, or empty
}

// Error has the code, the description and the status.
func (e *OAuthError) Error() string {
	text := fmt.Sprintf("token request refused: %.100q", e.Code)
	if e.Description != "" {
		text += fmt.Sprintf(": %.300q", e.Description)
	}
	return fmt.Sprintf("%s (HTTP %d)", text, e.Status)
}

// Token asks for a token. If the token service refuses, the error is an [*OAuthError].
func (r *Requester) Token(ctx context.Context, q Request) (*Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(q.Audience) > 0 {
		form["resource"] = q.Audience
	}
	if q.Scope != "" {
		form.Set("scope", q.Scope)
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	if err := r.credential.authenticate(r.issuer, form, header); err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.issuer+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	request.Header = header
	sent := time.Now()
	response, err := r.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("token request: reading the answer: %w", err)
	}
	if len(body) > maxResponse {
		return nil, fmt.Errorf("token request: the answer is longer than %d bytes: is %s a token service?", maxResponse, r.issuer)
	}
	return readAnswer(response.StatusCode, body, sent)
}

// readAnswer reads the answer of a token endpoint (RFC 6749 §5.1, §5.2). A life is counted from when the request was sent.
func readAnswer(status int, body []byte, sent time.Time) (*Token, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	// What json says of a body could have a part of it: the answer may have a token.
	bad := json.Unmarshal(body, &answer) != nil
	switch {
	case !bad && answer.Error != "":
		return nil, &OAuthError{Status: status, Code: answer.Error, Description: answer.Description}
	case status != http.StatusOK || bad:
		return nil, fmt.Errorf("token request: HTTP %d with an answer that is not one of a token endpoint: check the issuer's URL", status)
	case answer.AccessToken == "" || !strings.EqualFold(answer.TokenType, "Bearer"):
		return nil, errors.New("token request: the answer has no bearer token")
	}
	const century = 100 * 365 * 24 * 3600
	life := time.Duration(min(max(answer.ExpiresIn, 0), century)) * time.Second
	return &Token{AccessToken: answer.AccessToken, Scope: answer.Scope, Expires: sent.Add(life)}, nil
}
