package events

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A history is written by chance: few names, so that much happens to each of them.
type history struct {
	*bucket
	rnd    *rand.Rand
	leases map[string]time.Time // the latest time up to which a message on a lease's name is kept

	broken string // a name that somebody keeps writing nonsense to
	left   int    // how many times yet
}

func newHistory(seed uint64) *history {
	return &history{bucket: newBucket(), rnd: rand.New(rand.NewPCG(seed, 1)), leases: map[string]time.Time{}}
}

func (h *history) pick(values ...string) string { return values[h.rnd.IntN(len(values))] }

// step writes one message.
func (h *history) step() Entry {
	h.now = h.now.Add(time.Duration(h.rnd.IntN(600)) * time.Second)
	if h.left > 0 && h.rnd.IntN(2) == 0 {
		h.left--
		return h.put(h.broken, h.pick("", "{", "[]"))
	}
	key := h.pick("orders.k1", "orders.k2", "stock.k1", "ghost.k1", "idp.b64.YS9i", "platform.fixed")
	switch h.rnd.IntN(20) {
	case 0:
		return h.put("issuer.platform", h.pick(platformJSON, platformJSON, with(platformJSON, "iss", `"https://b"`), "{", clientJSON))
	case 1, 2:
		return h.put("issuer."+h.pick("orders", "stock", "idp"), h.issuer())
	case 3:
		return h.put("issuer."+h.pick("x", "y"), external(h.pick("https://a", "https://b", platformIss+"/v1/clients/orders")))
	case 4:
		return h.del(h.pick("issuer.orders", "issuer.idp", "issuer.x", "issuer.y", "issuer.platform", "no.name", "key."+key))
	case 5:
		return h.put(h.pick("no.name", "key.orders", "revoked.orders.b64.azE"), "x")
	case 6:
		if h.left == 0 { // now and then as many as push the good record out, or nearly
			h.broken, h.left = h.pick("key."+key, "key.platform.n1", "issuer.orders", "issuer.idp", "issuer.platform"), 12+h.rnd.IntN(8)
		}
		return h.put(h.broken, "{")
	case 7, 8:
		return h.put("key."+key, h.pick("", "{", "null", with(ed, "d", `"AA"`), `{"kty":"oct"}`))
	case 11:
		return h.put("issuer."+h.pick("orders", "idp", "platform"), h.pick("", "{", `{"type":"user"}`))
	case 12:
		if h.rnd.IntN(4) > 0 {
			return h.put("key."+key, h.key())
		}
		name := "revoked." + h.pick("orders.k2", "ghost.k9", "platform.n2", "idp.b64.YS9i")
		if h.rnd.IntN(3) == 0 {
			return h.del(name)
		}
		return h.put(name, h.pick("", `{"reason":"x"}`, `{"reason":5}`, `{"revoked_at":7}`))
	case 13, 14, 15:
		return h.lease("key.platform." + h.pick("n1", "n2", "n3"))
	}
	return h.put("key."+key, h.key())
}

func (h *history) issuer() string {
	record := h.pick(clientJSON, clientJSON, externalJSON, external("https://a"), `{"type":"client","status":"active"}`)
	return with(record, "status", h.pick(`"active"`, `"active"`, `"disabled"`))
}

func (h *history) key() string {
	record := keyJSON(h.rnd.IntN(5))
	for _, member := range []string{"nbf", "exp"} {
		if h.rnd.IntN(3) == 0 {
			record = with(record, member, fmt.Sprint(h.now.Unix()+int64(h.rnd.IntN(8000))-2000))
		}
	}
	if h.rnd.IntN(8) == 0 {
		record = with(record, "revoked", `{"reason":"x"}`)
	}
	return record // malformed when exp came out before nbf
}

// lease puts a node's key as nodes do: with an exp, kept for an hour after it, and never for less long than before.
func (h *history) lease(name string) Entry {
	exp := h.now.Add(time.Duration(h.rnd.IntN(7200)) * time.Second)
	until := exp.Add(LeaseKeep)
	if before := h.leases[name]; before.After(until) {
		until = before
	}
	h.leases[name] = until
	return h.putUntil(name, with(keyJSON(h.rnd.IntN(3)), "exp", fmt.Sprint(exp.Unix())), until)
}

// The key set is a pure function of what the bucket retains: whoever has followed from the start sees what somebody
// sees who starts now, at every moment.
func TestLiveEqualsFresh(t *testing.T) {
	histories, steps := 60, 250
	if testing.Short() {
		histories = 20
	}
	malformedOut, forgotten := 0, 0
	for i := range histories {
		seed := uint64(i) + 1
		h := newHistory(seed)
		live := NewSet(func(c Change) {
			switch c.Reason {
			case pushedOut:
				malformedOut++
			case "its lease has ended":
				forgotten++
			}
		})
		for n := range steps {
			live.Apply(h.step())
			if n%10 != 9 {
				continue
			}
			if d := viewOf(t, live, h.now).difference(viewOf(t, fold(h.retained()), h.now)); d != "" {
				t.Fatalf("seed %d: after %d messages live and fresh differ:\n%s", seed, n+1, d)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if !testing.Short() && (malformedOut < 20 || forgotten < 50) {
		t.Errorf("only %d records were pushed out and %d leases forgotten: the test tests little", malformedOut, forgotten)
	}
}

// What is told while following, and what Diff tells at the end, lead from the same beginning to the same end.
func TestDiffHasTheEffectOfFollowing(t *testing.T) {
	for i := range 120 {
		seed := uint64(i) + 1
		h := newHistory(seed)
		for range h.rnd.IntN(150) {
			h.step()
		}
		seen := len(h.all)
		before := fold(h.retained())
		var live, diff recorder
		following := NewSet(live.emit)
		for _, e := range h.retained() {
			following.Apply(e)
		}
		live.take()
		for range 1 + h.rnd.IntN(150) {
			h.step()
		}
		for _, e := range h.all[seen:] {
			following.Apply(e)
		}
		// A fresh set may not have met the message at which the other forgot a lease: it is asked once more by both.
		last := h.put("key.platform.n0", with(keyJSON(0), "exp", fmt.Sprint(h.now.Unix()+60)))
		following.Apply(last)
		after := fold(h.retained())
		Diff(before, after, diff.emit)

		start, want := effectOf(before), effectOf(after)
		if d := start.after(live.changes).difference(want); d != "" {
			t.Fatalf("seed %d: what was told while following leads elsewhere:\n%s", seed, d)
		}
		if d := start.after(diff.changes).difference(want); d != "" {
			t.Fatalf("seed %d: what Diff tells leads elsewhere:\n%s", seed, d)
		}
		told := map[string]bool{}
		for _, c := range diff.changes {
			if id := string(c.Event) + c.Name; told[id] {
				t.Fatalf("seed %d: %s %s is told twice", seed, c.Event, c.Name)
			} else {
				told[id] = true
			}
		}
	}
}
