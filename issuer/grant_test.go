package issuer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/events"
)

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
		{"no limit, more than a token can have", unlimited, resources(many), nil},
		{"no limit, as many as a token can have", unlimited, resources(many[1:]), many[1:]},
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

// resources are the parameters that ask for audiences.
func resources(audience []string) (params []string) {
	for _, a := range audience {
		params = append(params, "resource", a)
	}
	return params
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
