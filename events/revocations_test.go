package events

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// exp is a revocation of a token that ends so long after the tests begin.
func exp(after time.Duration) string { return fmt.Sprintf(`{"exp":%d}`, start.Add(after).Unix()) }

var token = TokenByID(platformIss, "token-1")

// other is a message about something else, at which a set may forget.
func other(at time.Time) Entry {
	return Entry{Name: TokenByID(platformIss, at.String()).String(), Value: []byte(exp(100 * time.Hour)), Revision: 9, Time: at}
}

func TestARevokedTokenIsForgottenAfterItsEndAndNotBefore(t *testing.T) {
	const maxAge = 24*time.Hour + 2*time.Minute
	for _, c := range []struct {
		name string
		e    Entry
		keep time.Duration // it must be there so long, and not a second longer
	}{
		{"a token that lives an hour", Entry{Value: []byte(exp(time.Hour))}, time.Hour + time.Minute},
		{"a token that lives a day", Entry{Value: []byte(exp(24 * time.Hour))}, 24*time.Hour + time.Minute},
		{"a token that has just ended, which a clock may not know yet", Entry{Value: []byte(exp(0))}, time.Minute},
		{"a token that claims to live a year: as long as the bucket keeps it", Entry{Value: []byte(exp(365 * 24 * time.Hour))}, maxAge},
		{"a token that claims to live for ever", Entry{Value: []byte(`{"exp":9007199254740991}`)}, maxAge},
		{"a marker", Entry{Deleted: true}, maxAge},
		{"a malformed value", Entry{Value: []byte("not json")}, maxAge},
		{"an empty value", Entry{}, maxAge},
		{"a value without exp", Entry{Value: []byte(`{"reason":"x"}`)}, maxAge},
		{"a value with an exp of zero", Entry{Value: []byte(`{"exp":0}`)}, maxAge},
		{"a value with a reason that is too long", Entry{Value: []byte(`{"exp":1,"reason":` + text(300) + `}`)}, maxAge},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told recorder
			r := NewRevocations(told.emit)
			c.e.Name, c.e.Revision, c.e.Time = token.String(), 7, start.Add(300*time.Millisecond)
			r.Apply(c.e, start)
			if !r.Revoked(token) || r.Revoked(TokenByID(platformIss, "token-2")) || r.Revision() != 7 {
				t.Fatalf("revoked: %v, revision %d", r.Revoked(token), r.Revision())
			}
			if got := told.take(); !slices.Equal(got, []string{"token revoked " + token.String()}) {
				t.Fatalf("told %q", got)
			}
			last := start.Add(c.keep)
			r.Apply(other(last), last)
			if !r.Revoked(token) {
				t.Fatalf("forgotten %v after it was revoked", c.keep)
			}
			last = last.Add(2 * time.Second) // one for the fraction of the message's time
			r.Apply(other(last), last)
			if r.Revoked(token) {
				t.Fatalf("still there %v after it was revoked", c.keep+2*time.Second)
			}
		})
	}
}

func TestATokenThatHasEndedIsNotEvenAdded(t *testing.T) {
	var told recorder
	r := NewRevocations(told.emit)
	r.Apply(Entry{Name: token.String(), Value: []byte(exp(-2 * time.Minute)), Revision: 1, Time: start}, start)
	if r.Len() != 0 || r.Revoked(token) || told.changes != nil || r.Revision() != 1 {
		t.Errorf("%d tokens, told %v", r.Len(), told.changes)
	}
}

func TestATokenRevokedTwiceIsKeptForTheLonger(t *testing.T) {
	short, long := []byte(exp(time.Hour)), []byte(exp(2*time.Hour))
	for name, entries := range map[string][]Entry{
		"the longer last":       {{Value: short}, {Value: long}},
		"the longer first":      {{Value: long}, {Value: short}},
		"the longer twice":      {{Value: long}, {Value: long}, {Value: short}},
		"a long one in between": {{Value: short}, {Value: long}, {Value: short}, {Value: short}},
	} {
		t.Run(name, func(t *testing.T) {
			var told recorder
			r := NewRevocations(told.emit)
			for i, e := range entries {
				e.Name, e.Revision, e.Time = token.String(), uint64(i+1), start
				r.Apply(e, start)
			}
			if len(told.take()) != 1 || r.Len() != 1 || len(r.byExpiry) != 1 {
				t.Errorf("it is there more than once: %d, %d", r.Len(), len(r.byExpiry))
			}
			for _, at := range []time.Duration{time.Hour + 2*time.Minute, 2*time.Hour + time.Minute} {
				r.Apply(other(start.Add(at)), start.Add(at))
				if !r.Revoked(token) {
					t.Fatalf("forgotten after %v", at)
				}
			}
			end := start.Add(2*time.Hour + 62*time.Second)
			r.Apply(other(end), end)
			if r.Revoked(token) {
				t.Error("never forgotten")
			}
		})
	}
}

func TestADeleteMarkerRevokesAndNeverTakesBack(t *testing.T) {
	r := NewRevocations(nil)
	r.Apply(Entry{Name: token.String(), Value: []byte(exp(time.Hour)), Revision: 1, Time: start}, start)
	r.Apply(Entry{Name: token.String(), Deleted: true, Revision: 2, Time: start}, start)
	if !r.Revoked(token) {
		t.Fatal("a marker has taken it back")
	}
	at := start.Add(20 * time.Hour) // the marker may stand for a revocation that nobody can read any more
	r.Apply(other(at), at)
	if !r.Revoked(token) {
		t.Error("a marker counts for less than a revocation")
	}
}

// A server whose clock is behind must not make a revocation look as if it were over.
func TestTheServersClockIsNotTrustedToForget(t *testing.T) {
	for _, behind := range []time.Duration{time.Hour, 48 * time.Hour, 10_000 * time.Hour} {
		for name, value := range map[string]string{"with exp": exp(time.Hour), "malformed": "{"} {
			r := NewRevocations(nil)
			r.Apply(Entry{Name: token.String(), Value: []byte(value), Revision: 1, Time: start.Add(-behind)}, start)
			if !r.Revoked(token) {
				t.Errorf("%s, a server %v behind: not revoked", name, behind)
			}
		}
	}
}

func TestNamesThatAreNoTokensAreCounted(t *testing.T) {
	var told recorder
	r := NewRevocations(told.emit)
	for i, name := range []string{"", "foo", "jti.x", "tok." + b64(make([]byte, 31))} {
		r.Apply(Entry{Name: name, Value: []byte(exp(time.Hour)), Revision: uint64(i + 1), Time: start}, start)
	}
	if r.Malformed() != 4 || r.Len() != 0 || len(told.changes) != 4 || told.changes[0].Event != RecordRejected || r.Revision() != 4 {
		t.Errorf("%d malformed, %d tokens, told %v", r.Malformed(), r.Len(), told.changes)
	}
}

// The same messages in any order, some of them twice: the same tokens, at every time.
func TestTheOrderOfRevocationsDoesNotMatter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 100 {
		var entries []Entry
		for i := range 60 {
			e := Entry{Name: TokenByID(platformIss, fmt.Sprint(rnd.IntN(12))).String(), Revision: uint64(i + 1), Time: start, Deleted: rnd.IntN(10) == 0}
			if rnd.IntN(10) > 0 {
				e.Value = []byte(exp(time.Duration(rnd.IntN(30*3600)) * time.Second))
			}
			entries = append(entries, e)
		}
		a, b := NewRevocations(nil), NewRevocations(nil)
		for _, e := range entries {
			a.Apply(e, start)
		}
		rnd.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		for _, e := range append(entries, entries[:20]...) {
			b.Apply(e, start)
		}
		for h := range 27 {
			now := start.Add(time.Duration(h) * time.Hour)
			a.Apply(Entry{Revision: 1000}, now)
			b.Apply(Entry{Revision: 1000}, now)
			for i := range 12 {
				if id := TokenByID(platformIss, fmt.Sprint(i)); a.Revoked(id) != b.Revoked(id) {
					t.Fatalf("round %d: after %d h token %d is %v and %v", round, h, i, a.Revoked(id), b.Revoked(id))
				}
			}
		}
		if a.Len() != 0 || b.Len() != 0 {
			t.Fatalf("round %d: %d and %d tokens are left", round, a.Len(), b.Len())
		}
	}
}

// A verifier runs for months. Tokens are revoked and end all the time, and some are revoked again and again: what is
// kept is in proportion to what is revoked now.
func TestMemoryDoesNotGrowUnderChurn(t *testing.T) {
	r := NewRevocations(nil)
	now := start
	next := 0
	churn := func(n int) {
		for range n {
			next++
			now = now.Add(time.Second)
			value := []byte(fmt.Sprintf(`{"exp":%d}`, now.Add(1000*time.Second).Unix()))
			r.Apply(Entry{Name: TokenByID("", fmt.Sprint(next)).String(), Value: value, Revision: uint64(next), Time: now}, now)
			r.Apply(Entry{Name: token.String(), Deleted: true, Revision: uint64(next), Time: now}, now)
		}
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	churn(3000)
	tokens, branches, before := r.Len(), r.tokens.branches(), heap()
	churn(100_000)
	if r.Len() != tokens || len(r.byExpiry) != tokens {
		t.Errorf("%d tokens and %d to look at, were %d", r.Len(), len(r.byExpiry), tokens)
	}
	if n := r.tokens.branches(); n > 2*branches {
		t.Errorf("%d branches, were %d", n, branches)
	}
	if after := heap(); after > before+before/2+256<<10 {
		t.Errorf("%d bytes of heap, were %d", after, before)
	}
	runtime.KeepAlive(r)
}
