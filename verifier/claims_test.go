package verifier_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/jws"
)

func TestV17_WhatIsRequiredDependsOnTheIssuersType(t *testing.T) {
	v := installation(t).verifier()
	withJTI := offlineClaims.with("jti", `"j1"`)
	for _, c := range []struct {
		claim                     string
		online, offline, external verifier.Reason
	}{
		{"iss", verifier.ReasonIssuer, verifier.ReasonIssuer, verifier.ReasonIssuer},
		{"sub", verifier.ReasonClaims, verifier.ReasonClaims, verifier.ReasonClaims},
		{"aud", verifier.ReasonClaims, verifier.ReasonClaims, verifier.ReasonClaims},
		{"exp", verifier.ReasonClaims, verifier.ReasonClaims, verifier.ReasonClaims},
		{"client_id", verifier.ReasonClaims, verifier.ReasonClaims, accepted},
		{"iat", verifier.ReasonClaims, verifier.ReasonClaims, accepted},
		{"jti", verifier.ReasonClaims, accepted, accepted},
		{"scope", accepted, accepted, accepted},
	} {
		t.Run("without "+c.claim, func(t *testing.T) {
			expect(t, v, online(t, onlineClaims.without(c.claim)), c.online)
			expect(t, v, offline(t, withJTI.without(c.claim)), c.offline)
			expect(t, v, external(t, externalClaims.with("client_id", `"c"`).with("jti", `"j"`).without(c.claim)), c.external)
		})
	}
	// Present but empty, or of another type, is malformed for everybody.
	for _, name := range []string{"iss", "sub", "client_id", "jti"} {
		for _, json := range []string{`""`, `null`, `1`, `["orders"]`, `{}`, `"a\u0000b"`, `"a\nb"`} {
			token := forge(t, platformKey, header("EdDSA", "p1", "at+jwt"), onlineClaims.with(name, json).String())
			expect(t, v, token, verifier.ReasonMalformed)
		}
	}
}

func TestV18_LimitsHoldToTheByte(t *testing.T) {
	v := installation(t).verifier()
	// padded returns a token of orders that is exactly n bytes long, or as near as base64url comes to it from below.
	padded := func(n int) string {
		token, room := "", 0
		for {
			next := forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("x", `"`+strings.Repeat("x", room)+`"`).String())
			if len(next) > n {
				return token
			}
			token, room = next, room+max(1, (n-len(next))*3/4-2)
		}
	}
	longest := padded(jws.MaxToken)
	if len(longest) < jws.MaxToken-1 {
		t.Fatalf("the longest token has %d bytes", len(longest))
	}
	longHeader := func(n int) string {
		h := `{"alg":"EdDSA","kid":"k1","typ":"at+jwt","x":""}`
		return forge(t, ordersKey, strings.Replace(h, `""`, `"`+strings.Repeat("x", n-len(h))+`"`, 1), offlineClaims.String())
	}
	payload := func(name, json string) string {
		return forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with(name, json).String())
	}
	nested := func(depth int) string { return strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) } // in the object, which is one
	members := func(n int) string {
		c := offlineClaims
		for i := len(c); i < n; i++ {
			c = c.with(fmt.Sprintf("c%d", i), "1")
		}
		return forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), c.String())
	}
	audiences := func(n int) string {
		return payload("aud", `["`+billing+`"`+strings.Repeat(`,"`+reports+`"`, n-1)+`]`)
	}
	values := func(n int) string { // as many members and elements: those of the token, then x and what is in it
		return payload("x", "["+strings.Repeat("1,", n-len(offlineClaims)-2)+"1]")
	}
	judge(t, v, []row{
		{"a token of the full length", longest, accepted},
		{"a longer token", padded(jws.MaxToken + 2), verifier.ReasonMalformed},
		{"a header of the full size", longHeader(jws.MaxHeader), accepted},
		{"a longer header", longHeader(jws.MaxHeader + 1), verifier.ReasonMalformed},
		{"as deep as can be", payload("x", nested(jws.MaxDepth)), accepted},
		{"deeper", payload("x", nested(jws.MaxDepth+1)), verifier.ReasonMalformed},
		{"as many claims as can be", members(jws.MaxClaims), accepted},
		{"more claims", members(jws.MaxClaims + 1), verifier.ReasonMalformed},
		{"as many values as can be", values(jws.MaxValues), accepted},
		{"more values", values(jws.MaxValues + 1), verifier.ReasonMalformed},
		{"as many audiences as can be", audiences(jws.MaxAudience), accepted},
		{"more audiences", audiences(jws.MaxAudience + 1), verifier.ReasonMalformed},
	})
}

func TestV18_NumbersAreSecondsAndNothingElse(t *testing.T) {
	v := installation(t).verifier()
	// A claim that nobody here knows may be any number that is finite for who reads it later.
	for json, want := range map[string]verifier.Reason{
		`1.5e300`: accepted, `-0.25`: accepted, `123456789012345678901234567890`: accepted,
		`1e400`: verifier.ReasonMalformed, `-1e400`: verifier.ReasonMalformed, strings.Repeat("9", 309): verifier.ReasonMalformed,
	} {
		expect(t, v, forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("x", json).String()), want)
	}
	for _, name := range []string{"exp", "iat", "nbf"} {
		for _, json := range []string{
			`"1790000100"`, `1790000100.0`, `1790000100.5`, `1.7900001e9`, `1790000100e0`, `1e400`, `-1e400`, `-1`, `-0`, `9007199254740992`, `18446744073709551617`,
			`99999999999999999999999999`, `null`, `true`, `[1790000100]`, `{}`, `01790000100`, `+1790000100`, `0x6ab13ae4`, `NaN`, `Infinity`, ``,
		} {
			token := forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with(name, json).String())
			expect(t, v, token, verifier.ReasonMalformed)
		}
	}
}
