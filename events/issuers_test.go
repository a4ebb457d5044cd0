package events

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// permutations calls f with every order of n things.
func permutations(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var next func(k int)
	next = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			next(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	next(0)
}

func external(iss string) string { return with(externalJSON, "iss", fmt.Sprintf("%q", iss)) }

func TestTheOrderOfIssuersDoesNotMatter(t *testing.T) {
	records := []struct{ name, value string }{
		{"issuer.platform", platformJSON},
		{"issuer.orders", clientJSON},
		{"key.orders.k1", keyJSON(1)},
		{"issuer.idp", externalJSON},
		{"issuer.evil", external(platformIss)},
		{"issuer.evil2", external(platformIss + "/v1/clients/orders")},
	}
	permutations(len(records), func(order []int) {
		b := newBucket()
		for _, i := range order {
			b.put(records[i].name, records[i].value)
		}
		s := fold(b.all)
		for iss, want := range map[string]Name{platformIss: "platform", platformIss + "/v1/clients/orders": "orders", idpIss: "idp"} {
			if e := s.IssuerOf(iss); e == nil || e.Name != want {
				t.Fatalf("order %v: %s is %v, want %s", order, iss, e, want)
			}
		}
		if got := s.URL(s.Issuer("orders")); got != platformIss+"/v1/clients/orders" {
			t.Fatalf("order %v: URL %s", order, got)
		}
		state(t, s, "orders", "k1", KeyActive)
	})
}

func TestAClientWithoutAPlatformHasNoURL(t *testing.T) {
	b := newBucket()
	s := fold([]Entry{b.put("issuer.orders", clientJSON)})
	if url := s.URL(s.Issuer("orders")); url != "" {
		t.Errorf("URL %q", url)
	}
	for _, iss := range []string{"", "/v1/clients/orders", "orders"} {
		if e := s.IssuerOf(iss); e != nil {
			t.Errorf("%q is %s", iss, e.Name)
		}
	}
	s.Apply(b.put("issuer.platform", platformJSON))
	if e := s.IssuerOf(platformIss + "/v1/clients/orders"); e == nil || e.Name != "orders" {
		t.Errorf("%v", e)
	}
	s.Apply(b.put("issuer.platform", with(platformJSON, "iss", `"https://new.example.com"`)))
	if e := s.IssuerOf(platformIss + "/v1/clients/orders"); e != nil {
		t.Error("the URL below the old platform is still a client's")
	}
	if e := s.IssuerOf("https://new.example.com/v1/clients/orders"); e == nil || e.Name != "orders" {
		t.Errorf("below the new platform: %v", e)
	}
	s.Apply(b.del("issuer.platform"))
	if s.IssuerOf("https://new.example.com/v1/clients/orders") != nil || s.IssuerOf("https://new.example.com") != nil || s.Platform() != nil {
		t.Error("the platform is gone, and still found")
	}
}

func TestV11_IssuersAreFoundByTheExactString(t *testing.T) {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.orders", clientJSON)
	b.put("issuer.idp", externalJSON)
	s := fold(b.all)
	for _, iss := range []string{
		"", "https://auth.example.com/", "https://AUTH.example.com", "HTTPS://auth.example.com", "http://auth.example.com", "https://auth.example.com:443",
		" https://auth.example.com", "https://auth.example.com ", "https://auth.example.com\n", "https://auth.example.com\x00", "auth.example.com", "platform",
		"https://auth.example.com/v1/clients", "https://auth.example.com/v1/clients/", "https://auth.example.com/v1/clients/orders/",
		"https://auth.example.com/v1/clients/Orders", "https://auth.example.com/v1/clients/order%73", "https://auth.example.com/v1/clients/../clients/orders",
		"https://auth.example.com//v1/clients/orders", "https://auth.example.com/v1/clients/orders?a", "https://auth.example.com/v1/clients/orders#a",
		"https://evil.example/v1/clients/orders", "https://auth.example.com.evil.example/v1/clients/orders",
		"https://auth.example.com/v1/clients/platform", "https://auth.example.com/v1/clients/idp",
		idpIss + "/", strings.ToUpper(idpIss), "https://idp.example.net",
	} {
		if e := s.IssuerOf(iss); e != nil {
			t.Errorf("%q is %s", iss, e.Name)
		}
	}
}

func TestV10_KeysBelongToTheirIssuer(t *testing.T) {
	b := newBucket()
	b.put("issuer.orders", clientJSON)
	b.put("issuer.stock", clientJSON)
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.stock.k1", keyJSON(2))
	b.put("key.stock.k2", keyJSON(3))
	b.put("revoked.stock.k1", `{}`)
	s := fold(b.all)
	if e := s.Key("orders", "k1"); !publicKey(1).Equal(e.Record.Public) || e.State(start) != KeyActive {
		t.Errorf("k1 of orders: %+v", e)
	}
	if e := s.Key("stock", "k1"); !publicKey(2).Equal(e.Record.Public) || e.State(start) != KeyRevoked {
		t.Errorf("k1 of stock: %+v", e)
	}
	for _, ref := range []keyRef{{"orders", "k2"}, {"platform", "k1"}, {"", "k1"}, {"orders", ""}, {"Orders", "k1"}, {"orders", "K1"}, {"orders.k1", ""}, {"", "orders.k1"}} {
		if e := s.Key(ref.issuer, ref.kid); e != nil {
			t.Errorf("key %q of %q is that of %s", ref.kid, ref.issuer, e.Issuer)
		}
	}
}

func TestKeysOfAnIssuerAreListedLatestFirst(t *testing.T) {
	run(t, []story{{"in the order of their records, whatever came before", func(b *bucket) {
		b.put("key.orders.k1", keyJSON(1))
		b.put("key.stock.k9", keyJSON(9))
		b.put("key.orders.k2", keyJSON(2))
		b.put("revoked.orders.k4", `{}`)
		b.put("key.orders.k3", keyJSON(3))
		putTimes(b, 30, "key.orders.k1", keyJSON(1))
		b.put("revoked.orders.k0", `{}`)
	}, func(t *testing.T, s *Set) {
		var kids []KeyID
		for _, e := range s.Keys("orders") {
			kids = append(kids, e.KeyID)
		}
		if want := []KeyID{"k1", "k3", "k2", "k0", "k4"}; !slices.Equal(kids, want) {
			t.Errorf("%v, want %v", kids, want)
		}
		if s.Keys("nobody") != nil {
			t.Error("nobody has keys")
		}
	}}})
}

func TestTwoExternalIssuersWithOneIss(t *testing.T) {
	found := func(t *testing.T, s *Set, iss string, want Name) {
		t.Helper()
		var got Name
		if e := s.IssuerOf(iss); e != nil {
			got = e.Name
		}
		if got != want {
			t.Errorf("%s is %q, want %q", iss, got, want)
		}
	}
	ambiguous := func(t *testing.T, s *Set, want ...Name) {
		t.Helper()
		got := s.Ambiguous()
		if len(want) == 0 && len(got) == 0 {
			return
		}
		if len(got) != 1 || !slices.Equal(slices.Collect(maps.Values(got))[0], want) {
			t.Errorf("ambiguous: %v, want %v", got, want)
		}
	}
	two := func(b *bucket) { b.put("issuer.b", externalJSON); b.put("issuer.a", externalJSON) }
	run(t, []story{
		{"are both not trusted", two,
			func(t *testing.T, s *Set) { found(t, s, idpIss, ""); ambiguous(t, s, "a", "b") }},
		{"even if one of them is disabled", func(b *bucket) { two(b); b.put("issuer.a", with(externalJSON, "status", `"disabled"`)) },
			func(t *testing.T, s *Set) { found(t, s, idpIss, ""); ambiguous(t, s, "a", "b") }},
		{"and the other is again when one goes", func(b *bucket) { two(b); b.del("issuer.a") },
			func(t *testing.T, s *Set) { found(t, s, idpIss, "b"); ambiguous(t, s) }},
		{"and the other is again when one has another iss", func(b *bucket) { two(b); b.put("issuer.a", external("https://a")) },
			func(t *testing.T, s *Set) { found(t, s, idpIss, "b"); found(t, s, "https://a", "a"); ambiguous(t, s) }},
		{"and the other is again when one becomes a client", func(b *bucket) { two(b); b.put("issuer.a", clientJSON) },
			func(t *testing.T, s *Set) { found(t, s, idpIss, "b"); ambiguous(t, s) }},
		{"and the other is again when one is pushed out", func(b *bucket) { two(b); putTimes(b, 16, "issuer.a", "{") },
			func(t *testing.T, s *Set) { found(t, s, idpIss, "b"); ambiguous(t, s) }},
		{"and three are not trusted either", func(b *bucket) { two(b); b.put("issuer.c", externalJSON) },
			func(t *testing.T, s *Set) { found(t, s, idpIss, ""); ambiguous(t, s, "a", "b", "c") }},
		{"and two of three are not", func(b *bucket) { two(b); b.put("issuer.c", externalJSON); b.del("issuer.b") },
			func(t *testing.T, s *Set) { found(t, s, idpIss, ""); ambiguous(t, s, "a", "c") }},
		{"and one that is written again stays trusted", func(b *bucket) { putTimes(b, 3, "issuer.a", externalJSON) },
			func(t *testing.T, s *Set) { found(t, s, idpIss, "a"); ambiguous(t, s) }},
		{"a malformed second one takes nothing away", func(b *bucket) {
			b.put("issuer.a", externalJSON)
			b.put("issuer.b", with(externalJSON, "use", `[]`))
		}, func(t *testing.T, s *Set) { found(t, s, idpIss, "a"); ambiguous(t, s); rejects(t, s, "issuer.b") }},
		{"an external issuer that claims the platform's URL is not found", func(b *bucket) {
			b.put("issuer.evil", external(platformIss))
			b.put("issuer.platform", platformJSON)
		}, func(t *testing.T, s *Set) { found(t, s, platformIss, "platform"); ambiguous(t, s, "platform", "evil") }},
		{"an external issuer that claims a client's URL is not found", func(b *bucket) {
			b.put("issuer.evil", external(platformIss+"/v1/clients/orders"))
			b.put("issuer.orders", clientJSON)
			b.put("issuer.platform", platformJSON)
		}, func(t *testing.T, s *Set) {
			found(t, s, platformIss+"/v1/clients/orders", "orders")
			ambiguous(t, s, "platform", "evil")
		}},
		{"nor one that claims the URL of a client that is not there yet", func(b *bucket) {
			b.put("issuer.evil", external(platformIss+"/v1/clients/orders"))
			b.put("issuer.platform", platformJSON)
		}, func(t *testing.T, s *Set) {
			found(t, s, platformIss+"/v1/clients/orders", "")
			ambiguous(t, s, "platform", "evil")
		}},
		{"an external issuer beside the clients is found", func(b *bucket) {
			b.put("issuer.idp", external(platformIss+"/v1/clientsets/orders"))
			b.put("issuer.platform", platformJSON)
		}, func(t *testing.T, s *Set) { found(t, s, platformIss+"/v1/clientsets/orders", "idp"); ambiguous(t, s) }},
	})
}
