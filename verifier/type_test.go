package verifier_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

func TestV14_TypTellsAccessTokensFromTheRest(t *testing.T) {
	v := installation(t).verifier()
	const online, offline, external, nobody = 1, 2, 4, 0
	for _, c := range []struct {
		typ string // JSON; empty: the member is absent
		ok  int
	}{
		{`"at+jwt"`, online | offline | external},
		{`"AT+JWT"`, online | offline | external},
		{`"At+Jwt"`, online | offline | external},
		{`"application/at+jwt"`, online | offline | external},
		{`"APPLICATION/at+JWT"`, online | offline | external},
		{`"JWT"`, offline | external},
		{`"jwt"`, offline | external},
		{`"application/jwt"`, offline | external},
		{``, external},
		{`"at+jwt "`, nobody},
		{`"at+jwt;v=1"`, nobody},
		{`"application/application/at+jwt"`, nobody},
		{`"application/"`, nobody},
		{`"text/at+jwt"`, nobody},
		{`"at+jwt+x"`, nobody},
		{`"at jwt"`, nobody},
		{`"JWS"`, nobody},
		{`"JOSE"`, nobody},
		{`"dpop+jwt"`, nobody},
		{`"client-authentication+jwt"`, nobody},
		{`"oauth-authz-req+jwt"`, nobody},
		{`"logout+jwt"`, nobody},
		{`"secevent+jwt"`, nobody},
		{`"token-introspection+jwt"`, nobody},
		{`"vc+sd-jwt"`, nobody},
		{`"ID"`, nobody},
	} {
		t.Run("typ "+c.typ, func(t *testing.T) {
			for bit, kind := range each {
				s := []signer{platformKey, ordersKey, loginKey}[bit]
				h := fmt.Sprintf(`{"alg":"EdDSA","kid":%q`, s.kid)
				if c.typ != "" {
					h += `,"typ":` + c.typ
				}
				want := verifier.ReasonType
				if c.ok&(1<<bit) != 0 {
					want = accepted
				}
				expect(t, v, forge(t, s, h+"}", kind.claims.String()), want)
			}
		})
	}
	for _, typ := range []string{`""`, `null`, `["at+jwt"]`, `1`} {
		expect(t, v, forge(t, ordersKey, `{"alg":"EdDSA","kid":"k1","typ":`+typ+`}`, offlineClaims.String()), verifier.ReasonMalformed)
	}
}

func TestV14_AnIDTokenOfAnExternalIssuerIsRefused(t *testing.T) {
	v := installation(t).verifier()
	with := func(name, json string) string { return external(t, externalClaims.with(name, json)) }
	judge(t, v, []row{
		{"no mark of an ID token", external(t, externalClaims), accepted},
		{"nonce", with("nonce", `"n-0S6_WzA2Mj"`), verifier.ReasonType},
		{"nonce null", with("nonce", `null`), verifier.ReasonType},
		{"at_hash", with("at_hash", `"77QmUPtjPfzWtF2AnpK9RQ"`), verifier.ReasonType},
		{"c_hash", with("c_hash", `"LDktKdoQak3Pk0cnXxCltA"`), verifier.ReasonType},
		{"token_use access", with("token_use", `"access"`), accepted},
		{"token_use id", with("token_use", `"id"`), verifier.ReasonType},
		{"token_use in another case", with("token_use", `"Access"`), verifier.ReasonType},
		{"without typ, with nonce", mint(t, loginKey, "", externalClaims.with("nonce", `"n"`)), verifier.ReasonType},
	})
}

func TestV19_ABoundTokenIsRefusedWhereNothingWasShown(t *testing.T) {
	v := installation(t).verifier()
	for _, kind := range each {
		for _, cnf := range []string{`{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `{"x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}`, `{}`} {
			expect(t, v, kind.mint(t, kind.claims.with("cnf", cnf)), verifier.ReasonBound)
		}
	}
	expect(t, v, forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("cnf", `"x"`).String()), verifier.ReasonMalformed)
}

func TestExternalIssuersAreAcceptedOnlyByDecision(t *testing.T) {
	f := installation(t)
	builds := externalClaims.with("iss", `"`+buildsURL+`"`)
	externals := func(names ...events.Name) func(*verifier.Config) {
		return func(cfg *verifier.Config) { cfg.Externals = names }
	}
	expect(t, f.verifier(externals()), external(t, externalClaims), verifier.ReasonIssuer)
	expect(t, f.verifier(externals("builds")), external(t, externalClaims), verifier.ReasonIssuer)
	expect(t, f.verifier(externals("login", "builds")), external(t, externalClaims), accepted)
	expect(t, f.verifier(externals("login", "builds")), mint(t, buildsKey, "at+jwt", builds), verifier.ReasonIssuer)
	f.put("issuer.builds", strings.Replace(buildsRecord, `["assertion"]`, `["assertion","access_token"]`, 1))
	expect(t, f.verifier(externals("login", "builds")), mint(t, buildsKey, "at+jwt", builds), accepted)
	expect(t, f.verifier(externals("login")), mint(t, buildsKey, "at+jwt", builds), verifier.ReasonIssuer)
	// Platform and clients need no permission, and naming them as externals gives none.
	v := f.verifier(externals("platform", "orders", "nobody"))
	expect(t, v, online(t, onlineClaims), accepted)
	expect(t, v, offline(t, offlineClaims), accepted)
}
