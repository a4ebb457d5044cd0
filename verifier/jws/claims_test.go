package jws

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

// parseClaims reads a token with these claims.
func parseClaims(claims string) (Claims, error) {
	token, err := Parse(tokenOf(usualHeader, claims))
	if err != nil {
		return Claims{}, err
	}
	return token.Claims, nil
}

func mustParseClaims(t *testing.T, claims string) Claims {
	t.Helper()
	c, err := parseClaims(claims)
	if err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	return c
}

// refuseClaims expects all the claims to be refused, with the reason claims.
func refuseClaims(t *testing.T, tests map[string]string) {
	t.Helper()
	for name, claims := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseClaims(claims)
			wantReason(t, err, ReasonClaims)
		})
	}
}

func TestClaimsAreReadMemberByMember(t *testing.T) {
	c := mustParseClaims(t, `{"iss":"https://i","sub":"s","client_id":"c","jti":"j","aud":["a","b","c"],"token_use":"access","scope":"x y",
		"exp":3,"nbf":1,"iat":2,"nonce":"n","at_hash":"h","c_hash":null,"cnf":{"jkt":"t"},"unknown":{"iss":"other"}}`)
	if c.Issuer != "https://i" || c.Subject != "s" || c.ClientID != "c" || c.ID != "j" || c.TokenUse != "access" {
		t.Errorf("identifiers %+v", c)
	}
	if !slices.Equal(c.Audience, []string{"a", "b", "c"}) || c.Scope != "x y" || !c.HasScope {
		t.Errorf("audience and scope %+v", c)
	}
	if c.Expiry != 3 || c.NotBefore != 1 || c.IssuedAt != 2 || !c.HasExpiry || !c.HasNotBefore || !c.HasIssuedAt {
		t.Errorf("times %+v", c)
	}
	if !c.HasNonce || !c.HasAtHash || !c.HasCHash || string(c.Confirmation) != `{"jkt":"t"}` {
		t.Errorf("the rest %+v", c)
	}
}

func TestAbsentClaimsAreAbsent(t *testing.T) {
	c := mustParseClaims(t, `{}`)
	if c.Issuer != "" || c.Subject != "" || c.ClientID != "" || c.ID != "" || c.TokenUse != "" || c.Audience != nil || c.Scope != "" || c.HasScope ||
		c.HasExpiry || c.HasNotBefore || c.HasIssuedAt || c.HasNonce || c.HasAtHash || c.HasCHash || c.Confirmation != nil {
		t.Errorf("claims %+v", c)
	}
}

func TestV6_DuplicateClaimsAreRefused(t *testing.T) {
	refuseClaims(t, map[string]string{
		"two sub":                          `{"sub":"a","sub":"b"}`,
		"two sub that are equal":           `{"sub":"a","sub":"a"}`,
		"two sub, one in escape sequences": `{"sub":"a","\u0073ub":"b"}`,
		"two exp":                          `{"exp":1,"iat":1,"exp":99999999999}`,
		"two members that nobody knows":    `{"x":1,"x":2}`,
		"two members in cnf":               `{"cnf":{"jkt":"a","jkt":"b"}}`,
	})
}

func TestV7_ClaimNamesAreExact(t *testing.T) {
	c := mustParseClaims(t, `{"Sub":"upper","sub":"lower","SUB":"x","Iss":"y","EXP":1,"Aud":"z","client_Id":"q","\u017fub":"long s","Scope":"all","NONCE":1}`)
	if c.Subject != "lower" || c.Issuer != "" || c.HasExpiry || c.Audience != nil || c.ClientID != "" || c.HasScope || c.HasNonce {
		t.Errorf("claims %+v", c)
	}
}

func TestV13_AudienceIsAStringOrAnArrayAlike(t *testing.T) {
	for claims, want := range map[string][]string{
		`{"aud":"a"}`:               {"a"},
		`{"aud":["a"]}`:             {"a"},
		`{"aud":["a","b"]}`:         {"a", "b"},
		`{"aud": [ "a" , "b" ] }`:   {"a", "b"},
		`{"aud":"a b"}`:             {"a b"}, // not two
		`{"aud":"a,b"}`:             {"a,b"},
		`{"aud":"[\"a\"]"}`:         {`["a"]`},
		`{"aud":["a","a"]}`:         {"a", "a"},
		`{"aud":["https:\/\/a"]}`:   {"https://a"},
		`{"aud":["a","b","c","d"]}`: {"a", "b", "c", "d"},
		`{"iss":"a"}`:               nil,
	} {
		if got := mustParseClaims(t, claims).Audience; !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s gave %q, want %q", claims, got, want)
		}
	}
	refuseClaims(t, map[string]string{
		"null":                       `{"aud":null}`,
		"a number":                   `{"aud":1}`,
		"true":                       `{"aud":true}`,
		"an object":                  `{"aud":{"a":"a"}}`,
		"an empty string":            `{"aud":""}`,
		"an empty array":             `{"aud":[]}`,
		"an array of arrays":         `{"aud":[["a"]]}`,
		"an array with null":         `{"aud":["a",null]}`,
		"an array with a number":     `{"aud":["a",1]}`,
		"an array with an empty one": `{"aud":["a",""]}`,
		"a control character":        `{"aud":"a\u0000b"}`,
		"a control character within": `{"aud":["a","b\r"]}`,
	})
}

func TestIdentifiersAreNotEmptyAndHaveNoControlCharacters(t *testing.T) {
	for _, name := range []string{"iss", "sub", "client_id", "jti", "token_use"} {
		tests := map[string]string{}
		for _, value := range []string{`""`, `null`, `1`, `true`, `{}`, `[]`, `["a"]`, `"a\u0000"`, `"\u001f"`, `"a\tb"`, "\"\x7f\"", `"\u007f"`} {
			tests[name+" "+value] = `{"` + name + `":` + value + `}`
		}
		refuseClaims(t, tests)
	}
	c := mustParseClaims(t, `{"iss":"a\/b","sub":"\u00fc\ud83d\ude00","client_id":" ","jti":"\"\\","token_use":"%00"}`)
	if c.Issuer != "a/b" || c.Subject != "ü😀" || c.ClientID != " " || c.ID != `"\` || c.TokenUse != "%00" {
		t.Errorf("claims %+v", c)
	}
}

// No decoding of percent signs, no folding of case or of Unicode: iss and sub are compared byte by byte.
func TestC_IdentifiersComeOutAsTheyAre(t *testing.T) {
	for _, s := range []string{"https://auth.example.com/v1/clients/orders%2F..%2Fadmin", "https://auth.example.com/v1/clients/%6frders",
		"HTTPS://AUTH.EXAMPLE.COM", "https://auth.example.com/", "é", "e\u0301", "\u200borders", "orders."} {
		if c := mustParseClaims(t, `{"iss":"`+s+`","sub":"`+s+`"}`); c.Issuer != s || c.Subject != s {
			t.Errorf("%q came out as %q and %q", s, c.Issuer, c.Subject)
		}
	}
}

func TestV18_TimesArePlainIntegers(t *testing.T) {
	for _, name := range []string{"exp", "nbf", "iat"} {
		for value, want := range map[string]int64{"0": 0, "1": 1, "1650000000": 1650000000, "9007199254740991": 1<<53 - 1} {
			c := mustParseClaims(t, `{"`+name+`":`+value+`}`)
			got, has := map[string]int64{"exp": c.Expiry, "nbf": c.NotBefore, "iat": c.IssuedAt}[name],
				map[string]bool{"exp": c.HasExpiry, "nbf": c.HasNotBefore, "iat": c.HasIssuedAt}[name]
			if got != want || !has {
				t.Errorf("%s %s gave %d, %v", name, value, got, has)
			}
		}
		tests := map[string]string{}
		for _, value := range []string{`"1650000000"`, `1650000000.0`, `1.5`, `1e9`, `1E9`, `1e400`, `-1e400`, `-1`, `-0`, `9007199254740992`, `-9007199254740992`,
			`18446744073709551616`, strings.Repeat("9", 400), `null`, `true`, `[]`, `[1]`, `{}`, `01`, `+1`, `0x10`, `1_000`, `NaN`, `Infinity`, `.5`, `1.`, ``} {
			tests[name+" "+value[:min(len(value), 24)]] = `{"` + name + `":` + value + `}`
		}
		refuseClaims(t, tests)
	}
}

func TestScope(t *testing.T) {
	for name, test := range map[string]struct {
		claims, want string
		has          bool
	}{
		"a string":                              {`{"scope":"a b"}`, "a b", true},
		"an empty string grants nothing":        {`{"scope":""}`, "", true},
		"scopes as a string":                    {`{"scopes":"a b"}`, "a b", true},
		"scopes as an array":                    {`{"scopes":["a","b"]}`, "a b", true},
		"scopes as an array of one":             {`{"scopes":["openid"]}`, "openid", true},
		"scopes as an empty array":              {`{"scopes":[]}`, "", true},
		"scope counts where both are there":     {`{"scopes":["admin"],"scope":"a"}`, "a", true},
		"scope counts even if it is empty":      {`{"scope":"","scopes":["admin"]}`, "", true},
		"scopes of any type beside scope":       {`{"scope":"a","scopes":{"b":1}}`, "a", true},
		"escape sequences":                      {`{"scopes":["\u0061","b\/c"]}`, "a b/c", true},
		"neither":                               {`{"scp":"a"}`, "", false},
		"scopes of 128 entries":                 {`{"scopes":["a"` + strings.Repeat(`,"a"`, MaxScopes-1) + `]}`, strings.Repeat("a ", MaxScopes-1) + "a", true},
		"more than a usual token's room":        {`{"scope":"` + strings.Repeat("ab ", 1000) + `"}`, strings.Repeat("ab ", 1000), true},
		"an array and more than the usual room": {`{"scopes":["` + strings.Repeat("a", 900) + `","` + strings.Repeat("b", 900) + `"]}`, strings.Repeat("a", 900) + " " + strings.Repeat("b", 900), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := mustParseClaims(t, test.claims)
			if c.Scope != test.want || c.HasScope != test.has {
				t.Errorf("got %q, %v", c.Scope, c.HasScope)
			}
		})
	}
	refuseClaims(t, map[string]string{
		"scope as an array":           `{"scope":["a"]}`,
		"scope as a number":           `{"scope":1}`,
		"scope as null":               `{"scope":null}`,
		"a control character":         `{"scope":"a\nb"}`,
		"scopes as an object":         `{"scopes":{"a":1}}`,
		"scopes as null":              `{"scopes":null}`,
		"an entry with a space":       `{"scopes":["a b"]}`, // would become two
		"an empty entry":              `{"scopes":["a",""]}`,
		"an entry that is a number":   `{"scopes":[1]}`,
		"an entry with a line break":  `{"scopes":["a\n"]}`,
		"scopes as text with control": `{"scopes":"a\u0000"}`,
		"scopes of 129 entries":       `{"scopes":["a"` + strings.Repeat(`,"a"`, MaxScopes) + `]}`,
	})
}

func TestConfirmationIsAnObject(t *testing.T) {
	refuseClaims(t, map[string]string{"null": `{"cnf":null}`, "a string": `{"cnf":"x"}`, "an array": `{"cnf":[]}`})
	if c := mustParseClaims(t, `{"cnf":{}}`); string(c.Confirmation) != "{}" {
		t.Errorf("cnf %q", c.Confirmation)
	}
}

func TestV18_ClaimsAtAndOverTheEdge(t *testing.T) {
	claims := func(n int) string {
		b := []byte(`{"c0":0`)
		for i := range n - 1 {
			b = append(b, `,"c`+strconv.Itoa(i+1)+`":0`...)
		}
		return string(append(b, '}'))
	}
	audience := func(n int) string { return `{"aud":["a"` + strings.Repeat(`,"a"`, n-1) + `]}` }
	nested := func(n int) string { // the claims themselves are the first level
		return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}`
	}
	mustParseClaims(t, claims(MaxClaims))
	mustParseClaims(t, audience(MaxAudience))
	mustParseClaims(t, nested(MaxDepth))
	refuseClaims(t, map[string]string{
		"65 claims":             claims(MaxClaims + 1),
		"17 audiences":          audience(MaxAudience + 1),
		"1,000 audiences":       audience(1000),
		"nested 9 deep":         nested(MaxDepth + 1),
		"nested 2,500 deep":     nested(2500),
		"2,500 unclosed arrays": `{"x":` + strings.Repeat("[", 2500),
		"2,500 unclosed":        strings.Repeat(`{"":`, 1000),
	})
}

func TestClaimsAreStrictJSON(t *testing.T) {
	refuseClaims(t, map[string]string{
		"an array":             `[]`,
		"a string":             `"x"`,
		"null":                 `null`,
		"text":                 `foo`,
		"white space":          ` `,
		"two objects":          `{}{}`,
		"unclosed":             `{"iss":"i"`,
		"a comma too many":     `{"iss":"i",}`,
		"a raw line break":     "{\"x\":\"a\nb\"}",
		"a raw zero byte":      "{\"x\":\"a\x00b\"}",
		"invalid UTF-8":        "{\"x\":\"\xc3\x28\"}",
		"overlong UTF-8":       "{\"x\":\"\xc0\xaf\"}",
		"a surrogate in UTF-8": "{\"x\":\"\xed\xa0\x80\"}",
		"half a pair":          `{"x":"\udc00"}`,
		"UTF-16":               "{\x00\"\x00",
		"a bad number":         `{"x":01}`,
	})
}

func TestErrorsTellTheCauseButNotTheToken(t *testing.T) {
	const secret = "fortytwo-is-the-answer"
	for _, token := range []string{
		tokenOf(usualHeader, `{"`+secret+`":1,"`+secret+`":2}`),
		tokenOf(usualHeader, `{"iss":"`+secret+`\n"}`),
		tokenOf(usualHeader, `{"exp":"`+secret+`"}`),
		tokenOf(`{"alg":"`+secret+`"}`, `{}`),
		tokenOf(`{"alg":"EdDSA","kid":"`+secret+`\u0000"}`, `{}`),
		secret + "." + secret + "." + secret,
		`{"payload":"` + secret + `"}`,
	} {
		_, err := Parse(token)
		if err == nil {
			t.Fatalf("%s was accepted", token)
		}
		for _, part := range append(strings.Split(token, "."), secret) {
			if part != "" && strings.Contains(err.Error(), part) {
				t.Errorf("error %q has a part of the token", err)
			}
		}
	}
	_, err := Parse(tokenOf(usualHeader, `{"a":1,"a":2}`))
	var cause *strictjson.SyntaxError
	if !errors.As(err, &cause) || cause.Offset != 7 {
		t.Errorf("the cause of %v is %v", err, cause)
	}
	if want := "token claims: json: duplicate member name at byte 7"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	_, err = Parse(tokenOf(usualHeader, `{"exp":1.0}`))
	if want := "token claim exp: not an integer"; err == nil || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
