package interop

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

// balancer is what stands before the nodes, and is called as the issuer is. It sends requests to one node at a time.
type balancer struct {
	*httptest.Server
	node atomic.Pointer[url.URL]
}

func newBalancer(t *testing.T) *balancer {
	b := &balancer{}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(b.node.Load()) }})
	t.Cleanup(b.Close)
	return b
}

func (b *balancer) use(t *testing.T, n *node) {
	t.Helper()
	u, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	b.node.Store(u)
}

// stream requests tokens one after the other, has each verified by those who were there from the beginning, and keeps it.
type stream struct {
	t        *testing.T
	config   clientcredentials.Config
	theirs   *oidc.IDTokenVerifier
	ours     *verifier.Verifier
	mu       sync.Mutex
	tokens   []string
	byKey    map[string]int // how many by each kid
	progress chan struct{}  // a token was added
}

// run goes on until it is told to stop, or something is refused.
func (s *stream) run(ctx context.Context, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		token, err := s.config.Token(ctx)
		if err != nil {
			s.t.Errorf("no token: %v", err)
			return
		}
		if err := s.verify(ctx, token.AccessToken); err != nil {
			s.t.Error(err)
			return
		}
	}
}

func (s *stream) verify(ctx context.Context, text string) error {
	if _, err := s.theirs.Verify(ctx, text); err != nil {
		return fmt.Errorf("go-oidc refuses a token: %w", err)
	}
	if _, err := s.ours.Verify(text); err != nil {
		return fmt.Errorf("keyherald refuses a token: %w", err)
	}
	token, err := jws.Parse(text)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, text)
	s.byKey[token.Header.KeyID]++
	select {
	case s.progress <- struct{}{}:
	default:
	}
	return nil
}

// wait waits until there are tokens of a number of keys, and of each so many.
func (s *stream) wait(ended <-chan struct{}, keys, each int) {
	s.t.Helper()
	for {
		s.mu.Lock()
		known, fewest := len(s.byKey), len(s.tokens)
		for _, n := range s.byKey {
			fewest = min(fewest, n)
		}
		s.mu.Unlock()
		if known >= keys && fewest >= each {
			return
		}
		select {
		case <-s.progress:
		case <-ended:
			s.t.Fatalf("the stream of tokens has ended with %d keys", known)
		case <-s.t.Context().Done():
			s.t.Fatal("the test has no time left")
		}
	}
}

// TestGoOIDCRefusesNoTokenWhileSigningKeysChange is github.com/coreos/go-oidc with nothing but the issuer's URL and its own audience. Each
// node has its own signing key: the second one takes over and is stopped, the third one takes over and is killed, the fourth takes over.
func TestGoOIDCRefusesNoTokenWhileSigningKeysChange(t *testing.T) {
	front := newBalancer(t)
	s := startSystem(t, front.URL)
	front.use(t, s.node)
	apiKey := s.apiKey()
	another := func() *node {
		return startNode(t, "--nats", "nats://"+s.nats, "--nkey", s.data+"/nats/issuer.nk", "--issuer", s.issuer)
	}

	theirs := discover(t, s.issuer, billing)
	tokens := &stream{
		t: t, theirs: theirs, ours: s.verifier(), byKey: map[string]int{}, progress: make(chan struct{}, 1),
		config: clientcredentials.Config{
			ClientID: "orders", ClientSecret: apiKey, TokenURL: s.issuer + "/oauth/token", EndpointParams: url.Values{"resource": {billing}},
		},
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tokens.run(context.WithoutCancel(t.Context()), stop)
	}()
	end := sync.OnceFunc(func() { close(stop); <-ended })
	defer end()

	const enough = 20
	tokens.wait(ended, 1, enough)
	second := another()
	front.use(t, second)
	tokens.wait(ended, 2, enough)
	third := another()
	front.use(t, third)
	tokens.wait(ended, 3, enough)
	second.stop(t)
	fourth := another()
	front.use(t, fourth)
	tokens.wait(ended, 4, enough)
	third.kill()
	tokens.wait(ended, 4, 2*enough)
	end()

	// A verifier that starts now has all keys that a live token needs, also those of nodes that are gone.
	late := discover(t, s.issuer, billing)
	for _, text := range tokens.tokens {
		if _, err := late.Verify(t.Context(), text); err != nil {
			t.Fatalf("go-oidc, started late, refuses a token: %v", err)
		}
		if _, err := theirs.Verify(t.Context(), text); err != nil {
			t.Fatalf("go-oidc refuses a token that it has accepted: %v", err)
		}
	}
	t.Logf("%d tokens by %d keys, none refused", len(tokens.tokens), len(tokens.byKey))

	elsewhere := discover(t, s.issuer, "https://ledger")
	if _, err := elsewhere.Verify(t.Context(), tokens.tokens[0]); err == nil {
		t.Error("go-oidc accepts a token that is for another service")
	}
}

// discover returns a verifier of go-oidc. It is made for ID tokens: aud is what it calls the client, and the algorithm has to be said
// where a provider has no ID tokens.
func discover(t *testing.T, issuer, audience string) *oidc.IDTokenVerifier {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	return provider.Verifier(&oidc.Config{ClientID: audience})
}
