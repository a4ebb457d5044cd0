package mint

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// counting is a signer that is not a private key, and counts.
type counting struct {
	crypto.Signer
	calls atomic.Int64
}

func (c *counting) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	c.calls.Add(1)
	return c.Signer.Sign(random, digest, opts)
}

// host is a service on the network; it keeps what it was sent, in order.
type host struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // path and Authorization
}

func newHost(t *testing.T, handler http.HandlerFunc) *host {
	h := &host{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Authorization")))
		h.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

// requests returns what was sent since it was last asked.
func (h *host) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen
	h.seen = nil
	return seen
}

func newTransport(t *testing.T, s *Source, base http.RoundTripper, origins ...string) *Transport {
	t.Helper()
	transport, err := NewTransport(TransportConfig{Source: s, Origins: origins, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestARequestGetsTheTokenAndIsNotChanged(t *testing.T) {
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	transport := newTransport(t, (&wire{life: 900}).source(t), nil, h.URL)
	client := &http.Client{Transport: transport}
	r, err := http.NewRequest("POST", h.URL+"/a", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic eA==")
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "hello" {
		t.Errorf("body %q, error %v", body, err)
	}
	if got := h.requests(); !slices.Equal(got, []string{"/a Bearer t1.t1.t1"}) {
		t.Errorf("sent %q", got)
	}
	if r.Header.Get("Authorization") != "Basic eA==" || response.Request.Header.Get("Authorization") != "Basic eA==" {
		t.Error("the token is in the caller's request, or in that of the answer")
	}
	client.CloseIdleConnections()
}

func TestATokenDoesNotFollowARedirectToAnotherOrigin(t *testing.T) {
	var back atomic.Pointer[string]
	thief := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/back" {
			http.Redirect(w, r, *back.Load()+"/end", http.StatusTemporaryRedirect)
		}
	})
	var friend *host
	friend = newHost(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/out":
			http.Redirect(w, r, thief.URL+"/end", http.StatusTemporaryRedirect)
		case "/round":
			http.Redirect(w, r, thief.URL+"/back", http.StatusTemporaryRedirect)
		case "/self":
			http.Redirect(w, r, "/end", http.StatusTemporaryRedirect)
		case "/localhost": // the same server by another name is another origin
			http.Redirect(w, r, strings.Replace(friend.URL, "127.0.0.1", "localhost", 1)+"/end", http.StatusTemporaryRedirect)
		}
	})
	back.Store(&friend.URL)
	other := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, friend.URL+"/end", http.StatusTemporaryRedirect)
	})
	client := &http.Client{Transport: newTransport(t, (&wire{life: 900}).source(t), nil, friend.URL, other.URL)}
	for _, test := range []struct {
		url           string
		friend, thief []string
	}{
		{friend.URL + "/end", []string{"/end T"}, nil},
		{friend.URL + "/self", []string{"/self T", "/end T"}, nil},
		{friend.URL + "/out", []string{"/out T"}, []string{"/end"}},
		{friend.URL + "/round", []string{"/round T", "/end"}, []string{"/back"}}, // the thief has chosen that request
		{friend.URL + "/localhost", []string{"/localhost T", "/end"}, nil},
		{other.URL + "/", []string{"/end T"}, nil}, // both may have it
	} {
		for _, method := range []string{"GET", "POST"} {
			r, err := http.NewRequest(method, test.url, bytes.NewReader([]byte("body")))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatalf("%s: %v", test.url, err)
			}
			response.Body.Close()
			for i, want := range [][]string{test.friend, test.thief} {
				got := []*host{friend, thief}[i].requests()
				for j := range got {
					got[j] = strings.Replace(got[j], "Bearer t1.t1.t1", "T", 1)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s %s: host %d got %q, want %q", method, test.url, i, got, want)
				}
			}
		}
	}
}

func TestARequestToAnotherOriginIsAnError(t *testing.T) {
	stranger := newHost(t, func(http.ResponseWriter, *http.Request) {})
	w := &wire{life: 900}
	client := &http.Client{Transport: newTransport(t, w.source(t), nil, "https://billing.example.com")}
	body := &closing{Reader: strings.NewReader("x")}
	_, err := client.Post(stranger.URL, "text/plain", body)
	if err == nil || !strings.Contains(err.Error(), "Origins") || len(stranger.requests()) != 0 || w.asked.Load() != 0 {
		t.Errorf("error %v", err)
	}
	if !body.closed.Load() {
		t.Error("the body was not closed")
	}
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }

func TestOriginsAreCompared(t *testing.T) {
	transport := newTransport(t, (&wire{}).source(t), nil,
		"https://Billing.example.com/", "https://b.example.com:8443", "http://127.0.0.1", "http://[::1]:80")
	for text, want := range map[string]bool{
		"https://billing.example.com/a?b":       true,
		"https://billing.example.com:443/":      true,
		"HTTPS://BILLING.example.com/":          true,
		"https://b.example.com:8443/":           true,
		"http://127.0.0.1:80/":                  true,
		"http://[::1]/":                         true,
		"http://billing.example.com/":           false,
		"http://billing.example.com:443/":       false,
		"https://billing.example.com:444/":      false,
		"https://billing.example.com./":         false,
		"https://xbilling.example.com/":         false,
		"https://billing.example.com.evil.com/": false,
		"https://billing.example.com@evil.com/": false,
		"https://b.example.com/":                false,
		"https:billing.example.com":             false,
		"/a":                                    false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := transport.has(u); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestATransportThatCannotBeRightIsRefused(t *testing.T) {
	s := (&wire{}).source(t)
	for name, cfg := range map[string]TransportConfig{
		"no source":   {Origins: []string{"https://a"}},
		"no origin":   {Source: s},
		"plain http":  {Source: s, Origins: []string{"http://a.example.com"}},
		"a path":      {Source: s, Origins: []string{"https://a/b"}},
		"a query":     {Source: s, Origins: []string{"https://a?b"}},
		"a user":      {Source: s, Origins: []string{"https://a@b"}},
		"a wildcard":  {Source: s, Origins: []string{"*"}},
		"no scheme":   {Source: s, Origins: []string{"billing.example.com"}},
		"a bad after": {Source: s, Origins: []string{"https://a", ""}},
	} {
		if _, err := NewTransport(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// refusing is a service in the bubble that accepts a token by its number, and keeps what it was sent.
type refusing struct {
	accepts   string
	challenge string
	bodies    []string
	seen      []string
	refusal   *closing
}

func (s *refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(text)
		r.Body.Close()
	}
	s.bodies = append(s.bodies, body)
	s.seen = append(s.seen, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	response := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("good")), Request: r}
	if s.seen[len(s.seen)-1] != s.accepts {
		s.refusal = &closing{Reader: strings.NewReader("refused")}
		response.StatusCode, response.Body = 401, s.refusal
		response.Header.Set("WWW-Authenticate", s.challenge)
	}
	return response, nil
}

func TestARequestWithARefusedTokenIsSentAgainOnceWithAnother(t *testing.T) {
	const invalid = `Bearer error="invalid_token"`
	for _, test := range []struct {
		name      string
		accepts   string
		challenge string
		age       time.Duration
		body      io.Reader // nil: none
		status    int
		seen      string
		issued    int64
	}{
		{"another is good", "t2.t2.t2", invalid, time.Minute, nil, 200, "[t1.t1.t1 t2.t2.t2]", 2},
		{"with a body", "t2.t2.t2", invalid, time.Minute, strings.NewReader("body"), 200, "[t1.t1.t1 t2.t2.t2]", 2},
		{"another is refused, too", "t9.t9.t9", invalid, time.Minute, nil, 401, "[t1.t1.t1 t2.t2.t2]", 2},
		{"with a body that is gone", "t2.t2.t2", invalid, time.Minute, io.MultiReader(strings.NewReader("body")), 401, "[t1.t1.t1]", 2},
		{"a new token", "t2.t2.t2", invalid, 0, nil, 401, "[t1.t1.t1]", 1},
		{"no reason", "t2.t2.t2", "Bearer", time.Minute, nil, 401, "[t1.t1.t1]", 1},
		{"another reason", "t2.t2.t2", `Bearer error="insufficient_scope"`, time.Minute, nil, 401, "[t1.t1.t1]", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{life: 900}
				source := w.source(t)
				service := &refusing{accepts: test.accepts, challenge: test.challenge}
				client := &http.Client{Transport: newTransport(t, source, service, "https://billing")}
				expect(t, source, 1)
				time.Sleep(test.age)
				r, err := http.NewRequest("POST", "https://billing/a", test.body)
				if err != nil {
					t.Fatal(err)
				}
				response, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(response.Body)
				if err != nil || string(text) != map[int]string{200: "good", 401: "refused"}[response.StatusCode] {
					t.Errorf("answer %q, error %v", text, err)
				}
				response.Body.Close()
				synctest.Wait()
				if response.StatusCode != test.status || fmt.Sprint(service.seen) != test.seen || w.issued.Load() != test.issued {
					t.Errorf("status %d, sent %v, %d tokens were issued", response.StatusCode, service.seen, w.issued.Load())
				}
				if !service.refusal.closed.Load() {
					t.Error("the refusal's body was not closed")
				}
				for _, body := range service.bodies {
					if test.body != nil && body != "body" {
						t.Errorf("body %q", body)
					}
				}
			})
		})
	}
}

func TestWithoutAnotherTokenTheCallerGetsTheRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900}
		source := w.source(t)
		service := &refusing{accepts: "none", challenge: `Bearer error="invalid_token"`}
		client := &http.Client{Transport: newTransport(t, source, service, "https://billing")}
		expect(t, source, 1)
		time.Sleep(time.Minute)
		w.fail("")
		for range 3 {
			if status, text := get(t, client, "https://billing/a"); status != 401 || text != "refused" {
				t.Errorf("status %d, answer %q", status, text)
			}
		}
		if w.asked.Load() != 2 || source.Status().Err == nil {
			t.Errorf("%d requests, status %+v", w.asked.Load(), source.Status())
		}
	})
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{life: 900, delay: time.Hour}
		service := &refusing{}
		client := &http.Client{Transport: newTransport(t, w.source(t), service, "https://billing")}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		body := &closing{Reader: strings.NewReader("x")}
		r, err := http.NewRequestWithContext(ctx, "POST", "https://billing", body)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := client.Do(r); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: error %v", time.Since(began), err)
		}
		if len(service.seen) != 0 || !body.closed.Load() {
			t.Errorf("sent %v, body closed: %v", service.seen, body.closed.Load())
		}
	})
}
