package verifier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// The rules about who is believed: V10 to V12, V20, V22 and V24.

func TestV10_KeysAreLookedUpByIssuerAndKid(t *testing.T) {
	f := installation(t)
	// Shipping may mint tokens here, and its key has the same kid as one of orders, and is another key.
	f.put("issuer.shipping", strings.Replace(ordersRecord, "reports", "shipping", 1))
	same := edSigner("shipping's own")
	same.kid = "k1"
	f.putKey("shipping", same, "")
	shippingClaims := offlineClaims.with("iss", `"`+shippingURL+`"`).with("sub", `"shipping"`).with("client_id", `"shipping"`)
	as := func(s signer, kid events.KeyID) signer { s.kid = kid; return s }
	judge(t, f.verifier(), []row{
		{"orders with its key", offline(t, offlineClaims), accepted},
		{"shipping with its key of the same kid", mint(t, same, "at+jwt", shippingClaims), accepted},
		{"orders with shipping's key of the same kid", mint(t, same, "at+jwt", offlineClaims), verifier.ReasonSignature},
		{"shipping with orders' key of the same kid", mint(t, ordersKey, "at+jwt", shippingClaims), verifier.ReasonSignature},
		{"orders with a kid that only shipping has", mint(t, shippingKey, "at+jwt", offlineClaims), verifier.ReasonKey},
		{"orders with the platform's kid and key", mint(t, platformKey, "at+jwt", offlineClaims), verifier.ReasonKey},
		{"the platform with orders' kid and key", mint(t, ordersKey, "at+jwt", onlineClaims), verifier.ReasonKey},
		{"the platform's kid over orders' signature", mint(t, as(ordersKey, "p1"), "at+jwt", onlineClaims), verifier.ReasonSignature},
		{"an external issuer with the platform's kid and key", mint(t, platformKey, "at+jwt", externalClaims), verifier.ReasonKey},
		{"the platform with an external issuer's kid and key", mint(t, loginKey, "at+jwt", onlineClaims), verifier.ReasonKey},
		{"a kid in another case", mint(t, as(ordersKey, "K1"), "at+jwt", offlineClaims), verifier.ReasonKey},
		{"no kid, one key or not", forge(t, ordersKey, `{"alg":"EdDSA","typ":"at+jwt"}`, offlineClaims.String()), verifier.ReasonMalformed},
		{"an empty kid", forge(t, ordersKey, header("EdDSA", "", "at+jwt"), offlineClaims.String()), verifier.ReasonMalformed},
	})
}

func TestV10_AForeignKidMayBeAnyText(t *testing.T) {
	f := installation(t)
	for _, kid := range []string{"2025-01/key:1", "https://login.example.net/keys#1", "schlüssel", strings.Repeat("/", 256)} {
		s := edSigner(kid)
		f.putKey("login", s, "")
		expect(t, f.verifier(), external(t, externalClaims), accepted)
		if got := expect(t, f.verifier(), mint(t, s, "at+jwt", externalClaims), accepted).KeyID; string(got) != kid {
			t.Errorf("kid %q, want %q", got, kid)
		}
	}
}

func TestV11_IssIsComparedByteByByte(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	iss := func(text string) string { return offline(t, offlineClaims.with("iss", fmt.Sprintf("%q", text))) }
	rows := []row{
		{"exactly", iss(ordersURL), accepted},
		{"the same, escaped in JSON", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"),
			strings.Replace(offlineClaims.String(), "/clients/", `\/cl\u0069ents/`, 1)), accepted},
		{"no iss", offline(t, offlineClaims.without("iss")), verifier.ReasonIssuer},
		{"an array of one", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("iss", `["`+ordersURL+`"]`).String()), verifier.ReasonMalformed},
		{"an empty iss", forge(t, ordersKey, header("EdDSA", "k1", "at+jwt"), offlineClaims.with("iss", `""`).String()), verifier.ReasonMalformed},
	}
	for _, other := range []string{
		ordersURL + "/", ordersURL + "?", ordersURL + "#", ordersURL + " ", ordersURL + "/.", platformURL + "/v1/clients/Orders", platformURL + "/v1/clients/",
		platformURL + "/v1/clients", platformURL + "/", platformURL + "//v1/clients/orders", platformURL + "/v1/clients/./orders",
		platformURL + "/v1/clients/x/../orders", platformURL + "/v1/clients/%6frders", platformURL + "/v1/clients/%6Frders", platformURL + "/v1/clients/orders%2F",
		platformURL + "/v1/clients/orders%00", platformURL + "/v1%2Fclients/orders", platformURL + "/v1/clients/orders;x=1", platformURL + "/V1/clients/orders",
		"HTTPS://auth.example.com/v1/clients/orders", "https://AUTH.example.com/v1/clients/orders", "https://auth.example.com:443/v1/clients/orders",
		"https://auth.example.com./v1/clients/orders", "http://auth.example.com/v1/clients/orders", "https://user@auth.example.com/v1/clients/orders",
		"https://auth.example.com.attacker.example/v1/clients/orders", "https://attacker.example/v1/clients/orders", "/v1/clients/orders", "orders",
	} {
		rows = append(rows, row{other, iss(other), verifier.ReasonIssuer})
	}
	judge(t, v, rows)
	for _, other := range []string{platformURL + "/", platformURL + "/v1", strings.ToUpper(platformURL), "platform"} {
		expect(t, v, online(t, onlineClaims.with("iss", fmt.Sprintf("%q", other))), verifier.ReasonIssuer)
	}
	for _, other := range []string{strings.TrimSuffix(loginURL, "/"), loginURL + "x", "login", platformURL + "/v1/clients/login"} {
		expect(t, v, external(t, externalClaims.with("iss", fmt.Sprintf("%q", other))), verifier.ReasonIssuer)
	}
}

func TestV11_NobodyCanTakeTheIssOfAnother(t *testing.T) {
	f := installation(t)
	thief := edSigner("thief")
	// An external record that says it is the client, or the platform, does not get in the way of them.
	for name, iss := range map[events.Name]string{"thief1": ordersURL, "thief2": platformURL, "thief3": platformURL + "/v1/clients/nobody"} {
		f.put("issuer."+string(name), strings.Replace(loginRecord, loginURL, iss, 1))
		f.putKey(name, thief, "")
	}
	v := f.verifier(func(cfg *verifier.Config) {
		cfg.Externals = []events.Name{"login", "thief1", "thief2", "thief3", "twin"}
	})
	judge(t, v, []row{
		{"orders is still orders", offline(t, offlineClaims), accepted},
		{"the platform is still the platform", online(t, onlineClaims), accepted},
		{"the thief is not orders", mint(t, thief, "at+jwt", offlineClaims), verifier.ReasonKey},
		{"the thief is not the platform", mint(t, thief, "at+jwt", onlineClaims), verifier.ReasonKey},
		{"the thief is not a client that does not exist", mint(t, thief, "at+jwt", offlineClaims.with("iss", `"`+platformURL+`/v1/clients/nobody"`)), verifier.ReasonIssuer},
		{"login alone", external(t, externalClaims), accepted},
	})
	f.put("issuer.twin", loginRecord)
	expect(t, v, external(t, externalClaims), verifier.ReasonIssuer)
	f.delete("issuer.twin")
	expect(t, v, external(t, externalClaims), accepted)
}

func TestV12_ATokenSpeaksOnlyForWhomItsIssuerMaySpeak(t *testing.T) {
	f := installation(t)
	f.put("issuer.idle", `{"type":"client","status":"disabled","aud":["`+billing+`"],"offline":true}`)
	quoted := func(s string) string { return fmt.Sprintf("%q", s) }
	off := func(sub, client string) string {
		return offline(t, offlineClaims.with("sub", quoted(sub)).with("client_id", quoted(client)))
	}
	on := func(sub, client string) string {
		return online(t, onlineClaims.with("sub", quoted(sub)).with("client_id", quoted(client)))
	}
	shipping := offlineClaims.with("iss", `"`+shippingURL+`"`).with("sub", `"shipping"`).with("client_id", `"shipping"`)
	v := f.verifier()
	judge(t, v, []row{
		{"a client for itself", off("orders", "orders"), accepted},
		{"a client for another", off("shipping", "shipping"), verifier.ReasonSubject},
		{"a client for another's sub", off("shipping", "orders"), verifier.ReasonSubject},
		{"a client for another's client_id", off("orders", "shipping"), verifier.ReasonSubject},
		{"a client for a user", off("user|77", "orders"), verifier.ReasonSubject},
		{"a client by another case", off("Orders", "Orders"), verifier.ReasonSubject},
		{"a client by its URL", off(ordersURL, ordersURL), verifier.ReasonSubject},
		{"a client as the platform", off("platform", "platform"), verifier.ReasonSubject},
		{"a client that may not mint", mint(t, shippingKey, "at+jwt", shipping), verifier.ReasonSubject},
		{"the platform for a client", on("orders", "orders"), accepted},
		{"the platform for a client that may not mint", on("shipping", "shipping"), accepted},
		{"the platform for somebody at a client", on("user|77", "orders"), verifier.ReasonSubject},
		{"the platform for one client at another", on("orders", "shipping"), verifier.ReasonSubject},
		{"the platform for a client without a record", on("nobody", "nobody"), verifier.ReasonClient},
		{"the platform for itself", on("platform", "platform"), verifier.ReasonClient},
		{"the platform for an external issuer", on("login", "login"), verifier.ReasonClient},
		{"the platform for a disabled client", on("idle", "idle"), verifier.ReasonClient},
		{"an external issuer for anybody", external(t, externalClaims.with("sub", `"orders"`)), accepted},
	})
	// An external issuer's sub and client_id never become a client of ours.
	got := expect(t, v, external(t, externalClaims.with("sub", `"orders"`).with("client_id", `"orders"`)), accepted)
	if got.Client != "" || got.IssuerType != events.TypeExternal || got.IssuerName != "login" {
		t.Errorf("an external token acts for %q: %+v", got.Client, got)
	}
}

func TestV20_KeyStatesAreThoseOfTheMoment(t *testing.T) {
	sec := func(n int64) time.Time { return now.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		name string
		more string // of the key's record
		at   time.Time
		want verifier.Reason
	}{
		{"no window", "", now, accepted},
		{"a second before nbf", `,"nbf":1790000060`, sec(59), verifier.ReasonKeyState},
		{"at nbf", `,"nbf":1790000060`, sec(60), accepted},
		{"a second before exp", `,"exp":1790000060`, sec(59), accepted},
		{"a nanosecond before exp", `,"exp":1790000060`, sec(60).Add(-1), accepted},
		{"at exp, without leeway", `,"exp":1790000060`, sec(60), verifier.ReasonKeyState},
		{"revoked by its own member", `,"revoked":{"revoked_at":1790000000,"reason":"leaked"}`, now, verifier.ReasonKeyState},
		{"revoked in the future is revoked", `,"revoked":{"revoked_at":1799999999}`, now, verifier.ReasonKeyState},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := installation(t)
			f.confirm(c.at)
			f.putKey("orders", ordersKey, c.more)
			f.putKey("platform", platformKey, c.more)
			f.putKey("login", loginKey, c.more)
			expect(t, f.verifier(at(c.at)), offline(t, offlineClaims), c.want)
			expect(t, f.verifier(at(c.at)), online(t, onlineClaims), c.want)
			expect(t, f.verifier(at(c.at)), external(t, externalClaims), c.want)
		})
	}
}

func TestV20_ATokenFromBeforeTheCutOffIsRefused(t *testing.T) {
	cutOff := func(record string, at int64) string {
		return strings.TrimSuffix(record, "}") + fmt.Sprintf(`,"not_before":%d}`, at)
	}
	for _, c := range []struct {
		name                      string
		record                    string
		offline, online, external verifier.Reason
	}{
		{"a client's, before iat", "orders 1789999989", accepted, accepted, accepted},
		{"a client's, at iat", "orders 1789999990", verifier.ReasonCutOff, verifier.ReasonCutOff, accepted},
		{"a client's, after iat", "orders 1789999991", verifier.ReasonCutOff, verifier.ReasonCutOff, accepted},
		{"another client's", "shipping 1789999990", accepted, accepted, accepted},
		{"the platform's, before iat", "platform 1789999989", accepted, accepted, accepted},
		{"the platform's, at iat", "platform 1789999990", accepted, verifier.ReasonCutOff, accepted},
		{"an external issuer's, before iat", "login 1789999989", accepted, accepted, accepted},
		{"an external issuer's, at iat", "login 1789999990", accepted, accepted, verifier.ReasonCutOff},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := installation(t)
			var name string
			var at int64
			if _, err := fmt.Sscan(c.record, &name, &at); err != nil {
				t.Fatal(err)
			}
			records := map[string]string{"platform": platformRecord, "orders": ordersRecord, "shipping": shippingRecord, "login": loginRecord}
			f.put("issuer."+name, cutOff(records[name], at))
			expect(t, f.verifier(), offline(t, offlineClaims), c.offline)
			expect(t, f.verifier(), online(t, onlineClaims), c.online)
			expect(t, f.verifier(), external(t, externalClaims), c.external)
		})
	}
	f := installation(t)
	expect(t, f.verifier(), external(t, externalClaims.without("iat")), accepted)
	f.put("issuer.login", cutOff(loginRecord, 1))
	expect(t, f.verifier(), external(t, externalClaims.without("iat")), verifier.ReasonCutOff)
}

func TestV20_ADisabledIssuerOrClientIsRefusedAndComesBack(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	tokens := func(off, on, ext verifier.Reason) {
		t.Helper()
		expect(t, v, offline(t, offlineClaims), off)
		expect(t, v, online(t, onlineClaims), on)
		expect(t, v, external(t, externalClaims), ext)
	}
	disabled := func(record string) string { return strings.Replace(record, `"active"`, `"disabled"`, 1) }
	tokens(accepted, accepted, accepted)
	f.put("issuer.orders", disabled(ordersRecord))
	tokens(verifier.ReasonIssuer, verifier.ReasonClient, accepted)
	f.put("issuer.orders", ordersRecord)
	f.put("issuer.platform", disabled(platformRecord))
	tokens(accepted, verifier.ReasonIssuer, accepted)
	f.put("issuer.platform", platformRecord)
	f.put("issuer.login", disabled(loginRecord))
	tokens(accepted, accepted, verifier.ReasonIssuer)
	f.put("issuer.login", loginRecord)
	tokens(accepted, accepted, accepted)

	f.delete("issuer.orders")
	tokens(verifier.ReasonIssuer, verifier.ReasonClient, accepted)
	f.put("issuer.orders", strings.Replace(ordersRecord, `"offline":true`, `"offline":false`, 1))
	tokens(verifier.ReasonSubject, accepted, accepted)
	f.put("issuer.orders", ordersRecord)
	f.delete("issuer.platform") // without it, no client has an iss
	tokens(verifier.ReasonIssuer, verifier.ReasonIssuer, accepted)
	f.put("issuer.platform", strings.Replace(platformRecord, platformURL, "https://other.example.com", 1))
	tokens(verifier.ReasonIssuer, verifier.ReasonIssuer, accepted)
}

func TestV22_AnUnknownKidIsRefusedFromMemoryAndLeavesNothingBehind(t *testing.T) {
	f := installation(t)
	v := f.verifier()
	issuers, keys := f.Keys().Len()
	for i := range 10_000 {
		s := ordersKey
		s.kid = events.KeyID(fmt.Sprintf("k%d", i+1_000_000))
		// Not one of them is signed: the lookup comes first.
		token := b64(header("EdDSA", s.kid, "at+jwt")) + "." + b64(offlineClaims.String()) + "." + b64(strings.Repeat("s", 64))
		expect(t, v, token, verifier.ReasonKey)
	}
	if i, k := f.Keys().Len(); i != issuers || k != keys {
		t.Errorf("the set went from %d issuers and %d keys to %d and %d", issuers, keys, i, k)
	}
}

func TestV24_AKeyIsDeadWithTheMessageThatSaysSo(t *testing.T) {
	record := func(s signer) string { return events.KeyRecord("orders", s.kid).String() }
	for _, c := range []struct {
		name string
		kill func(f *feed)
		want verifier.Reason
		back verifier.Reason // when its record is written again
	}{
		{"a delete marker", func(f *feed) { f.delete(record(ordersKey)) }, verifier.ReasonKey, accepted},
		{"its own revoked member", func(f *feed) { f.putKey("orders", ordersKey, `,"revoked":{"revoked_at":1}`) }, verifier.ReasonKeyState, accepted},
		{"a revocation record", func(f *feed) { f.put("revoked.orders.k1", `{"reason":"leaked"}`) }, verifier.ReasonKeyState, verifier.ReasonKeyState},
		{"a malformed revocation record", func(f *feed) { f.put("revoked.orders.k1", `leaked!`) }, verifier.ReasonKeyState, verifier.ReasonKeyState},
		{"a marker on the revocation's name", func(f *feed) { f.delete("revoked.orders.k1") }, verifier.ReasonKeyState, verifier.ReasonKeyState},
		{"an exp in the past", func(f *feed) { f.putKey("orders", ordersKey, `,"exp":1789999999`) }, verifier.ReasonKeyState, accepted},
		{"another key under its kid", func(f *feed) {
			other := strangerKey
			other.kid = ordersKey.kid
			f.putKey("orders", other, "")
		}, verifier.ReasonSignature, accepted},
		{"sixteen malformed values", func(f *feed) {
			for range events.History {
				f.putAnything(record(ordersKey), "not json")
			}
		}, verifier.ReasonKey, accepted},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := installation(t)
			v, token := f.verifier(), offline(t, offlineClaims)
			expect(t, v, token, accepted)
			c.kill(f)
			expect(t, v, token, c.want)
			f.putKey("orders", ordersKey, "")
			expect(t, v, token, c.back)
		})
	}
}

func TestV24_AMalformedValueDoesNotReplaceAGoodKey(t *testing.T) {
	f := installation(t)
	v, token := f.verifier(), offline(t, offlineClaims)
	for range events.History - 1 {
		f.putAnything("key.orders.k1", `{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`)
		expect(t, v, token, accepted)
	}
}
