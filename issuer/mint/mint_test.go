package mint

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// The access key and the token that Authress publishes with its SDKs: a test value, never a real credential. Ed25519 is
// deterministic, so there is one right answer.
const (
	goldenKey    = "sc_aAKceYi7VJDCU8vB7HcTo3Q.pogP.acc0-authress-account-id.MC4CAQAwBQYDK2VwBCIEIDVjjrIVCH3dVRq4ixRzBwjVHSoB2QzZ2iJuHq1Wshwp"
	goldenIssuer = "https://authress.token-validation.test"
	goldenIat    = 1650000000
	goldenToken  = "eyJhbGciOiJFZERTQSIsImtpZCI6InBvZ1AiLCJ0eXAiOiJhdCtqd3QifQ." +
		"eyJhdWQiOiJhY2MwLWF1dGhyZXNzLWFjY291bnQtaWQuYWNjb3VudHMuYXV0aHJlc3MuaW8iLCJpc3MiOiJodHRwczovL2F1dGhyZXNzLnRva2VuLXZhbGlkYX" +
		"Rpb24udGVzdC92MS9jbGllbnRzL3NjX2FBS2NlWWk3VkpEQ1U4dkI3SGNUbzNRIiwic3ViIjoic2NfYUFLY2VZaTdWSkRDVTh2QjdIY1RvM1EiLCJjbGllbnRf" +
		"aWQiOiJzY19hQUtjZVlpN1ZKRENVOHZCN0hjVG8zUSIsImlhdCI6MTY1MDAwMDAwMCwiZXhwIjoxNjUwMDg2NDAwLCJzY29wZSI6Im9wZW5pZCJ9." +
		"T0wXutLVx_iZQ49mdN3VRzN13F3WCJuVzK3R_yweQTAgCF9XPg_gXIus-B-yMXOmRdzuXPDBoiJLP9CF2czuDQ"
)

func goldenMinter(t testing.TB) *Minter {
	t.Helper()
	key, err := events.ParseAccessKey(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	m, err := FromAccessKey(key, goldenIssuer)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTheGoldenTokenOfAuthressIsMintedByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(goldenIat, 0))) // of the bubble's clock
		m := goldenMinter(t)
		token, err := m.Token(Request{Audience: []string{m.AccountAudience()}, Scope: "openid", TTL: 24 * time.Hour, NoID: true})
		if err != nil {
			t.Fatal(err)
		}
		if token != goldenToken {
			t.Errorf("minted\n%s, Authress has\n%s", token, goldenToken)
		}
	})
}

func TestAnOfflineTokenHasItsClaimsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := goldenMinter(t)
		const client = "sc_aAKceYi7VJDCU8vB7HcTo3Q"
		tests := []struct {
			name string
			r    Request
			want string // with the jti as %s, after exp
		}{
			{"by default", Request{Audience: []string{"https://billing"}}, `{"aud":"https://billing",%s,"exp":%d,"jti":"%s"}`},
			{"with a scope", Request{Audience: []string{"https://billing"}, Scope: "b a"}, `{"aud":"https://billing",%s,"exp":%d,"jti":"%s","scope":"b a"}`},
			{"for two", Request{Audience: []string{"b", "a"}}, `{"aud":["b","a"],%s,"exp":%d,"jti":"%s"}`},
			{"without jti", Request{Audience: []string{"a"}, NoID: true}, `{"aud":"a",%s,"exp":%d%.0s}`},
			{"for a second", Request{Audience: []string{"a"}, TTL: 1999 * time.Millisecond}, `{"aud":"a",%s,"exp":%d,"jti":"%s"}`},
		}
		for _, test := range tests {
			text, err := m.Token(test.r)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			token, err := jws.Parse(text)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			life := int64(900)
			if test.r.TTL != 0 {
				life = 1
			}
			now := time.Now().Unix()
			middle := fmt.Sprintf(`"iss":"%s/v1/clients/%s","sub":"%s","client_id":"%s","iat":%d`, goldenIssuer, client, client, client, now)
			if want := fmt.Sprintf(test.want, middle, now+life, token.Claims.ID); string(token.Payload()) != want {
				t.Errorf("%s: claims\n%s, want\n%s", test.name, token.Payload(), want)
			}
			if h := token.Header; h.Type != "at+jwt" || h.KeyID != "pogP" || h.Algorithm != jws.EdDSA {
				t.Errorf("%s: header %+v", test.name, h)
			}
			if raw, err := base64.RawURLEncoding.DecodeString(token.Claims.ID); err != nil || len(raw) != 16 && !test.r.NoID {
				t.Errorf("%s: jti %s is not of 128 bits", test.name, token.Claims.ID)
			}
		}
	})
}

func TestARequestThatNoVerifierWouldAcceptIsRefused(t *testing.T) {
	m := goldenMinter(t)
	for name, r := range map[string]Request{
		"no audience":                  {},
		"an empty audience":            {Audience: []string{""}},
		"an audience that is too long": {Audience: []string{strings.Repeat("a", events.MaxURI+1)}},
		"an audience that is no UTF-8": {Audience: []string{"\xff"}},
		"an audience with a line":      {Audience: []string{"a\nb"}},
		"17 audiences":                 {Audience: slices.Repeat([]string{"a"}, 17)},
		"a scope with two spaces":      {Audience: []string{"a"}, Scope: "a  b"},
		"a scope with a quote":         {Audience: []string{"a"}, Scope: `a"b`},
		"a life of a day and a second": {Audience: []string{"a"}, TTL: 24*time.Hour + time.Second},
		"half a second":                {Audience: []string{"a"}, TTL: 500 * time.Millisecond},
		"a negative life":              {Audience: []string{"a"}, TTL: -time.Hour},
		"a token over 8 KiB":           {Audience: slices.Repeat([]string{strings.Repeat("a", 1000)}, 8)},
	} {
		if token, err := m.Token(r); err == nil || token != "" {
			t.Errorf("%s: minted %q", name, token)
		}
	}
	if _, err := m.Token(Request{}); err == nil || !strings.Contains(err.Error(), "the services that it is for") {
		t.Errorf("no audience: error %v does not say what is missing", err)
	}
	if token, err := m.Token(Request{Audience: []string{"a"}, TTL: 24 * time.Hour}); err != nil || token == "" {
		t.Errorf("a life of a day: %v", err)
	}
}

func TestI5_AnAssertionIsForTheIssuerAloneForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := goldenMinter(t)
		seen := map[string]bool{}
		for audience, want := range map[string]string{"": goldenIssuer, "https://other": "https://other"} {
			text, err := m.Assertion(audience)
			if err != nil {
				t.Fatal(err)
			}
			token, err := jws.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			c := token.Claims
			if token.Header.Type != "client-authentication+jwt" || c.Issuer != "sc_aAKceYi7VJDCU8vB7HcTo3Q" || c.Subject != c.Issuer {
				t.Errorf("header %+v, claims %+v", token.Header, c)
			}
			if !slices.Equal(c.Audience, []string{want}) {
				t.Errorf("aud %q, want %q", c.Audience, want)
			}
			if c.IssuedAt != time.Now().Unix() || c.Expiry != c.IssuedAt+60 {
				t.Errorf("iat %d, exp %d", c.IssuedAt, c.Expiry)
			}
			if len(c.ID) < 22 || seen[c.ID] {
				t.Errorf("jti %s is not new", c.ID)
			}
			seen[c.ID] = true
		}
	})
}

func TestAKeyMayBeOfAnyKindAndAnywhere(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		key       crypto.Signer
		algorithm events.Algorithm
		want      jws.Algorithm
	}{
		{"Ed25519", ed, "", jws.EdDSA},
		{"P-256", ec, "", jws.ES256},
		{"RSA with RS256", rsaKey, events.RS256, jws.RS256},
		{"RSA with PS256", rsaKey, events.PS256, jws.PS256},
		{"in a KMS", kms{ec}, events.ES256, jws.ES256},
	} {
		m, err := New(Config{Issuer: "https://auth.example.com/", Client: "orders", KeyID: "k1", Key: test.key, Algorithm: test.algorithm})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		text, err := m.Token(Request{Audience: []string{"https://billing"}})
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		token, err := jws.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if token.Header.Algorithm != test.want || token.Claims.Issuer != "https://auth.example.com/v1/clients/orders" {
			t.Errorf("%s: alg %s, iss %s", test.name, token.Header.Algorithm, token.Claims.Issuer)
		}
		if err := jws.Verify(test.want, test.key.Public(), token.SigningInput(), token.Signature()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// kms is a signer that has nothing but its methods.
type kms struct{ key crypto.Signer }

func (k kms) Public() crypto.PublicKey { return k.key.Public() }
func (k kms) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.key.Sign(random, digest, opts)
}

func TestAConfigurationThatCannotBeRightIsRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Issuer: "https://auth.example.com", Client: "orders", KeyID: "k1", Key: ed}
	for name, modify := range map[string]func(*Config){
		"no issuer":                         func(c *Config) { c.Issuer = "" },
		"plain http":                        func(c *Config) { c.Issuer = "http://auth.example.com" },
		"a query":                           func(c *Config) { c.Issuer = "https://auth.example.com?a" },
		"no client":                         func(c *Config) { c.Client = "" },
		"a client with a slash":             func(c *Config) { c.Client = "a/b" },
		"no kid":                            func(c *Config) { c.KeyID = "" },
		"a kid with a line":                 func(c *Config) { c.KeyID = "a\nb" },
		"no key":                            func(c *Config) { c.Key = nil },
		"an RSA key without an algorithm":   func(c *Config) { c.Key = rsaKey },
		"a curve that nobody accepts":       func(c *Config) { c.Key = p384 },
		"an algorithm of another kind":      func(c *Config) { c.Algorithm = events.ES256 },
		"an algorithm that does not exist":  func(c *Config) { c.Algorithm = "none" },
		"an account that is none":           func(c *Config) { c.Account = "x" },
		"an account that breaks out of aud": func(c *Config) { c.Account = "acc-12345678.evil.example/" },
	} {
		cfg := good
		modify(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	if _, err := FromAccessKey(events.AccessKey{}, "https://auth.example.com"); err == nil {
		t.Error("an empty access key: no error")
	}
}

func TestWithoutAnAccountThereIsNoAccountAudience(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Issuer: "https://auth.example.com", Client: "orders", KeyID: "k1", Key: ed})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.AccountAudience(); got != "" {
		t.Errorf("account audience %q", got)
	}
}

func TestASignerThatFailsFailsTheToken(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the KMS is away")
	m, err := New(Config{Issuer: "https://auth.example.com", Client: "orders", KeyID: "k1", Key: failing{ed, broken}})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := m.Token(Request{Audience: []string{"a"}}); !errors.Is(err, broken) || token != "" {
		t.Errorf("token %q, error %v", token, err)
	}
	if token, err := m.Assertion(""); !errors.Is(err, broken) || token != "" {
		t.Errorf("assertion %q, error %v", token, err)
	}
}

type failing struct {
	crypto.Signer
	err error
}

func (f failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, f.err }

func TestNothingSecretIsPrinted(t *testing.T) {
	m := goldenMinter(t)
	key := events.NewAPIKey("orders")
	credential := APIKey(key)
	requester, err := NewRequester(RequesterConfig{Issuer: goldenIssuer, Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	token := Token{AccessToken: goldenToken}
	federated := Federated("orders", func(context.Context) (string, error) { return goldenToken, nil })
	access, err := events.ParseAccessKey(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"API key": key.Reveal(), "token": goldenToken,
		"private key": fmt.Sprint([]byte(access.Private())), "seed": strings.Trim(fmt.Sprint(access.Private().Seed()), "[]"),
		"private key in hexadecimal": fmt.Sprintf("%x", access.Private().Seed()),
	}
	for _, value := range []any{m, *m, credential, requester, *requester, token, &token, federated, JWTBearer(m), []any{m, credential, &token, federated}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			text := fmt.Sprintf(verb, value)
			if asJSON, err := json.Marshal(value); err == nil {
				text += string(asJSON)
			}
			for name, secret := range secrets {
				if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
					t.Errorf("%s of %T shows the %s", verb, value, name)
				}
			}
		}
	}
}

func BenchmarkToken(b *testing.B) {
	m := goldenMinter(b)
	r := Request{Audience: []string{"https://billing"}, Scope: "billing:read"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Token(r); err != nil {
			b.Fatal(err)
		}
	}
}
