package mint

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
)

// wire is the network and the token service at its other end, in memory, so that the bubble's clock rules it. Tokens are
// numbered: t1.t1.t1 is the first.
type wire struct {
	life   int           // expires_in, in seconds
	delay  time.Duration // of each answer
	down   atomic.Pointer[string]
	issued atomic.Int64
	asked  atomic.Int64
	atOnce atomic.Int64 // requests that are under way now
}

var _ http.RoundTripper = (*wire)(nil)

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.asked.Add(1)
	if w.atOnce.Add(1) > 1 {
		return nil, errors.New("more than one request at a time")
	}
	defer w.atOnce.Add(-1)
	if r.Body != nil {
		defer r.Body.Close()
	}
	select {
	case <-time.After(w.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, header, body := 503, http.Header{}, `{"error":"temporarily_unavailable"}`
	if retryAfter := w.down.Load(); retryAfter == nil {
		text := fmt.Sprintf("t%d", w.issued.Add(1))
		status, body = 200, fmt.Sprintf(`{"access_token":"%[1]s.%[1]s.%[1]s","token_type":"Bearer","expires_in":%d,"scope":"a b"}`, text, w.life)
	} else if *retryAfter != "" {
		header.Set("Retry-After", *retryAfter)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// fail makes every answer a refusal; succeed ends it.
func (w *wire) fail(retryAfter string) { w.down.Store(&retryAfter) }
func (w *wire) succeed()               { w.down.Store(nil) }

func (w *wire) source(t *testing.T, modify ...func(*SourceConfig)) *Source {
	t.Helper()
	requester, err := NewRequester(RequesterConfig{
		Issuer: "https://auth.example.com", Credential: APIKey(events.NewAPIKey("orders")), HTTP: &http.Client{Transport: w},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := SourceConfig{Provider: requester, Request: Request{Audience: []string{"https://billing"}}}
	for _, m := range modify {
		m(&cfg)
	}
	return newSource(t, cfg)
}

func newSource(t *testing.T, cfg SourceConfig) *Source {
	t.Helper()
	s, err := NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// expect gets a token and compares its number.
func expect(t *testing.T, s *Source, number int) {
	t.Helper()
	token, err := s.Token()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("t%[1]d.t%[1]d.t%[1]d", number); token.AccessToken != want {
		t.Fatalf("token %s, want %s", token.AccessToken, want)
	}
}
