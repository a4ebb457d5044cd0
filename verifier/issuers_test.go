package verifier_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/verifier"
)

// register fills the outpost's server with what the other tests call the installation.
func (o *outpost) register() {
	o.Write(bus.Keys, "issuer.shipping", strings.Replace(shippingRecord, `"scope"`, `"offline":true,"aud":["`+billing+`"],"scope"`, 1))
	o.Write(bus.Keys, "key.shipping.s1", shippingKey.record())
	o.Write(bus.Keys, "issuer.login", loginRecord)
	o.Write(bus.Keys, "key.login.x1", loginKey.record())
	o.Write(bus.Keys, "key.platform.p1", platformKey.record())
}

// live is a token's claims as of now.
func live(c claims) claims {
	at := time.Now().Unix()
	return c.with("iat", fmt.Sprint(at)).with("exp", fmt.Sprint(at+900))
}

func follows(issuers ...events.Name) func(*verifier.Config) {
	return func(cfg *verifier.Config) { cfg.Issuers = issuers }
}

func TestOnlyTheIssuersThatAreFollowedAreKnown(t *testing.T) {
	o := newOutpost(t)
	o.register()
	shipping := live(offlineClaims).with("iss", `"`+shippingURL+`"`).with("sub", `"shipping"`).with("client_id", `"shipping"`)
	tokens := map[string]string{
		"orders":                mint(t, ordersKey, "at+jwt", live(offlineClaims)),
		"shipping":              mint(t, shippingKey, "at+jwt", shipping),
		"orders by platform":    online(t, live(onlineClaims)),
		"shipping by platform":  online(t, live(onlineClaims).with("sub", `"shipping"`).with("client_id", `"shipping"`)),
		"a user by login":       external(t, live(externalClaims)),
		"nobody by nobody":      mint(t, ordersKey, "at+jwt", live(offlineClaims).with("iss", `"https://nobody.example"`)),
		"orders with a new key": mint(t, edSigner("k2"), "at+jwt", live(offlineClaims)),
	}
	const issuer, client = verifier.ReasonIssuer, verifier.ReasonClient
	for _, c := range []struct {
		name      string
		issuers   []events.Name
		externals []events.Name
		want      map[string]verifier.Reason // those that are not accepted
	}{
		{"all", nil, []events.Name{"login"}, map[string]verifier.Reason{}},
		{"one client", []events.Name{"orders"}, nil, map[string]verifier.Reason{"shipping": issuer, "shipping by platform": client, "a user by login": issuer}},
		{"another, and an external issuer", []events.Name{"shipping"}, []events.Name{"login"}, map[string]verifier.Reason{"orders": issuer, "orders by platform": client}},
		{"two", []events.Name{"shipping", "orders", "shipping", "platform"}, []events.Name{"login"}, map[string]verifier.Reason{}},
		{"nobody but the platform", []events.Name{"platform"}, nil, map[string]verifier.Reason{
			"orders": issuer, "shipping": issuer, "orders by platform": client, "shipping by platform": client, "a user by login": issuer}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := o.connect(follows(c.issuers...), func(cfg *verifier.Config) { cfg.Externals, cfg.Snapshot = c.externals, "" })
			for name, token := range tokens {
				want := c.want[name]
				switch {
				case name == "nobody by nobody":
					want = issuer
				case name == "orders with a new key" && c.want["orders"] == accepted:
					want = verifier.ReasonKey
				case name == "orders with a new key":
					want = issuer
				}
				if _, err := v.Verify(token); reasonOf(err) != want {
					t.Errorf("%s: %v, want %q", name, err, want)
				}
			}
		})
	}
}

func TestAnIssuerThatIsFollowedMayComeLater(t *testing.T) {
	o := newOutpost(t)
	v := o.connect(follows("shipping"))
	shipping := mint(t, shippingKey, "at+jwt", live(offlineClaims).with("iss", `"`+shippingURL+`"`).with("sub", `"shipping"`).with("client_id", `"shipping"`))
	expect(t, v, shipping, verifier.ReasonIssuer)
	o.register()
	eventually(t, "the new issuer is trusted", func() bool { _, err := v.Verify(shipping); return err == nil })
	o.Write(bus.Keys, "revoked.shipping.s1", "")
	eventually(t, "its key is dead", func() bool { _, err := v.Verify(shipping); return reasonOf(err) == verifier.ReasonKeyState })
	expect(t, v, mint(t, ordersKey, "at+jwt", live(offlineClaims)), verifier.ReasonIssuer)
}

func TestIssuersToFollowAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		issuers []events.Name
		want    string
	}{
		"a wildcard":   {[]events.Name{"*"}, `name "*"`},
		"a wildcard >": {[]events.Name{"orders", "orders.>"}, `"orders.>"`},
		"no name":      {[]events.Name{""}, `name ""`},
		"some":         {[]events.Name{"orders", "shipping"}, ""},
	} {
		cfg := billingConfig()
		cfg.Issuers = c.issuers
		_, err := verifier.New(cfg, newFeed(t, nil))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A snapshot says for whom it was made. For others it is good for nothing but the revocations.
func TestASnapshotOfOtherIssuersIsNoStart(t *testing.T) {
	o := newOutpost(t)
	o.register()
	good := mint(t, ordersKey, "at+jwt", live(offlineClaims))
	jti := live(offlineClaims).with("jti", `"t1"`)
	es := shippingKey
	es.kid = "es"
	o.Write(bus.Keys, "key.orders.es", es.record())
	byToken := mint(t, es, "at+jwt", jti)
	restoreKeys, restoreTokens := o.Backup(bus.Keys), o.Backup(bus.Revocations)
	o.Write(bus.Keys, "revoked.orders.k1", "")
	o.Write(bus.Keys, "revoked.shipping.s1", "")
	o.Write(bus.Revocations, events.TokenByID(ordersURL, "t1").String(), "")
	o.connect().Close() // follows all
	restoreKeys()
	restoreTokens()

	v := o.connect(follows("orders"))
	expect(t, v, good, verifier.ReasonKeyState)
	expect(t, v, byToken, verifier.ReasonRevoked)
	v.Close()
	o.Stop()
	v = o.connect(follows("orders")) // from its own
	expect(t, v, good, verifier.ReasonKeyState)
	v.Close()
	v = o.connect(follows("orders", "platform"))
	expect(t, v, good, verifier.ReasonKeyState)
	v.Close()
	// No start for who follows others. It waits for the server; what comes then is all that it follows, and not the file's.
	done := make(chan *verifier.Verifier)
	go func() {
		v, err := verifier.Connect(t.Context(), o.config(follows("shipping")))
		if err != nil {
			t.Error(err)
		}
		done <- v
	}()
	select {
	case v := <-done:
		t.Fatalf("started from the snapshot of other issuers: %+v", v.Status())
	case <-time.After(3 * time.Second): // longer than the server is given
	}
	o.Start()
	v = <-done
	if v == nil {
		t.FailNow()
	}
	defer v.Close()
	expect(t, v, good, verifier.ReasonIssuer)
}
