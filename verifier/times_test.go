package verifier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/verifier"
)

func TestV15_TimesAreComparedToTheSecondWithTheLeeway(t *testing.T) {
	f := installation(t)
	const exp, iat = 1790000890, 1789999990
	for _, c := range []struct {
		name   string
		leeway time.Duration // zero: the default of 30 s
		second int64
		nanos  int64
		want   verifier.Reason
	}{
		{"before exp", 0, exp - 1, 0, accepted},
		{"at exp", 0, exp, 0, accepted},
		{"the last moment of the leeway", 0, exp + 29, 999_999_999, accepted},
		{"the end of the leeway", 0, exp + 30, 0, verifier.ReasonExpired},
		{"long after exp", 0, exp + 1<<40, 0, verifier.ReasonExpired},
		{"one second of leeway", time.Second, exp, 999_999_999, accepted},
		{"after one second of leeway", time.Second, exp + 1, 0, verifier.ReasonExpired},
		{"the last moment of a minute", time.Minute, exp + 59, 999_999_999, accepted},
		{"after a minute", time.Minute, exp + 60, 0, verifier.ReasonExpired},
		{"at iat", 0, iat, 0, accepted},
		{"the first moment of the leeway", 0, iat - 30, 0, accepted},
		{"a moment too early", 0, iat - 31, 999_999_999, verifier.ReasonTooEarly},
		{"a minute too early", time.Minute, iat - 60, 0, accepted},
		{"more than a minute too early", time.Minute, iat - 61, 999_999_999, verifier.ReasonTooEarly},
		{"in 1970", 0, 0, 0, verifier.ReasonTooEarly},
	} {
		t.Run(c.name, func(t *testing.T) {
			moment := time.Unix(c.second, c.nanos)
			f.confirm(moment)
			f.putKey("platform", platformKey, "") // without its lease, which is not the matter here
			v := f.verifier(at(moment), func(cfg *verifier.Config) { cfg.Leeway = c.leeway })
			for _, kind := range each {
				expect(t, v, kind.mint(t, kind.claims), c.want)
			}
		})
	}
}

func TestV15_NbfIsObeyedWhereItIs(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	for _, kind := range each {
		nbf := func(n int64) string { return kind.mint(t, kind.claims.with("nbf", fmt.Sprint(n))) }
		t.Run(kind.name, func(t *testing.T) {
			judge(t, v, []row{
				{"past", nbf(1), accepted},
				{"now", nbf(now.Unix()), accepted},
				{"at the leeway's edge", nbf(now.Unix() + 30), accepted},
				{"beyond it", nbf(now.Unix() + 31), verifier.ReasonTooEarly},
				{"as late as can be", nbf(1<<53 - 1), verifier.ReasonTooEarly},
			})
		})
	}
	earlier := func(iat int64) string {
		return external(t, externalClaims.with("iat", fmt.Sprint(iat)).with("exp", fmt.Sprint(iat+600)))
	}
	judge(t, v, []row{
		{"an external iat at the leeway's edge", earlier(now.Unix() + 30), accepted},
		{"an external iat beyond it", earlier(now.Unix() + 31), verifier.ReasonTooEarly},
	})
}

func TestV16_ATokenLivesNoLongerThanItsIssuersMay(t *testing.T) {
	const iat = 1789999990
	life := func(c claims, seconds int64) claims { return c.with("exp", fmt.Sprint(iat+seconds)) }
	ttl := func(record string, seconds int) string {
		return strings.TrimSuffix(record, "}") + fmt.Sprintf(`,"max_token_ttl":%d}`, seconds)
	}
	f := installation(t)
	v := f.verifier()
	for _, kind := range each {
		t.Run(kind.name, func(t *testing.T) {
			judge(t, v, []row{
				{"the default of an hour", kind.mint(t, life(kind.claims, 3600)), accepted},
				{"a second more", kind.mint(t, life(kind.claims, 3601)), verifier.ReasonLifetime},
				{"as long as can be", kind.mint(t, kind.claims.with("exp", "9007199254740991")), verifier.ReasonLifetime},
				{"no life at all", kind.mint(t, life(kind.claims, 0)), verifier.ReasonLifetime},
				{"exp before iat", kind.mint(t, kind.claims.with("iat", "1790000020").with("exp", "1790000019")), verifier.ReasonLifetime},
			})
		})
	}
	f.put("issuer.orders", ttl(ordersRecord, 86400))
	f.put("issuer.platform", ttl(platformRecord, 300))
	f.put("issuer.login", ttl(loginRecord, 60))
	judge(t, v, []row{
		{"a client with a day", offline(t, life(offlineClaims, 86400)), accepted},
		{"a client with more than a day", offline(t, life(offlineClaims, 86401)), verifier.ReasonLifetime},
		{"a platform with five minutes", online(t, life(onlineClaims, 300)), accepted},
		{"a platform with more, whatever the client may", online(t, life(onlineClaims, 301)), verifier.ReasonLifetime},
		{"an external issuer with a minute", external(t, life(externalClaims, 60)), accepted},
		{"an external issuer with more", external(t, life(externalClaims, 61)), verifier.ReasonLifetime},
		{"an external token without iat, a minute from now", external(t, externalClaims.without("iat").with("exp", "1790000060")), accepted},
		{"an external token without iat, more from now", external(t, externalClaims.without("iat").with("exp", "1790000061")), verifier.ReasonLifetime},
		{"an external token without iat, just expired", external(t, externalClaims.without("iat").with("exp", "1789999971")), accepted},
		{"an external token without iat, expired", external(t, externalClaims.without("iat").with("exp", "1789999970")), verifier.ReasonExpired},
	})
	f.putAnything("issuer.orders", ttl(ordersRecord, 86401)) // more than revocations are kept: no such record
	expect(t, v, offline(t, life(offlineClaims, 86401)), verifier.ReasonLifetime)
}
