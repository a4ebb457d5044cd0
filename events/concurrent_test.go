package events

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Readers take no lock, so what they see while a writer is at work must be right at every moment: what stays is always
// found, what is found is what was asked for, and what is revoked stays so. Run with -race.
func TestASetIsReadWhileItChanges(t *testing.T) {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.orders", clientJSON)
	b.put("issuer.idp", externalJSON)
	b.put("issuer.moving", external("https://a"))
	b.put("key.orders.stays", keyJSON(1))
	b.put("key.orders.turns", keyJSON(2))
	s := fold(b.all)
	r := NewRevocations(nil)

	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			reader := setReader{set: s, revocations: r}
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := reader.look(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 4000 {
		s.Apply(rotate(b, n))
		id := TokenByID(platformIss, fmt.Sprint(n%50))
		now := start.Add(time.Duration(n) * time.Second)
		r.Apply(Entry{Name: id.String(), Value: []byte(fmt.Sprintf(`{"exp":%d}`, now.Unix()+20)), Revision: uint64(n + 1), Time: now}, now)
	}
	close(done)
	readers.Wait()
}

// rotate writes the n-th change: of everything that readers look at, and more and fewer other names.
func rotate(b *bucket, n int) Entry {
	switch n % 12 {
	case 0:
		return b.put("issuer.platform", with(platformJSON, "not_before", fmt.Sprint(n)))
	case 1:
		return b.put("issuer.orders", with(clientJSON, "not_before", fmt.Sprint(n)))
	case 2:
		return b.put("issuer.idp", with(externalJSON, "not_before", fmt.Sprint(n)))
	case 3:
		return b.put("issuer.moving", external([]string{"https://a", "https://b"}[n/12%2]))
	case 4:
		return b.put("key.orders.stays", keyJSON(1, fmt.Sprintf(`"iat":%d`, n)))
	case 5:
		return b.put("key.orders.turns", keyJSON(2+n%2))
	case 6:
		return b.put(fmt.Sprintf("key.c%d.k", n/12%40), keyJSON(4))
	case 7:
		return b.del(fmt.Sprintf("key.c%d.k", n/12%40))
	case 8:
		if n > 2000 {
			return b.put("revoked.orders.turns", `{}`)
		}
		return b.put(fmt.Sprintf("revoked.c%d.r", n/12), ``)
	case 9:
		return b.put("issuer.moving", clientJSON)
	case 10:
		return b.put(fmt.Sprintf("key.platform.n%d", n/12%5), keyJSON(5, fmt.Sprintf(`"exp":%d`, b.now.Unix()+60)))
	}
	return b.put("key.orders.stays", "{")
}

type setReader struct {
	set         *Set
	revocations *Revocations
	revision    uint64
	dead        bool
}

func (r *setReader) look() error {
	s := r.set
	revision := s.Revision()
	if revision < r.revision {
		return fmt.Errorf("revision %d after %d", revision, r.revision)
	}
	r.revision = revision
	for iss, want := range map[string]Name{platformIss: "platform", platformIss + "/v1/clients/orders": "orders", idpIss: "idp"} {
		if e := s.IssuerOf(iss); e == nil || e.Name != want || s.URL(e) != iss {
			return fmt.Errorf("%s is %+v", iss, e)
		}
	}
	for _, iss := range []string{"https://a", "https://b"} {
		if e := s.IssuerOf(iss); e != nil && (e.Name != "moving" || e.Record.Type != TypeExternal || e.Record.Iss != iss) {
			return fmt.Errorf("%s is %+v", iss, e.Record)
		}
	}
	if e := s.Key("orders", "stays"); e == nil || e.State(start) != KeyActive || !publicKey(1).Equal(e.Record.Public) {
		return fmt.Errorf("the key that stays is %+v", e)
	}
	e := s.Key("orders", "turns")
	if e == nil || e.Issuer != "orders" || e.KeyID != "turns" {
		return fmt.Errorf("the key that turns is %+v", e)
	}
	dead := e.State(start) == KeyRevoked
	if r.dead && !dead {
		return fmt.Errorf("a revoked key is %s", e.State(start))
	}
	r.dead = dead
	r.revocations.Revoked(TokenByID(platformIss, "1"))
	return r.list()
}

func (r *setReader) list() error {
	s := r.set
	seen := 0
	for e := range s.AllKeys() {
		if e.Issuer == "orders" {
			seen++
		}
	}
	if seen != 2 || len(s.Keys("orders")) != 2 {
		return fmt.Errorf("%d and %d keys of orders are listed", seen, len(s.Keys("orders")))
	}
	seen = 0
	for e := range s.Issuers() {
		if e.Name == "platform" || e.Name == "orders" || e.Name == "idp" || e.Name == "moving" {
			seen++
		}
	}
	if seen != 4 {
		return fmt.Errorf("%d issuers are listed", seen)
	}
	s.Rejected()
	s.Ambiguous()
	s.Len()
	r.revocations.Len()
	return nil
}

// A lookup by iss is two loads, and a change may come in between: what the index says is then not what the entry says. The
// moment is too short to wait for, so it is made.
func TestV11_AnIssuerThatMovedInBetweenIsNotFound(t *testing.T) {
	for name, value := range map[string]string{"another iss": external("https://b"), "a client": clientJSON} {
		b := newBucket()
		s := fold([]Entry{b.put("issuer.moving", external("https://a"))})
		stale := s.external.get("https://a")
		s.Apply(b.put("issuer.moving", value))
		s.external.put("https://a", stale) // as the reader has loaded it
		if e := s.IssuerOf("https://a"); e != nil {
			t.Errorf("%s: https://a is %+v", name, e.Record)
		}
	}
}

// When the record of an external issuer is written again, no reader may miss it meanwhile: its place in the index must not be
// taken out and put back.
func TestAnIssuerIsFoundWhileItsRecordIsReplaced(t *testing.T) {
	b := newBucket()
	s := fold([]Entry{b.put("issuer.idp", externalJSON)})
	before := s.external.get(idpIss)
	for _, status := range []string{`"disabled"`, `"active"`} {
		s.Apply(b.put("issuer.idp", with(externalJSON, "status", status)))
	}
	s.Apply(b.put("issuer.idp", "{"))
	if after := s.external.get(idpIss); before == nil || after != before {
		t.Errorf("the place in the index was %p and is %p", before, after)
	}
}

// P1: a decision takes no lock. A writer who has the lock, and keeps it, holds up no lookup.
func TestP1_LookupsTakeNoLock(t *testing.T) {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.orders", clientJSON)
	b.put("issuer.idp", externalJSON)
	b.put("key.orders.k1", keyJSON(1))
	s, r, c := fold(b.all), NewRevocations(nil), NewClients()
	c.Apply(Entry{Name: "orders", Value: []byte(secret()), Revision: 1})
	s.mu.Lock()
	r.mu.Lock()
	c.mu.Lock()
	defer s.mu.Unlock()
	defer r.mu.Unlock()
	defer c.mu.Unlock()
	// If one of these took a lock the test would hang, and the test binary's time limit would say where.
	if s.IssuerOf(platformIss+"/v1/clients/orders") == nil || s.IssuerOf(idpIss) == nil || s.Platform() == nil || s.Issuer("orders") == nil {
		t.Error("an issuer is missing")
	}
	if s.Key("orders", "k1") == nil || r.Revoked(token) || c.Client("orders") == nil || s.URL(s.Issuer("orders")) == "" || s.Revision() != 4 {
		t.Error("something else is missing")
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.orders", clientJSON)
	b.put("issuer.idp", externalJSON)
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.idp.b64.YS9i", keyJSON(1))
	s, r, c := fold(b.all), NewRevocations(nil), NewClients()
	r.Apply(Entry{Name: token.String(), Value: []byte(exp(time.Hour)), Revision: 1, Time: start}, start)
	clientIss := platformIss + "/v1/clients/orders"
	for name, f := range map[string]func(){
		"a client's issuer and key":    func() { e := s.IssuerOf(clientIss); s.Key(e.Name, "k1").State(start) },
		"an external issuer and key":   func() { e := s.IssuerOf(idpIss); s.Key(e.Name, "a/b").State(start) },
		"the platform":                 func() { s.IssuerOf(platformIss) },
		"an unknown issuer":            func() { s.IssuerOf("https://evil.example") },
		"an unknown client":            func() { s.IssuerOf(platformIss + "/v1/clients/nobody") },
		"an unknown kid":               func() { s.Key("orders", "nope") },
		"a revoked token":              func() { r.Revoked(token) },
		"a token that is not revoked":  func() { r.Revoked(TokenByID(platformIss, "other")) },
		"an unknown client's record":   func() { c.Client("nobody") },
		"the platform and its address": func() { s.Platform() },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
