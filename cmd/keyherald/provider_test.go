package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// provider is an identity provider at which users log in: on TLS, with an authority of its own, with discovery, and keys that it
// rotates.
type provider struct {
	*httptest.Server
	t  *testing.T
	ca string // file

	mu       sync.Mutex
	kids     []string
	keys     map[string]ed25519.PrivateKey
	down     bool
	requests []*http.Request
}

const providerAge = "max-age=1800"

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, keys: map[string]ed25519.PrivateKey{}}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.answer))
	t.Cleanup(p.Close)
	p.ca = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	if err := os.WriteFile(p.ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// rotate publishes the given keys and no others.
func (p *provider) rotate(kids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kids = kids
	for _, kid := range kids {
		if p.keys[kid] == nil {
			_, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				p.t.Fatal(err)
			}
			p.keys[kid] = private
		}
	}
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r)
	if p.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"response_types_supported":["code"]}`, p.URL, p.URL+"/keys")
	case "/keys":
		tag := fmt.Sprintf("%q", fmt.Sprint(p.kids))
		w.Header().Set("Cache-Control", providerAge)
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, `{"keys":[{"kty":"RSA","use":"enc","kid":"enc","n":"AQAB","e":"AQAB"}`) // as many have
		for _, kid := range p.kids {
			x := base64.RawURLEncoding.EncodeToString(p.keys[kid].Public().(ed25519.PublicKey))
			fmt.Fprintf(w, `,{"kty":"OKP","crv":"Ed25519","use":"sig","kid":%q,"x":%q}`, kid, x)
		}
		fmt.Fprint(w, `]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// asked returns the requests for a path so far.
func (p *provider) asked(path string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

// agents returns who has asked for anything.
func (p *provider) agents() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	agents := map[string]bool{}
	for _, r := range p.requests {
		agents[r.UserAgent()] = true
	}
	return agents
}

// token is a user's access token, signed with the provider's key of that kid, or with none of its keys if it has none.
func (p *provider) token(kid string) string {
	p.t.Helper()
	p.mu.Lock()
	key := p.keys[kid]
	p.mu.Unlock()
	if key == nil {
		key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	}
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			p.t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	now := time.Now().Unix()
	input := part(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}) + "." + part(map[string]any{
		"iss": p.URL, "sub": "user|anna", "aud": "https://billing", "iat": now, "exp": now + 600, "scope": "billing:read profile",
	})
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(input)))
}
