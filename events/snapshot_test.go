package events

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// encoded is the snapshot of a set, and of revoked tokens if there are any.
func encoded(t testing.TB, s *Set, r *Revocations) []byte {
	t.Helper()
	if r == nil {
		r = NewRevocations(nil)
	}
	var out bytes.Buffer
	digest, err := (&Snapshot{Confirmed: start, Keys: s, Revocations: r}).Encode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(out.Bytes(), digest[:]) {
		t.Fatal("the digest is not the end of the snapshot")
	}
	return out.Bytes()
}

// readBack decodes a snapshot, and checks that it is written again as it was.
func readBack(t testing.TB, data []byte) *Snapshot {
	t.Helper()
	s, _, err := DecodeSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if again := encoded(t, s.Keys, s.Revocations); !bytes.Equal(again, data) {
		t.Fatalf("%d bytes are written again as other %d bytes", len(data), len(again))
	}
	return s
}

// A set that is read back says the same as the one that was written, and goes on the same.
func TestSnapshotEqualsTheSetNowAndLater(t *testing.T) {
	histories, steps := 60, 250
	if testing.Short() {
		histories = 20
	}
	for i := range histories {
		seed := uint64(i) + 1
		h := newHistory(seed)
		live := NewSet(nil)
		var restored []*Set
		for n := range steps {
			e := h.step()
			live.Apply(e)
			for _, s := range restored {
				s.Apply(e)
			}
			if n%25 != 24 {
				continue
			}
			restored = append(restored, readBack(t, encoded(t, live, nil)).Keys)
			want := viewOf(t, live, h.now)
			for k, s := range restored {
				if d := want.difference(viewOf(t, s, h.now)); d != "" {
					t.Fatalf("seed %d: after %d messages the set and its snapshot %d differ:\n%s", seed, n+1, k, d)
				}
				if s.Revision() != live.Revision() {
					t.Fatalf("revision %d, want %d", s.Revision(), live.Revision())
				}
			}
		}
	}
}

// What is written while messages come in is the set as it was between two of them.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	const batches, rounds, enough = 10, 50, 5
	h := newHistory(1)
	for range 3000 {
		h.step()
	}
	amid := 0 // snapshots of a time at which the writer was at work
	for range rounds {
		live, next := NewSet(nil), make(chan struct{})
		var applying sync.WaitGroup
		applying.Go(func() {
			for batch := range slices.Chunk(h.all, len(h.all)/batches) {
				<-next
				for _, e := range batch {
					live.Apply(e)
				}
			}
		})
		for range batches {
			next <- struct{}{}
			s := readBack(t, encoded(t, live, nil)).Keys
			if s.Revision()%uint64(len(h.all)/batches) == 0 {
				continue
			}
			amid++
			if d := viewOf(t, s, h.now).difference(viewOf(t, fold(h.all[:s.Revision()]), h.now)); d != "" {
				t.Fatalf("the snapshot of revision %d is something else:\n%s", s.Revision(), d)
			}
		}
		applying.Wait()
		if amid >= enough {
			return
		}
	}
	t.Errorf("only %d snapshots were taken while messages came in", amid)
}

// A feed that reads the bucket again after a start from a snapshot comes to what a node says that has been there all the time, whatever
// has become of the bucket meanwhile.
func TestSnapshotKeepsRevocationsThatTheBucketHasLost(t *testing.T) {
	for i := range 30 {
		h := newHistory(uint64(i) + 1)
		for range 150 {
			h.step()
		}
		live, older := fold(h.all), fold(h.all[:100])
		snapshot := readBack(t, encoded(t, live, nil)).Keys
		older.KeepRevocations(live)
		again := fold(h.all[:100])
		again.KeepRevocations(snapshot)
		if d := viewOf(t, older, h.now).difference(viewOf(t, again, h.now)); d != "" {
			t.Fatalf("seed %d: a node that was there all the time and one that started from a snapshot differ:\n%s", i+1, d)
		}
		// The snapshot of a set with lost revocations has them, too, with the report of it.
		if d := viewOf(t, again, h.now).difference(viewOf(t, readBack(t, encoded(t, again, nil)).Keys, h.now)); d != "" {
			t.Fatalf("seed %d: %s", i+1, d)
		}
	}
}

func TestSnapshotHasEveryTypeOfRecord(t *testing.T) {
	b := newBucket()
	for _, r := range slices.Sorted(maps.Keys(goldenFiles(t, "issuer-"))) {
		b.put("issuer."+strings.TrimPrefix(strings.Replace(r, "issuer-platform", "platform", 1), "issuer-"), string(goldenFiles(t, r)[r]))
	}
	b.put("key.client.k1", string(goldenFiles(t, "key-ed25519")["key-ed25519"]))
	b.put("key.client.b64.YS9iIGM", string(goldenFiles(t, "key-p256")["key-p256"]))
	b.put("key.external.2011-04-29", string(goldenFiles(t, "key-rsa")["key-rsa"]))
	b.put("revoked.external.gone", string(goldenFiles(t, "revoked-key")["revoked-key"]))
	b.put("key.client.secret", with(ed, "d", `"AAAA"`))
	s := fold(b.all)
	if issuers, keys := s.Len(); issuers != 3 || keys != 4 || len(s.Rejected()) != 1 {
		t.Fatalf("%d issuers, %d keys, rejected %+v", issuers, keys, s.Rejected())
	}
	if d := viewOf(t, s, b.now).difference(viewOf(t, readBack(t, encoded(t, s, nil)).Keys, b.now)); d != "" {
		t.Error(d)
	}
}

// What a set has accepted, its snapshot can carry: nothing that is written is longer, or has more members, than what was read.
func TestSnapshotHasRoomForRecordsAtTheirLimits(t *testing.T) {
	fill := func(record string, size int) string {
		return with(record, "note", `"`+strings.Repeat("x", size-len(with(record, "note", `""`)))+`"`)
	}
	members := func(record string, n int) string {
		for i := range 64 - n {
			record = with(record, fmt.Sprintf("m%d", i), "1")
		}
		return record
	}
	odd := strings.Repeat("\u2028", MaxURI/3)
	b := newBucket()
	b.put("key.a.k1", fill(ed, MaxValue))
	b.put("key.a.k2", members(ed, 3))
	b.put("key.a.k3", members(ec, 4))
	b.put("key.a.k4", members(rs, 4))
	b.put("issuer.a", fill(clientJSON, MaxValue))
	b.put("issuer.b", members(clientJSON, 5))
	tail := `","resource":["` + odd + `","\"` + odd[:300] + `"]}`
	b.put("issuer.c", `{"type":"client","status":"active","note":"`+strings.Repeat("x", MaxValue-43-len(tail))+tail)
	b.put("revoked.a.k9", fill(`{"reason":"x"}`, MaxValue))
	for i, name := range []string{`\u0001` + odd, `\u001f` + strings.Repeat("\u2029", MaxURI/3), `\n\\\"` + odd, "\x7f\u0085" + odd, strings.Repeat("<&>", 600)} {
		for kind, record := range map[string]string{"issuer.n": clientJSON, "key.n.n": ed, "revoked.n.r": `{"reason":"x"}`} {
			short := strings.TrimSuffix(record, "}") + `,"` + name + `":1`
			b.put(fmt.Sprint(kind, i), short+`,"note":"`+strings.Repeat("x", MaxValue-len(short)-len(`,"note":""}`))+`"}`)
		}
	}
	s := fold(b.all)
	rejects(t, s)
	if d := viewOf(t, s, b.now).difference(viewOf(t, readBack(t, encoded(t, s, nil)).Keys, b.now)); d != "" {
		t.Error(d)
	}
}

// A record that would not be read back, whatever the reason, must not take all others with it, and least of all a revocation.
func TestSnapshotIsReadableWhateverIsInARecord(t *testing.T) {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.a", clientJSON)
	b.put("issuer.b", clientJSON)
	for _, kid := range []string{"k1", "k2", "k3"} {
		b.put("key.a."+kid, ed)
	}
	b.put("revoked.a.k2", `{"reason":"leaked"}`)
	b.put("revoked.a.k9", `{"reason":"leaked"}`)
	live := fold(b.all)
	long := Extra{"note": []byte(`"` + strings.Repeat("x", MaxValue) + `"`)}
	live.Issuer("a").Record.Extra = long
	live.Key("a", "k1").Record.Extra = Extra{"kty": []byte(`"oct"`)}
	live.Key("a", "k2").Reason.Extra = long
	live.Key("a", "k3").Record.Revoked = &KeyRevocation{Extra: long}
	live.Key("a", "k9").Reason.Extra = Extra{"zz": []byte("1")}
	var out bytes.Buffer
	var told []string
	s := &Snapshot{Confirmed: start, Keys: live, Revocations: NewRevocations(nil), Unreadable: func(name string, err error) {
		if err == nil {
			t.Errorf("%s: no reason", name)
		}
		told = append(told, name)
	}}
	if _, err := s.Encode(&out); err != nil {
		t.Fatal(err)
	}
	if want := []string{"issuer.a", "key.a.k1", "key.a.k3", "revoked.a.k2"}; !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
	back := readBack(t, out.Bytes()).Keys
	if back.Issuer("a") != nil || back.Key("a", "k1") != nil || back.Key("a", "k3") != nil || back.Issuer("b") == nil || back.Issuer("platform") == nil {
		t.Error("other records are left out than those that cannot be read")
	}
	for _, kid := range []KeyID{"k2", "k9"} {
		if k, was := back.Key("a", kid), live.Key("a", kid); k.State(b.now) != KeyRevoked || k.RevokedBy != was.RevokedBy || k.Reason.RevokedAt != was.Reason.RevokedAt {
			t.Errorf("key %s is %s", kid, k.State(b.now))
		}
	}
}

// What comes and goes while the places are looked up is in the snapshot as it is at the end.
func TestSnapshotHasWhatComesWhileItsPlacesAreLookedUp(t *testing.T) {
	for i := range 50 {
		h := newHistory(uint64(i) + 1)
		live := NewSet(nil)
		for range 200 {
			live.Apply(h.step())
		}
		issuers, keys := live.places()
		for range 50 {
			live.Apply(h.step())
		}
		amid, after := live.holdPlaces(issuers, keys), live.hold()
		if got, want := amid.records(), after.records(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d records, want %d, or others", i+1, len(got), len(want))
		}
	}
}

// The feed must not wait while names are made and texts are written: what is done under the lock does not depend on the number of keys,
// but for copying pointers.
func TestSnapshotLetsTheFeedWaitForPointersOnly(t *testing.T) {
	s, r := NewSet(nil), NewRevocations(nil)
	for i := range 5000 {
		s.Apply(Entry{Name: "issuer." + clientName(i), Value: []byte(clientJSON), Revision: s.Revision() + 1, Time: start})
		s.Apply(Entry{Name: "revoked." + clientName(i) + ".k1", Revision: s.Revision() + 1, Time: start})
		r.Apply(Entry{Name: TokenByID("i", clientName(i)).String(), Revision: r.Revision() + 1, Time: start}, start)
	}
	if n := testing.AllocsPerRun(5, func() { s.hold(); r.hold() }); n > 10 {
		t.Errorf("%v allocations while the feed waits", n)
	}
}

func TestSnapshotOfRevokedTokens(t *testing.T) {
	r := NewRevocations(nil)
	exp := start.Add(time.Hour).Unix()
	r.Apply(Entry{Name: TokenByID("i", "j").String(), Value: fmt.Appendf(nil, `{"exp":%d}`, exp), Revision: 7, Time: start}, start)
	r.Apply(Entry{Name: TokenByText([]byte("h.p")).String(), Deleted: true, Revision: 8, Time: start}, start)
	r.Apply(Entry{Name: "odd", Revision: 9, Time: start}, start)
	data := encoded(t, NewSet(nil), r)
	back := readBack(t, data).Revocations
	if back.Revision() != 9 || back.Len() != 2 || !back.Revoked(TokenByID("i", "j")) || !back.Revoked(TokenByText([]byte("h.p"))) {
		t.Errorf("revision %d, %d tokens", back.Revision(), back.Len())
	}
	// They are forgotten when they would have been.
	tick := func(s *Revocations, at time.Time) { s.Apply(Entry{Name: "odd", Revision: 10}, at) }
	live := NewRevocations(nil)
	live.Keep(back)
	for _, s := range []*Revocations{r, back, live} {
		for _, c := range []struct {
			at   time.Time
			left int
		}{
			{time.Unix(exp, 0).Add(MaxLeeway), 2},
			{time.Unix(exp, 0).Add(MaxLeeway + time.Second), 1},
			{start.Add(RevocationsMaxAge + 2*time.Second), 0},
		} {
			if tick(s, c.at); s.Len() != c.left {
				t.Errorf("at %s: %d tokens, want %d", c.at, s.Len(), c.left)
			}
		}
	}
	// One that is revoked for longer than before stays for as long, whichever way it is told.
	long, short := NewRevocations(nil), NewRevocations(nil)
	long.keep(TokenByID("i", "j"), 100)
	short.keep(TokenByID("i", "j"), 50)
	before := readBack(t, encoded(t, NewSet(nil), short)).Revocations
	short.Keep(long)
	long.Keep(before)
	for _, s := range []*Revocations{short, long, readBack(t, encoded(t, NewSet(nil), long)).Revocations} {
		if tick(s, time.Unix(100, 0)); s.Len() != 1 {
			t.Error("a token is forgotten too early")
		}
	}
}
