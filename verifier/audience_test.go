package verifier_test

import (
	"strings"
	"testing"

	"github.com/keyherald/keyherald/verifier"
)

func TestV13_AudMustNameThisService(t *testing.T) {
	f := installation(t)
	for _, kind := range each {
		if kind.name == "external" {
			f.put("issuer.login", strings.Replace(loginRecord, `"aud":["`, `"aud":["`+reports+`","`, 1))
		}
		aud := func(json string) string { return kind.mint(t, kind.claims.with("aud", json)) }
		raw := func(json string) string {
			s := map[string]signer{"online": platformKey, "offline": ordersKey, "external": loginKey}[kind.name]
			return forge(t, s, header("EdDSA", s.kid, "at+jwt"), kind.claims.with("aud", json).String())
		}
		t.Run(kind.name, func(t *testing.T) {
			judge(t, f.verifier(), []row{
				{"a string", aud(`"` + billing + `"`), accepted},
				{"an array of one", aud(`["` + billing + `"]`), accepted},
				{"first of two", aud(`["` + billing + `","` + reports + `"]`), accepted},
				{"last of two", aud(`["` + reports + `","` + billing + `"]`), accepted},
				{"twice", aud(`["` + billing + `","` + billing + `"]`), accepted},
				{"absent", kind.mint(t, kind.claims.without("aud")), verifier.ReasonClaims},
				{"another service, as a string", aud(`"` + reports + `"`), verifier.ReasonAudience},
				{"another service, in an array", aud(`["` + reports + `"]`), verifier.ReasonAudience},
				{"with a slash more", aud(`"` + billing + `/"`), verifier.ReasonAudience},
				{"a longer one", aud(`"` + billing + `.attacker.example"`), verifier.ReasonAudience},
				{"a shorter one", aud(`"https://billing.example"`), verifier.ReasonAudience},
				{"another case", aud(`"HTTPS://billing.example.com"`), verifier.ReasonAudience},
				{"two in one string", aud(`"` + billing + ` ` + reports + `"`), verifier.ReasonAudience},
				{"a wildcard", aud(`"*"`), verifier.ReasonAudience},
				{"the issuer", aud(`"` + platformURL + `"`), verifier.ReasonAudience},
				{"null", raw(`null`), verifier.ReasonMalformed},
				{"an empty string", raw(`""`), verifier.ReasonMalformed},
				{"an empty array", raw(`[]`), verifier.ReasonMalformed},
				{"an array with an empty string", raw(`["` + billing + `",""]`), verifier.ReasonMalformed},
				{"an array with something else", raw(`["` + billing + `",1]`), verifier.ReasonMalformed},
				{"an array in an array", raw(`[["` + billing + `"]]`), verifier.ReasonMalformed},
				{"an object", raw(`{"` + billing + `":true}`), verifier.ReasonMalformed},
				{"true", raw(`true`), verifier.ReasonMalformed},
			})
		})
	}
}

func TestV21_EveryAudienceMustBeOneThatTheRecordAllows(t *testing.T) {
	f := installation(t)
	const other = `"https://other.example.com"`
	two := func(second string) string { return `["` + billing + `",` + second + `]` }
	rows := []row{
		{"a client within its audiences", offline(t, offlineClaims.with("aud", two(`"`+reports+`"`))), accepted},
		{"a client beyond them", offline(t, offlineClaims.with("aud", two(other))), verifier.ReasonAudience},
		{"the platform for a client within its audiences", online(t, onlineClaims.with("aud", two(`"`+reports+`"`))), accepted},
		{"the platform for a client beyond them", online(t, onlineClaims.with("aud", two(other))), verifier.ReasonAudience},
		{"the platform for a client without limits", online(t, onlineClaims.with("aud", two(other)).with("sub", `"shipping"`).with("client_id", `"shipping"`)), accepted},
		{"an external issuer within its audiences", external(t, externalClaims), accepted},
		{"an external issuer beyond them", external(t, externalClaims.with("aud", two(other))), verifier.ReasonAudience},
	}
	judge(t, f.verifier(), rows)
	f.put("issuer.orders", strings.Replace(ordersRecord, billing, "https://elsewhere.example.com", 1))
	expect(t, f.verifier(), offline(t, offlineClaims), verifier.ReasonAudience)
	expect(t, f.verifier(), online(t, onlineClaims), verifier.ReasonAudience)
}

func TestTheAudienceOfTheAccountIsTakenOnlyIfConfigured(t *testing.T) {
	f := installation(t)
	const whole = account + ".accounts.authress.io"
	takes := func(cfg *verifier.Config) { cfg.AccountAudience = true }
	aud := func(a string) claims { return offlineClaims.with("aud", `"`+a+`"`) }
	both := offlineClaims.with("aud", `["`+billing+`","`+whole+`"]`)

	expect(t, f.verifier(), offline(t, aud(whole)), verifier.ReasonAudience)
	expect(t, f.verifier(), offline(t, both), accepted)
	v := f.verifier(takes)
	judge(t, v, []row{
		{"the account's", offline(t, aud(whole)), accepted},
		{"the service's still is", offline(t, aud(billing)), accepted},
		{"both", offline(t, both), accepted},
		{"another account's", offline(t, aud("acc-9876543210.accounts.authress.io")), verifier.ReasonAudience},
		{"no account's", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), aud(".accounts.authress.io").String()), verifier.ReasonAudience},
		{"the account alone", offline(t, aud(account)), verifier.ReasonAudience},
		{"another ending", offline(t, aud(whole+".attacker.example")), verifier.ReasonAudience},
		{"the account's for an external issuer, which its record does not allow", external(t, externalClaims.with("aud", `"`+whole+`"`)), verifier.ReasonAudience},
		{"the account's from the platform, for a client whose record does not allow it", online(t, onlineClaims.with("aud", `"`+whole+`"`)), verifier.ReasonAudience},
	})
	f.put("issuer.platform", strings.Replace(platformRecord, `,"account":"`+account+`"`, "", 1))
	expect(t, v, offline(t, aud(whole)), verifier.ReasonAudience)
	expect(t, v, forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), aud(".accounts.authress.io").String()), verifier.ReasonAudience)
}
