package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// with returns record, a JSON object, with members set to JSON texts; an empty text takes the member out.
func with(record string, members ...string) string {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(record), &m); err != nil {
		panic(err)
	}
	for i := 0; i < len(members); i += 2 {
		if m[members[i]] = json.RawMessage(members[i+1]); members[i+1] == "" {
			delete(m, members[i])
		}
	}
	out, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// list is a JSON list of n different strings of the given length.
func list(n, length int) string {
	items := make([]string, n)
	for i := range items {
		items[i] = fmt.Sprintf("%q", fmt.Sprintf("%0*d", length, i))
	}
	return "[" + strings.Join(items, ",") + "]"
}

// text is a JSON string of n characters.
func text(n int) string { return `"` + strings.Repeat("x", n) + `"` }

func TestIssuerMembers(t *testing.T) {
	accepted := map[string]string{
		"a platform":                                  platformJSON,
		"a platform without an account":               with(platformJSON, "account", ""),
		"a platform with a path":                      with(platformJSON, "iss", `"https://example.com/auth/v2"`),
		"a platform on loopback":                      with(platformJSON, "iss", `"http://127.0.0.1:8080"`),
		"a platform on loopback by IPv6":              with(platformJSON, "iss", `"http://[::1]:8080"`),
		"a platform on localhost":                     with(platformJSON, "iss", `"http://localhost:8080"`),
		"a client":                                    clientJSON,
		"a client of nothing":                         `{"type":"client","status":"active"}`,
		"a disabled client":                           with(clientJSON, "status", `"disabled"`),
		"a client with empty lists and zeros":         with(clientJSON, "resource", `[]`, "scope", `""`, "not_before", `0`, "iss", `""`),
		"64 audiences":                                with(clientJSON, "aud", list(64, 10)),
		"an audience of 1 KiB":                        with(clientJSON, "aud", `[`+text(1024)+`]`),
		"a scope of 4 KiB":                            with(clientJSON, "scope", text(4096)),
		"a scope value twice, which counts once":      with(clientJSON, "scope", `"a a"`),
		"a max_token_ttl of a second":                 with(clientJSON, "max_token_ttl", `1`),
		"a max_token_ttl of a day":                    with(clientJSON, "max_token_ttl", `86400`),
		"the last not_before":                         with(clientJSON, "not_before", `9007199254740991`),
		"an iat":                                      with(clientJSON, "iat", `1790000000`),
		"an offline of false without aud":             with(clientJSON, "offline", `false`, "aud", ""),
		"an external issuer":                          externalJSON,
		"an external issuer with a slash":             with(externalJSON, "iss", `"https://tenant.auth0.example/"`),
		"an external issuer of access tokens":         with(externalJSON, "use", `["access_token"]`, "aud", `["https://billing"]`),
		"a jwks_uri with a query":                     with(externalJSON, "jwks_uri", `"https://idp.example.net/keys?x=y"`),
		"unknown members, and known ones in capitals": with(clientJSON, "Type", `5`, "color", `{"a":[null]}`),
	}
	for name, record := range accepted {
		t.Run(name, func(t *testing.T) {
			r, err := ParseIssuer([]byte(record))
			if err != nil {
				t.Fatal(err)
			}
			out, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ParseIssuer(out); err != nil || !reflect.DeepEqual(back, r) {
				t.Fatalf("reads back as\n%+v (%v), was\n%+v", back, err, r)
			}
		})
	}

	refused := []struct{ name, record, want string }{
		{"nothing", ``, "json:"},
		{"a text", `not json`, "json:"},
		{"a list", `[]`, "not an object"},
		{"two values", clientJSON + `{}`, "json:"},
		{"a member twice", `{"type":"client","status":"active","status":"disabled"}`, "duplicate"},
		{"a member twice in another spelling", `{"type":"client","status":"active","st\u0061tus":"disabled"}`, "duplicate"},
		{"an unknown member twice", `{"type":"client","status":"active","a":1,"a":1}`, "duplicate"},
		{"no type", with(clientJSON, "type", ""), `type ""`},
		{"an unknown type", with(clientJSON, "type", `"user"`), `"user" is not one of ["platform" "client" "external"]`},
		{"a type in capitals", with(clientJSON, "type", `"Client"`), `"type"`},
		{"a type of null", with(clientJSON, "type", `null`), `"type": not a string`},
		{"a type of a number", with(clientJSON, "type", `1`), `"type": not a string`},
		{"no status", with(clientJSON, "status", ""), `status ""`},
		{"an unknown status", with(clientJSON, "status", `"on"`), `"on" is not one of`},
		{"a status of true", with(clientJSON, "status", `true`), `"status": not a string`},
		{"an aud of a string", with(clientJSON, "aud", `"https://billing"`), `"aud": not an array`},
		{"an aud of numbers", with(clientJSON, "aud", `[1]`), `"aud": not a string`},
		{"an empty audience", with(clientJSON, "aud", `[""]`), "aud has an entry"},
		{"an audience twice", with(clientJSON, "aud", `["a","b","a"]`), `aud has "a" twice`},
		{"an audience of more than 1 KiB", with(clientJSON, "aud", `[`+text(1025)+`]`), "aud has an entry"},
		{"an audience with a line break", with(clientJSON, "aud", `["a\nb"]`), "aud has an entry"},
		{"65 audiences", with(clientJSON, "aud", list(65, 10)), `"aud": more than 64`},
		{"10,000 audiences", with(clientJSON, "aud", list(10_000, 4)), "more than 16384"},
		{"a scope of a list", with(clientJSON, "scope", `["a"]`), `"scope": not a string`},
		{"a scope with two spaces", with(clientJSON, "scope", `"a  b"`), "RFC 6749"},
		{"a scope that ends with a space", with(clientJSON, "scope", `"a "`), "RFC 6749"},
		{"a scope with a quote", with(clientJSON, "scope", `"a\"b"`), "RFC 6749"},
		{"a scope with an umlaut", with(clientJSON, "scope", `"lösen"`), "RFC 6749"},
		{"a scope of more than 4 KiB", with(clientJSON, "scope", text(4097)), "4097 bytes"},
		{"a resource of a string", with(clientJSON, "resource", `"x"`), `"resource": not an array`},
		{"65 resources", with(clientJSON, "resource", list(65, 10)), `"resource": more than 64`},
		{"a resource twice", with(clientJSON, "resource", `["a","a"]`), `resource has "a" twice`},
		{"an offline of a string", with(clientJSON, "offline", `"true"`), `"offline": not true or false`},
		{"an offline of a number", with(clientJSON, "offline", `1`), `"offline": not true or false`},
		{"offline without aud", with(clientJSON, "aud", ""), "non-empty aud"},
		{"offline with an empty aud", with(clientJSON, "aud", `[]`), "non-empty aud"},
		{"a max_token_ttl of zero", with(clientJSON, "max_token_ttl", `0`), `"max_token_ttl": zero`},
		{"a negative max_token_ttl", with(clientJSON, "max_token_ttl", `-1`), "max_token_ttl -1"},
		{"a max_token_ttl of more than a day", with(clientJSON, "max_token_ttl", `86401`), "max_token_ttl 86401"},
		{"a max_token_ttl of a string", with(clientJSON, "max_token_ttl", `"3600"`), `"max_token_ttl": not an integer`},
		{"a max_token_ttl of a fraction", with(clientJSON, "max_token_ttl", `1.5`), `"max_token_ttl": not an integer`},
		{"a negative not_before", with(clientJSON, "not_before", `-1`), `"not_before"`},
		{"a negative iat", with(clientJSON, "iat", `-1`), `"iat"`},
		{"an iat of a date", with(clientJSON, "iat", `"2026-01-01"`), `"iat": not an integer`},
		{"a not_before of a float", with(clientJSON, "not_before", `1e9`), `"not_before": not an integer`},
		{"a not_before beyond 2^53", with(clientJSON, "not_before", `9007199254740992`), `"not_before"`},
		{"a client with an iss", with(clientJSON, "iss", `"https://a"`), "a client has no iss"},
		{"a client with use", with(clientJSON, "use", `["assertion"]`), "a client has no use"},
		{"a client with a jwks_uri", with(clientJSON, "jwks_uri", `"https://a"`), "a client has no use, jwks_uri"},
		{"a client with an account", with(clientJSON, "account", `"acc-0123456789"`), "a client has no use, jwks_uri or account"},
		{"a platform with aud", with(platformJSON, "aud", `["a"]`), "a platform has no"},
		{"a platform with scope", with(platformJSON, "scope", `"a"`), "a platform has no"},
		{"a platform with resource", with(platformJSON, "resource", `["a"]`), "a platform has no"},
		{"a platform with offline", with(platformJSON, "offline", `true`), "a platform has no"},
		{"a platform with use", with(platformJSON, "use", `["assertion"]`), "a platform has no"},
		{"a platform with a jwks_uri", with(platformJSON, "jwks_uri", `"https://a"`), "a platform has no"},
		{"a platform without iss", with(platformJSON, "iss", ""), "iss"},
		{"a platform with a slash at its end", with(platformJSON, "iss", `"https://auth.example.com/"`), "ends with a slash"},
		{"an account that is none", with(platformJSON, "account", `"acc"`), "account"},
		{"an account of a number", with(platformJSON, "account", `1`), `"account": not a string`},
		{"an external issuer without iss", with(externalJSON, "iss", ""), "iss"},
		{"an iss of a number", with(externalJSON, "iss", `1`), `"iss": not a string`},
		{"an external issuer without use", with(externalJSON, "use", ""), "needs use"},
		{"an external issuer with an empty use", with(externalJSON, "use", `[]`), "needs use"},
		{"a use of a string", with(externalJSON, "use", `"assertion"`), `"use": not an array`},
		{"an unknown use", with(externalJSON, "use", `["id_token"]`), "use has something else"},
		{"a use twice", with(externalJSON, "use", `["assertion","assertion"]`), "use has something else"},
		{"three uses", with(externalJSON, "use", `["assertion","access_token","x"]`), `"use": more than 2`},
		{"access tokens without aud", with(externalJSON, "use", `["access_token"]`), "non-empty aud"},
		{"an external issuer with offline", with(externalJSON, "offline", `true`), "has no offline"},
		{"an external issuer with an account", with(externalJSON, "account", `"acc-0123456789"`), "has no offline, account"},
		{"an external issuer with resource", with(externalJSON, "resource", `["a"]`), "or resource"},
		{"a jwks_uri of a number", with(externalJSON, "jwks_uri", `1`), `"jwks_uri": not a string`},
		{"a jwks_uri of plain http", with(externalJSON, "jwks_uri", `"http://idp.example.net"`), "loopback"},
		{"a value of more than 16 KiB", with(clientJSON, "x", text(MaxValue)), "more than 16384"},
		{"a private key for an issuer", `{"kty":"OKP","d":"x"}`, "status"},
	}
	for _, c := range refused {
		t.Run("refused: "+c.name, func(t *testing.T) {
			r, err := ParseIssuer([]byte(c.record))
			checkRefused(t, err, c.want)
			if r != nil {
				t.Fatal("an error and a record")
			}
		})
	}
}

func TestIssuerURLs(t *testing.T) {
	for url, want := range map[string]string{
		"https://auth.example.com":             "",
		"https://auth.example.com:8443/a/b":    "",
		"http://127.8.9.1":                     "",
		"http://[::1]":                         "",
		"":                                     "not a URL",
		"auth.example.com":                     "not a URL",
		"//auth.example.com":                   "not an https URL",
		"https:auth":                           "not a URL",
		"https://":                             "not a URL",
		"https://:443":                         "not a URL",
		"https://a b":                          "printable ASCII",
		"https://auth.example.com/a b":         "printable ASCII",
		"https://auth.example.com/\n":          "printable ASCII",
		"https://äuth.example.com":             "printable ASCII",
		"https://auth.example.com?":            "query, fragment or user",
		"https://auth.example.com?a=b":         "query, fragment or user",
		"https://auth.example.com#":            "query, fragment or user",
		"https://auth.example.com#a":           "query, fragment or user",
		"https://user@auth.example.com":        "query, fragment or user",
		"http://auth.example.com":              "loopback",
		"http://127.0.0.1.example.com":         "loopback",
		"http://0.0.0.0":                       "loopback",
		"http://10.0.0.1":                      "loopback",
		"ftp://auth.example.com":               "not an https URL",
		"javascript://auth.example.com":        "not an https URL",
		"https://" + strings.Repeat("a", 1017): "printable ASCII",
	} {
		err := CheckIssuerURL("iss", url)
		if want == "" && err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want one with %q", url, err, want)
		}
	}
}

func TestAnIssuerWithoutMaxTokenTTLHasAnHour(t *testing.T) {
	if got := (&Issuer{}).TokenTTL(); got != time.Hour {
		t.Errorf("%v", got)
	}
	if got := (&Issuer{MaxTokenTTL: 900}).TokenTTL(); got != 15*time.Minute {
		t.Errorf("%v", got)
	}
}

func TestAudiencesAreComparedExactly(t *testing.T) {
	r := &Issuer{Audience: []string{"https://billing"}}
	for aud, want := range map[string]bool{"https://billing": true, "https://billing/": false, "https://Billing": false, "": false} {
		if r.AllowsAudience(aud) != want {
			t.Errorf("%q: %v", aud, !want)
		}
	}
	if !(&Issuer{}).AllowsAudience("https://anything") {
		t.Error("an issuer without aud has a limit")
	}
}
