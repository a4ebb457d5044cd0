package verifier_test

import (
	"strings"
	"testing"

	"github.com/keyherald/keyherald/verifier"
)

func TestV21_ScopeIsNeverMoreThanTheRecordGrants(t *testing.T) {
	f := installation(t)
	const all = "billing:read billing:write"
	set := func(c claims, json string) claims {
		if json == "" {
			return c.without("scope")
		}
		return c.with("scope", json)
	}
	for _, c := range []struct {
		scope                     string // JSON; empty: the claim is absent
		online, offline, external string
	}{
		{``, "", all, ""},
		{`"openid"`, "", all, ""},
		{`""`, "", "", ""},
		{`"billing:read"`, "billing:read", "billing:read", "billing:read"},
		{`"billing:write billing:read"`, all, all, "billing:read"},
		{`"billing:read billing:read"`, "billing:read", "billing:read", "billing:read"},
		{`"billing:read admin"`, "billing:read", "billing:read", "billing:read"},
		{`"admin"`, "", "", ""},
		{`"openid billing:write"`, "billing:write", "billing:write", ""},
		{`"openid profile"`, "", "", "profile"},
		{`"OPENID"`, "", "", ""},
		{`"BILLING:READ"`, "", "", ""},
		{`"billing:read*"`, "", "", ""},
		{`"*"`, "", "", ""},
	} {
		t.Run("scope "+c.scope, func(t *testing.T) {
			v := f.verifier()
			for i, want := range []string{c.online, c.offline, c.external} {
				got := expect(t, v, each[i].mint(t, set(each[i].claims, c.scope)), accepted).Scope
				if got.String() != want {
					t.Errorf("%s: effective scope %q, want %q", each[i].name, got, want)
				}
			}
		})
	}
	for _, scope := range []string{`" "`, `"billing:read "`, `" billing:read"`, `"billing:read  billing:write"`, `"billing:\"read"`, `"billing:\\read"`, `"bi\u00fclling"`} {
		expect(t, f.verifier(), offline(t, offlineClaims.with("scope", scope)), verifier.ReasonMalformed)
	}
	for _, scope := range []string{`["billing:read"]`, `1`, `null`, `{}`, `"billing:read\tbilling:write"`} {
		expect(t, f.verifier(), forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("scope", scope).String()), verifier.ReasonMalformed)
	}
}

func TestV21_ScopesStandsInForScopeAsSDKsSendIt(t *testing.T) {
	v := installation(t).verifier()
	for json, want := range map[string]string{
		`"openid"`:                            "billing:read billing:write",
		`["openid"]`:                          "billing:read billing:write",
		`["billing:read"]`:                    "billing:read",
		`["billing:read","admin","openid"]`:   "billing:read",
		`[]`:                                  "",
		`"billing:write billing:read orders"`: "billing:read billing:write",
	} {
		got := expect(t, v, offline(t, offlineClaims.without("scope").with("scopes", json)), accepted).Scope
		if got.String() != want {
			t.Errorf("scopes %s: effective scope %q, want %q", json, got, want)
		}
	}
	got := expect(t, v, offline(t, offlineClaims.with("scopes", `["billing:write"]`)), accepted).Scope
	if got.String() != "billing:read" {
		t.Errorf("scope and scopes: effective scope %q, want that of scope", got)
	}
}

func TestV21_AGrantedScopeChangesWithTheRecord(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	for scope, want := range map[string]string{"billing:read": "billing:read", "": "", "a b c": "", "a billing:read": "billing:read"} {
		f.put("issuer.orders", strings.Replace(ordersRecord, "billing:read billing:write", scope, 1))
		for _, token := range []string{offline(t, offlineClaims), online(t, onlineClaims)} {
			if got := expect(t, v, token, accepted).Scope.String(); got != want {
				t.Errorf("record's scope %q: effective %q, want %q", scope, got, want)
			}
		}
		if got := expect(t, v, offline(t, offlineClaims.without("scope")), accepted).Scope.String(); got != scope {
			t.Errorf("record's scope %q: a token without scope has %q", scope, got)
		}
	}
}
