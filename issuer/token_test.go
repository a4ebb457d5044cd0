package issuer

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/issuer/mint"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestI10_AnAccessTokenHasTheShapeOfRFC9068(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		token := f.granted(f.withKey("resource", "https://billing"))
		now := time.Now().Unix()
		if h := token.Header; h.Algorithm != jws.EdDSA || h.KeyID != string(f.kid()) || h.Type != "at+jwt" {
			t.Errorf("header %+v", h)
		}
		var id struct {
			ID string `json:"jti"`
		}
		if err := json.Unmarshal(token.Payload(), &id); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"iss":"%s","sub":"orders","aud":"https://billing","client_id":"orders","iat":%d,"exp":%d,"jti":"%s","scope":"billing:read billing:write"}`,
			testIssuer, now, now+900, id.ID)
		if string(token.Payload()) != want {
			t.Errorf("claims\n%s, want\n%s", token.Payload(), want)
		}
		if raw, err := base64.RawURLEncoding.DecodeString(id.ID); err != nil || len(raw) != 16 {
			t.Errorf("jti %s is not of 128 bits", id.ID)
		}
		if again := f.granted(f.withKey()); again.Claims.ID == token.Claims.ID {
			t.Error("two tokens have one jti")
		}
	})
}

func TestI3_TheAnswerIsNotStoredAndHasNoRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, r := range []*http.Request{f.withKey(), f.withKey("scope", "admin"), tokenRequestWith("grant_type", "password")} {
			w := f.do(r)
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Pragma") != "no-cache" {
				t.Errorf("status %d with Cache-Control %q, Pragma %q", w.Code, w.Header().Get("Cache-Control"), w.Header().Get("Pragma"))
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type %q", w.Header().Get("Content-Type"))
			}
		}
		var members map[string]any
		if err := json.Unmarshal(f.do(f.withKey()).Body.Bytes(), &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "access_token")
		want := map[string]any{"token_type": "Bearer", "expires_in": 900.0, "scope": "billing:read billing:write"}
		if fmt.Sprint(members) != fmt.Sprint(want) {
			t.Errorf("answer %v, want %v", members, want)
		}
	})
}

func TestI4_OnlyAFailedProofIs401AndItNamesTheSchemeIfAHeaderWasUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		withHeader := func(value string, params ...string) *http.Request {
			r := tokenRequestWith(append([]string{"grant_type", "client_credentials"}, params...)...)
			r.Header.Set("Authorization", value)
			return r
		}
		wrong := events.NewAPIKey("orders").Reveal()
		tests := []struct {
			name      string
			r         *http.Request
			status    int
			code      string
			challenge bool
		}{
			{"wrong key in the header", withHeader(basic("orders", wrong)), 401, "invalid_client", true},
			{"a header of another scheme", withHeader("Bearer x"), 401, "invalid_client", true},
			{"wrong key in the form", tokenRequestWith("grant_type", "client_credentials", "client_secret", wrong), 401, "invalid_client", false},
			{"a name alone", tokenRequestWith("grant_type", "client_credentials", "client_id", "orders"), 401, "invalid_client", false},
			{"two ways at once", withHeader(basic("orders", f.apiKey.Reveal()), "client_secret", f.apiKey.Reveal()), 400, "invalid_request", false},
			{"another grant", withHeader(basic("orders", f.apiKey.Reveal()), "grant_type2", "x"), 200, "", false},
			{"password", tokenRequestWith("grant_type", "password", "username", "a", "password", "b"), 400, "unsupported_grant_type", false},
			{"refresh token", tokenRequestWith("grant_type", "refresh_token"), 400, "unsupported_grant_type", false},
			{"jwt-bearer", tokenRequestWith("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "unsupported_grant_type", false},
			{"a grant in capitals", tokenRequestWith("grant_type", "Client_Credentials"), 400, "unsupported_grant_type", false},
			{"a scope of others", f.withKey("scope", "admin"), 400, "invalid_scope", false},
		}
		for _, test := range tests {
			a := f.token(test.r)
			if a.status != test.status || a.Error != test.code {
				t.Errorf("%s: status %d, error %s, want %d %s", test.name, a.status, a.Error, test.status, test.code)
			}
			want := ""
			if test.challenge {
				want = `Basic realm="https://auth.example.com", charset="UTF-8"`
			}
			if got := a.header.Get("WWW-Authenticate"); got != want {
				t.Errorf("%s: WWW-Authenticate %q, want %q", test.name, got, want)
			}
			for _, c := range a.Description {
				if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
					t.Errorf("%s: description %q has a character that it must not have", test.name, a.Description)
				}
			}
		}
	})
}

func TestI12_ScopeNeverExceedsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for asked, want := range map[string]string{
			"":                            "billing:read billing:write",
			"billing:read":                "billing:read",
			"billing:write billing:read":  "billing:read billing:write",
			"admin":                       "refused",
			"billing:read admin":          "refused",
			"billing":                     "refused",
			"billing:READ":                "refused",
			"*":                           "refused",
			"billing:read  billing:write": "refused", // two spaces: RFC 6749 §3.3
			" billing:read":               "refused",
			"billing:read\n":              "refused",
			`billing:read"`:               "refused",
		} {
			a := f.token(f.withKey("scope", asked))
			if want == "refused" {
				if a.status != 400 || a.Error != "invalid_scope" {
					t.Errorf("scope %q: status %d, error %s", asked, a.status, a.Error)
				}
				continue
			}
			if a.status != 200 || a.Scope != want {
				t.Errorf("scope %q: status %d, scope %q, want %q", asked, a.status, a.Scope, want)
				continue
			}
			if token, err := verify(f.bucket.Keys(), a.AccessToken); err != nil || token.Claims.Scope != want {
				t.Errorf("scope %q: the token has %q, error %v", asked, token.Claims.Scope, err)
			}
		}
		f.bucket.put("issuer.orders", `{"type":"client","status":"active","aud":["https://billing"]}`)
		if a := f.token(f.withKey()); a.status != 200 || a.Scope != "" {
			t.Errorf("a client with no scope: status %d, scope %q", a.status, a.Scope)
		}
		if a := f.token(f.withKey("scope", "billing:read")); a.Error != "invalid_scope" {
			t.Errorf("a client with no scope that asks for one: error %s", a.Error)
		}
	})
}

func TestI10_TheAudienceIsExplicitAndOneOfTheRecord(t *testing.T) {
	limited, unlimited := []string{"https://billing", "https://ledger"}, []string(nil)
	var many []string
	for i := range 17 {
		many = append(many, fmt.Sprint("https://service-", i))
	}
	tests := []struct {
		name   string
		record []string
		params []string
		want   []string // nil: refused
	}{
		{"nothing asked is all", limited, nil, limited},
		{"one", limited, []string{"resource", "https://ledger"}, []string{"https://ledger"}},
		{"one by the other name", limited, []string{"audience", "https://ledger"}, []string{"https://ledger"}},
		{"both names", limited, []string{"resource", "https://ledger", "audience", "https://billing"}, []string{"https://ledger", "https://billing"}},
		{"two", limited, []string{"resource", "https://ledger", "resource", "https://billing"}, []string{"https://ledger", "https://billing"}},
		{"one twice", limited, []string{"resource", "https://ledger", "resource", "https://ledger"}, []string{"https://ledger"}},
		{"one of others", limited, []string{"resource", "https://other"}, nil},
		{"one of others among good ones", limited, []string{"resource", "https://billing", "resource", "https://other"}, nil},
		{"a slash more", limited, []string{"resource", "https://billing/"}, nil},
		{"a part", limited, []string{"resource", "https://bill"}, nil},
		{"a wildcard", limited, []string{"resource", "*"}, nil},
		{"another case", limited, []string{"resource", "HTTPS://billing"}, nil},
		{"no limit, nothing asked", unlimited, nil, nil},
		{"no limit, one asked", unlimited, []string{"resource", "https://any"}, []string{"https://any"}},
		{"no limit, not UTF-8", unlimited, []string{"resource", "https://\xff"}, nil},
		{"no limit, a control character", unlimited, []string{"resource", "https://a\n"}, nil},
		{"no limit, too long", unlimited, []string{"resource", strings.Repeat("a", events.MaxURI+1)}, nil},
		{"no limit, at the limit of length", unlimited, []string{"resource", strings.Repeat("a", events.MaxURI)}, []string{strings.Repeat("a", events.MaxURI)}},
		{"more than a token can have, nothing asked", many, nil, nil},
		{"more than a token can have, some asked", many, []string{"resource", many[16]}, many[16:]},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t)
				value, err := (&events.Issuer{Type: events.TypeClient, Status: events.Active, Audience: test.record}).Encode()
				if err != nil {
					t.Fatal(err)
				}
				f.bucket.put("issuer.orders", string(value))
				if test.want == nil {
					if a := f.token(f.withKey(test.params...)); a.status != 400 || a.Error != "invalid_target" {
						t.Errorf("status %d, error %s, want invalid_target (RFC 8707 §2)", a.status, a.Error)
					}
					return
				}
				if token := f.granted(f.withKey(test.params...)); !slices.Equal(token.Claims.Audience, test.want) {
					t.Errorf("aud %q, want %q", token.Claims.Audience, test.want)
				}
			})
		})
	}
}

func TestATokenThatWouldBeTooLongIsRefusedWithAnAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.bucket.put("issuer.orders", `{"type":"client","status":"active"}`)
		var params []string
		for i := range 16 {
			params = append(params, "resource", fmt.Sprint(strings.Repeat("a", 1000), i))
		}
		if a := f.token(f.withKey(params...)); a.status != 400 || a.Error != "invalid_target" || !strings.Contains(a.Description, "fewer") {
			t.Errorf("status %d, error %s: %s", a.status, a.Error, a.Description)
		}
	})
}

func TestTheLifeOfATokenIsTheShortestOfAllLimits(t *testing.T) {
	tests := []struct {
		name             string
		node             time.Duration
		client, platform int // max_token_ttl, seconds; zero: none
		want             int64
	}{
		{"by default, 15 minutes", 0, 0, 0, 900},
		{"the node's", 5 * time.Minute, 0, 0, 300},
		{"the client's", 0, 60, 0, 60},
		{"a client's that is longer", 0, 7200, 0, 900},
		{"the platform's", 0, 0, 120, 120},
		{"the client's, less than the platform's", 0, 60, 120, 60},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := startReady(t, func(c *Config) { c.TokenTTL = test.node })
				ttl := func(seconds int) string {
					if seconds == 0 {
						return ""
					}
					return fmt.Sprintf(`,"max_token_ttl":%d`, seconds)
				}
				f.bucket.put("issuer.orders", `{"type":"client","status":"active","aud":["https://billing"]`+ttl(test.client)+`}`)
				f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+testIssuer+`"`+ttl(test.platform)+`}`)
				a := f.token(f.withKey())
				token, err := verify(f.bucket.Keys(), a.AccessToken)
				if err != nil {
					t.Fatal(err)
				}
				if life := token.Claims.Expiry - token.Claims.IssuedAt; life != test.want || a.ExpiresIn != test.want {
					t.Errorf("life %d, expires_in %d, want %d", life, a.ExpiresIn, test.want)
				}
			})
		})
	}
}

func TestATokenThatVerifiersWouldRefuseIsNotIssued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.bucket.put("issuer.orders", fmt.Sprintf(`{"type":"client","status":"active","aud":["https://billing"],"not_before":%d}`, time.Now().Unix()+1))
		a := f.token(f.withKey())
		if a.status != 400 || a.Error != "unauthorized_client" || a.header.Get("Retry-After") != "2" {
			t.Errorf("status %d, error %s, Retry-After %s", a.status, a.Error, a.header.Get("Retry-After"))
		}
		time.Sleep(2 * time.Second)
		f.granted(f.withKey())
	})
}

func TestAClientThatIsDisabledGetsNoTokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.granted(f.withKey())
		f.bucket.put("issuer.orders", strings.Replace(ordersJSON, "active", "disabled", 1))
		if a := f.token(f.withKey()); a.status != 401 || a.Error != "invalid_client" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
	})
}

func TestPrivateKeyJWTEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		token := f.granted(withAssertion(assertion, "client_id", "orders", "scope", "billing:read"))
		if token.Claims.Subject != "orders" || token.Claims.Scope != "billing:read" {
			t.Errorf("claims %+v", token.Claims)
		}
		if a := f.token(withAssertion(assertion)); a.status != 401 {
			t.Errorf("status %d for the same assertion again, want 401", a.status)
		}
		offline, err := f.minter().Token(mint.Request{Audience: []string{testIssuer}})
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(offline)); a.status != 401 {
			t.Errorf("status %d for an access token as assertion, want 401", a.status)
		}
	})
}

func TestI9_AnAssertionIsNotUsedUpByANodeThatCannotSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t) // it does not run
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(assertion)); a.status != 503 || a.Error != "temporarily_unavailable" || a.header.Get("Retry-After") != "5" {
			t.Errorf("status %d, error %s", a.status, a.Error)
		}
		f.start()
		time.Sleep(2 * time.Second)
		f.granted(withAssertion(assertion))
	})
}

func TestI9_AssertionsFailClosedAndAPIKeysGoOnWithoutReplayMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		f.memory.err = errors.New("no responders")
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		if a := f.token(withAssertion(assertion)); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("status %d, want 503 with Retry-After", a.status)
		}
		f.granted(f.withKey())
	})
}

func TestEveryDecisionIsOneLineInTheAuditLogWithoutSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		token := f.token(f.withKey())
		parsed, err := jws.Parse(token.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		wrong := events.NewAPIKey("orders").Reveal()
		assertion, err := f.minter().Assertion("")
		if err != nil {
			t.Fatal(err)
		}
		f.token(tokenRequestWith("grant_type", "client_credentials", "client_secret", wrong))
		f.token(f.withKey("scope", "admin"))
		f.token(withAssertion(assertion, "client_id", "closed"))
		f.token(tokenRequestWith("grant_type", "client_credentials", "client_id", "\n{\"level\":\"error\"}"))

		issued := f.log.lines(t, "token issued")
		if len(issued) != 1 {
			t.Fatalf("%d lines for one token: %s", len(issued), f.log)
		}
		for field, want := range map[string]any{"client": "orders", "method": "client_secret_post", "credential": "s1", "kid": string(f.kid()),
			"jti": parsed.Claims.ID, "address": "192.0.2.1"} {
			if issued[0][field] != want {
				t.Errorf("%s is %v, want %v", field, issued[0][field], want)
			}
		}
		refusals := f.log.lines(t, "token refused")
		want := []map[string]any{
			{"error": "invalid_client", "claimed_client": "orders", "reason": "unknown or expired API key", "method": "client_secret_post"},
			{"error": "invalid_scope", "client": "orders"},
			{"error": "invalid_client", "claimed_client": "orders", "method": "private_key_jwt"},
			{"error": "invalid_client", "claimed_client": ""},
		}
		if len(refusals) != len(want) {
			t.Fatalf("%d lines for %d refusals: %s", len(refusals), len(want), f.log)
		}
		for i, fields := range want {
			fields["address"] = "192.0.2.1"
			for field, value := range fields {
				if refusals[i][field] != value {
					t.Errorf("refusal %d: %s is %v, want %v", i, field, refusals[i][field], value)
				}
			}
		}
		for name, secret := range map[string]string{"API key": f.apiKey.Reveal(), "wrong API key": wrong, "token": token.AccessToken, "assertion": assertion} {
			if strings.Contains(f.log.String(), secret) || strings.Contains(f.log.String(), secret[len(secret)-20:]) {
				t.Errorf("the log has the %s", name)
			}
		}
	})
}

// TestOverHTTP runs a node and the clients of package mint over a real connection and a real clock.
func TestOverHTTP(t *testing.T) {
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer server.Close()
	f := newFixture(t, func(c *Config) { c.Issuer = server.URL })
	f.bucket.put("issuer.platform", `{"type":"platform","status":"active","iss":"`+server.URL+`"}`)
	handler = f.node.Handler()
	f.start()
	for deadline := time.Now().Add(30 * time.Second); f.node.Ready() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(f.node.Ready())
		}
	}
	accessKey, err := events.NewAccessKey("orders", "k1", "acc-0123456789", f.private)
	if err != nil {
		t.Fatal(err)
	}
	minter, err := mint.FromAccessKey(accessKey, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, credential := range map[string]mint.Credential{"access key": minter, "API key": mint.APIKey(f.apiKey)} {
		requester, err := mint.NewRequester(mint.RequesterConfig{Issuer: server.URL, Credential: credential})
		if err != nil {
			t.Fatal(err)
		}
		token, err := requester.Token(context.Background(), mint.Request{Audience: []string{"https://ledger"}, Scope: "billing:read"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parsed, err := verify(f.bucket.Keys(), token.AccessToken)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if parsed.Claims.ClientID != "orders" || parsed.Claims.Scope != "billing:read" || !slices.Equal(parsed.Claims.Audience, []string{"https://ledger"}) {
			t.Errorf("%s: claims %+v", name, parsed.Claims)
		}
		var refused *mint.OAuthError
		_, err = requester.Token(context.Background(), mint.Request{Scope: "admin"})
		if !errors.As(err, &refused) || refused.Code != "invalid_scope" || refused.Status != 400 {
			t.Errorf("%s: error %v, want invalid_scope", name, err)
		}
	}
}

func BenchmarkSignAccessToken(b *testing.B) {
	private := newPrivateKey(b)
	key, err := hide(private)
	if err != nil {
		b.Fatal(err)
	}
	g := &grant{client: "orders", audience: []string{"https://billing"}, scope: "billing:read billing:write"}
	var token string
	sign := func() {
		if token, err = signAccessToken(key, testIssuer, g, 1650000000, 1650000900, "AAAAAAAAAAAAAAAAAAAAAA"); err != nil {
			b.Fatal(err)
		}
	}
	sign()
	input := []byte(token[:strings.LastIndex(token, ".")])
	raw := func() { ed25519.Sign(private, input) }
	b.ReportAllocs()
	for b.Loop() {
		sign()
	}
	b.ReportMetric(ratio(sign, raw), "x-sign")
}

// ratio is the median of f's time over base's, measured in short turns in one run, because a machine is not equally fast all the time.
func ratio(f, base func()) float64 {
	timed := func(f func()) float64 {
		start := time.Now()
		for range 5 {
			f()
		}
		return float64(time.Since(start))
	}
	ratios := make([]float64, 801)
	for i := range ratios {
		ratios[i] = timed(f) / timed(base)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
