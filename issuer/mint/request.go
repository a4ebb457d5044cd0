package mint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keyherald/keyherald/events"
)

const tokenPath = "/oauth/token"

// RequesterConfig says whom to ask for tokens, and how to prove who is asking.
type RequesterConfig struct {
	// Issuer is the platform's URL, such as https://auth.example.com. Required; a slash at its end is left out.
	Issuer string
	// Credential is a [*Minter], or what [JWTBearer], [Federated], [FederatedFile], [Certificate] or [APIKey] returns. Required.
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
	if err := cfg.Credential.check(issuer); err != nil {
		return nil, fmt.Errorf("token request: %w", err)
	}
	client := http.Client{Timeout: requestTimeout}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	}
	// A redirect would take the credential to wherever it points.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Requester{issuer, cfg.Credential, &client}, nil
}

// Token is an access token.
type Token struct {
	AccessToken string
	Scope       string    // what was granted; of an offline token, what was asked for
	Expires     time.Time // by the clock of this machine
}

func (t Token) describe() string { return "access token until " + t.Expires.UTC().Format(time.RFC3339) }

// Format prints when the token expires, whatever the verb, and not the token.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.describe()) }

// MarshalJSON has what Format prints: what logs a value as JSON must not log the token.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.describe()) }

// OAuthError is the answer of a token service that refuses (RFC 6749 §5.2). Its texts are the server's.
type OAuthError struct {
	Status      int    // of HTTP
	Code        string // error, such as invalid_client
	Description string // error_description, or empty
	// RetryAfter is when to ask again, as the server has it, at most a minute (RFC 9110 §10.2.3). Zero: it does not say.
	RetryAfter time.Duration
}

// Error has the code, the description and the status.
func (e *OAuthError) Error() string {
	text := fmt.Sprintf("token request refused: %.100q", e.Code)
	if e.Description != "" {
		text += fmt.Sprintf(": %.300q", e.Description)
	}
	return fmt.Sprintf("%s (HTTP %d)", text, e.Status)
}

var _ Provider = (*Requester)(nil)

func (r *Requester) provide(ctx context.Context, q Request) (*Token, error) { return r.Token(ctx, q) }

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
	if err := r.credential.authenticate(ctx, r.issuer, form, header); err != nil {
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
	token, err := readAnswer(response.StatusCode, body, sent)
	var refused *OAuthError
	if errors.As(err, &refused) {
		refused.RetryAfter = retryAfter(response.Header)
	}
	return token, err
}

// retryAfter reads the form that has seconds; a date would be by the server's clock.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
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
