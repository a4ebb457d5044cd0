package jws

import (
	"slices"
	"strings"
	"testing"
)

// headerTest is a header, and the reason for which it is refused or "".
type headerTest struct {
	header string
	want   Reason
}

func runHeaderTests(t *testing.T, tests map[string]headerTest) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tokenOf(test.header, usualClaims))
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantReason(t, err, test.want)
		})
	}
}

func TestV1_AlgorithmsAreComparedExactly(t *testing.T) {
	tests := map[string]headerTest{}
	for _, alg := range []string{"EdDSA", "Ed25519", "ES256", "RS256", "PS256"} {
		tests[alg] = headerTest{`{"alg":"` + alg + `","kid":"k"}`, ""}
	}
	for _, alg := range []string{"eddsa", "EDDSA", "ED25519", "ed25519", "es256", "rs256", "Ps256", "HS256", "HS384", "HS512", "ES384", "ES512",
		"ES256K", "RS384", "RS512", "PS384", "PS512", "RS1", "Ed448", "RSA-OAEP", "dir", "EdDSA ", " EdDSA", "EdDSA\\u0000", "", "ML-DSA-44"} {
		tests["not "+alg] = headerTest{`{"alg":"` + alg + `","kid":"k"}`, ReasonAlgorithm}
	}
	tests["a missing alg"] = headerTest{`{"kid":"k"}`, ReasonAlgorithm}
	tests["an alg of null"] = headerTest{`{"alg":null,"kid":"k"}`, ReasonAlgorithm}
	tests["an alg that is an array"] = headerTest{`{"alg":["EdDSA"],"kid":"k"}`, ReasonAlgorithm}
	tests["an alg that is a number"] = headerTest{`{"alg":0,"kid":"k"}`, ReasonAlgorithm}
	tests["an alg in escape sequences is the same alg"] = headerTest{`{"\u0061lg":"\u0045dDSA","kid":"k"}`, ""}
	runHeaderTests(t, tests)
}

func TestV3_NoneIsNoAlgorithm(t *testing.T) {
	tests := map[string]headerTest{}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "noNE", "n\\u006fne"} {
		tests[alg] = headerTest{`{"alg":"` + alg + `","kid":"k"}`, ReasonAlgorithm}
	}
	runHeaderTests(t, tests)
	if slices.Contains(Algorithms(), "none") || Algorithm("none").Fits(nil) {
		t.Error("none is an algorithm")
	}
}

func TestV6_DuplicateHeaderMembersAreRefused(t *testing.T) {
	runHeaderTests(t, map[string]headerTest{
		"two alg":                           {`{"alg":"EdDSA","alg":"EdDSA","kid":"k"}`, ReasonHeader},
		"two alg, the second is none":       {`{"alg":"EdDSA","kid":"k","alg":"none"}`, ReasonHeader},
		"two kid":                           {`{"alg":"EdDSA","kid":"k","kid":"l"}`, ReasonHeader},
		"two kid, one in escape sequences":  {`{"alg":"EdDSA","kid":"k","\u006bid":"l"}`, ReasonHeader},
		"two members that nobody knows":     {`{"alg":"EdDSA","kid":"k","x":1,"x":1}`, ReasonHeader},
		"two members in an object below":    {`{"alg":"EdDSA","kid":"k","x":{"y":1,"y":1}}`, ReasonHeader},
		"one name at two depths is not two": {`{"alg":"EdDSA","kid":"k","x":{"alg":"none","kid":"l"}}`, ""},
	})
}

func TestV7_HeaderNamesAreExact(t *testing.T) {
	runHeaderTests(t, map[string]headerTest{
		"ALG is not alg":                      {`{"ALG":"EdDSA","kid":"k"}`, ReasonAlgorithm},
		"KID is not kid":                      {`{"alg":"EdDSA","Kid":"k"}`, ReasonKeyID},
		"a Kelvin sign is not a k":            {`{"alg":"EdDSA","` + "\u212a" + `id":"k"}`, ReasonKeyID},
		"Alg beside alg does not count":       {`{"alg":"EdDSA","Alg":"none","KID":"l","kid":"k"}`, ""},
		"Crit does not count":                 {`{"alg":"EdDSA","kid":"k","Crit":["exp"]}`, ""},
		"a name with a space is another name": {`{"alg ":"EdDSA","kid":"k"}`, ReasonAlgorithm},
	})
	token := mustParse(t, tokenOf(`{"KID":"upper","alg":"EdDSA","ALG":"none","kid":"lower","Typ":"x"}`, usualClaims))
	if token.Header.KeyID != "lower" || token.Header.Algorithm != EdDSA || token.Header.Type != "" {
		t.Errorf("header %+v", token.Header)
	}
}

func TestV8_ExtensionsAreRefused(t *testing.T) {
	runHeaderTests(t, map[string]headerTest{
		"crit with a known name":     {`{"alg":"EdDSA","kid":"k","crit":["exp"],"exp":1}`, ReasonHeader},
		"crit with b64":              {`{"alg":"EdDSA","kid":"k","crit":["b64"],"b64":false}`, ReasonHeader},
		"an empty crit":              {`{"alg":"EdDSA","kid":"k","crit":[]}`, ReasonHeader},
		"a crit of null":             {`{"alg":"EdDSA","kid":"k","crit":null}`, ReasonHeader},
		"crit in escape sequences":   {`{"alg":"EdDSA","kid":"k","cr\u0069t":["exp"]}`, ReasonHeader},
		"b64 false without crit":     {`{"alg":"EdDSA","kid":"k","b64":false}`, ReasonHeader},
		"b64 true":                   {`{"alg":"EdDSA","kid":"k","b64":true}`, ReasonHeader},
		"crit below another member":  {`{"alg":"EdDSA","kid":"k","x":{"crit":["exp"]}}`, ""},
		"members that nobody knows":  {`{"alg":"EdDSA","kid":"k","cty":"x","zip":"DEF","p2c":1e9,"x5t":"y"}`, ""},
		"members of unknown meaning": {`{"alg":"EdDSA","kid":"k","":0,"__proto__":{},"x":[null,true]}`, ""},
	})
}

func TestV9_KeysInTheTokenAreIgnoredAndTold(t *testing.T) {
	token := mustParse(t, tokenOf(`{"alg":"EdDSA","jku":"https://evil.example/keys","jwk":{"kty":"OKP"},"kid":"k","x5u":0,"x5c":["MII"]}`, usualClaims))
	if want := []string{"jku", "jwk", "x5u", "x5c"}; !slices.Equal(token.Header.Ignored, want) {
		t.Errorf("ignored %q, want %q", token.Header.Ignored, want)
	}
	if token := mustParse(t, usualToken()); token.Header.Ignored != nil {
		t.Errorf("ignored %q, want none", token.Header.Ignored)
	}
}

func TestHeaderMembersHaveTheirTypes(t *testing.T) {
	runHeaderTests(t, map[string]headerTest{
		"no kid":                           {`{"alg":"EdDSA"}`, ReasonKeyID},
		"an empty kid":                     {`{"alg":"EdDSA","kid":""}`, ReasonKeyID},
		"a kid that is a number":           {`{"alg":"EdDSA","kid":1}`, ReasonKeyID},
		"a kid of null":                    {`{"alg":"EdDSA","kid":null}`, ReasonKeyID},
		"a kid that is an object":          {`{"alg":"EdDSA","kid":{"k":1}}`, ReasonKeyID},
		"a kid with a zero byte":           {`{"alg":"EdDSA","kid":"k\u0000"}`, ReasonKeyID},
		"a kid with a line break":          {`{"alg":"EdDSA","kid":"k\nl"}`, ReasonKeyID},
		"a kid with DEL":                   {"{\"alg\":\"EdDSA\",\"kid\":\"k\x7f\"}", ReasonKeyID},
		"a kid that is not UTF-8":          {"{\"alg\":\"EdDSA\",\"kid\":\"k\xff\"}", ReasonHeader},
		"a kid that is half a pair":        {`{"alg":"EdDSA","kid":"\ud800"}`, ReasonHeader},
		"a kid with quotes":                {`{"alg":"EdDSA","kid":"\"k\\"}`, ""},
		"a typ that is a number":           {`{"alg":"EdDSA","kid":"k","typ":1}`, ReasonHeader},
		"a typ of null":                    {`{"alg":"EdDSA","kid":"k","typ":null}`, ReasonHeader},
		"an empty typ":                     {`{"alg":"EdDSA","kid":"k","typ":""}`, ReasonHeader},
		"a typ with a control character":   {`{"alg":"EdDSA","kid":"k","typ":"at+jwt\u0007"}`, ReasonHeader},
		"no typ":                           {`{"alg":"EdDSA","kid":"k"}`, ""},
		"white space":                      {" {\n\t\"alg\" : \"EdDSA\" , \"kid\" : \"k\" }\r\n", ""},
		"an array":                         {`["alg","EdDSA"]`, ReasonHeader},
		"a string":                         {`"EdDSA"`, ReasonHeader},
		"not JSON":                         {`alg=EdDSA`, ReasonHeader},
		"two objects":                      {`{"alg":"EdDSA","kid":"k"}{}`, ReasonHeader},
		"a byte order mark":                {"\ufeff" + `{"alg":"EdDSA","kid":"k"}`, ReasonHeader},
		"a comma at the end":               {`{"alg":"EdDSA","kid":"k",}`, ReasonHeader},
		"a comment":                        {`{"alg":"EdDSA",/**/"kid":"k"}`, ReasonHeader},
		"single quotes":                    {`{'alg':'EdDSA','kid':'k'}`, ReasonHeader},
		"nested 9 deep":                    {`{"alg":"EdDSA","kid":"k","x":[[[[[[[[]]]]]]]]}`, ReasonHeader},
		"nested 8 deep":                    {`{"alg":"EdDSA","kid":"k","x":[[[[[[[]]]]]]]}`, ""},
		"a header of zero bytes in base64": {"\x00", ReasonHeader},
	})
}

// A kid is only a name: whatever it looks like, it comes out as it went in, for an exact comparison.
func TestC_KeyIDsOfEveryKindAreOnlyNames(t *testing.T) {
	for _, kid := range []string{"../../etc/passwd", "' OR 1=1 --", "*", "key.>", "|id", "%2e%2e", "k%00", "$(id)", "a.b", "https://evil.example/k",
		"ключ", "𝒌", strings.Repeat("ü", MaxKeyID/2)} {
		token := mustParse(t, tokenOf(`{"alg":"EdDSA","kid":"`+kid+`"}`, usualClaims))
		if token.Header.KeyID != kid {
			t.Errorf("kid %q came out as %q", kid, token.Header.KeyID)
		}
	}
}

func TestV14_TypesAreComparedAsMediaTypes(t *testing.T) {
	for _, test := range []struct {
		typ, name string
		want      bool
	}{
		{"at+jwt", "at+jwt", true},
		{"AT+JWT", "at+jwt", true},
		{"application/at+jwt", "at+jwt", true},
		{"Application/At+Jwt", "at+jwt", true},
		{"JWT", "jwt", true},
		{"", "at+jwt", false},
		{"jwt", "at+jwt", false},
		{"at+jwt ", "at+jwt", false},
		{"application/application/at+jwt", "at+jwt", false},
		{"text/at+jwt", "at+jwt", false},
		{"oauth-authz-req+jwt", "at+jwt", false},
		{"application/", "at+jwt", false},
		{"application/", "", false},
		{"\u212abjwt", "kbjwt", false},
	} {
		if got := (Header{Type: test.typ}).IsType(test.name); got != test.want {
			t.Errorf("typ %q is %q: %v, want %v", test.typ, test.name, got, test.want)
		}
	}
}
