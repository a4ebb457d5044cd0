package events

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
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
	h := newHistory(1)
	for range 3000 {
		h.step()
	}
	live := NewSet(nil)
	var applying sync.WaitGroup
	applying.Go(func() {
		for _, e := range h.all {
			live.Apply(e)
		}
	})
	defer applying.Wait()
	var seen []uint64
	for len(seen) == 0 || seen[len(seen)-1] < uint64(len(h.all)) {
		s := readBack(t, encoded(t, live, nil)).Keys
		if len(seen) > 0 && seen[len(seen)-1] == s.Revision() {
			continue
		}
		seen = append(seen, s.Revision())
		if d := viewOf(t, s, h.now).difference(viewOf(t, fold(h.all[:s.Revision()]), h.now)); d != "" {
			t.Fatalf("the snapshot of revision %d is something else:\n%s", s.Revision(), d)
		}
	}
	if len(seen) < 3 {
		t.Logf("only %d different ones were seen", len(seen))
	}
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

func TestSnapshotSaysWhenAndWhat(t *testing.T) {
	for _, want := range []Snapshot{
		{},
		{Confirmed: time.Unix(1_790_000_000, 0), Issuers: []Name{"a", "b"}},
		{Confirmed: time.Unix(-5, 0)},
	} {
		want.Keys, want.Revocations = NewSet(nil), NewRevocations(nil)
		var out bytes.Buffer
		digest, err := want.Encode(&out)
		if err != nil {
			t.Fatal(err)
		}
		got, end, err := DecodeSnapshot(out.Bytes())
		if err != nil || end != digest || !got.Confirmed.Equal(want.Confirmed) || !slices.Equal(got.Issuers, want.Issuers) {
			t.Errorf("%+v is read as %+v, %v", want, got, err)
		}
	}
	failing := errors.New("no space left")
	if _, err := (&Snapshot{Keys: NewSet(nil), Revocations: NewRevocations(nil)}).Encode(failingWriter{failing}); !errors.Is(err, failing) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// smallSnapshot has something in each of its parts.
func smallSnapshot(t testing.TB) []byte {
	b := newBucket()
	b.put("issuer.platform", platformJSON)
	b.put("issuer.orders", clientJSON)
	b.put("key.orders.k1", keyJSON(1))
	b.put("key.orders.k1", "{")
	b.put("revoked.orders.k2", `{"reason":"leaked"}`)
	r := NewRevocations(nil)
	r.Apply(Entry{Name: TokenByID("i", "j").String(), Revision: 1, Time: start}, start)
	return encoded(t, fold(b.all), r)
}

// The golden file is read by this version and all later ones, unless they say that it is of another version.
func TestSnapshotFormatStaysTheSame(t *testing.T) {
	path := filepath.Join("testdata", "golden", "version1.snapshot")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have := smallSnapshot(t); !bytes.Equal(have, want) {
		t.Errorf("the snapshot is\n%q, want\n%q", have, want)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good := smallSnapshot(t)
	for n := range good {
		if _, _, err := DecodeSnapshot(good[:n]); !errors.Is(err, ErrSnapshotDamaged) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	for n := range good {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			bad := slices.Clone(good)
			bad[n] ^= flip
			if _, _, err := DecodeSnapshot(bad); !errors.Is(err, ErrSnapshotDamaged) && !errors.Is(err, ErrSnapshotVersion) {
				t.Fatalf("byte %d changed by %#x: %v", n, flip, err)
			}
		}
	}
	if _, _, err := DecodeSnapshot(append(slices.Clone(good), 0)); !errors.Is(err, ErrSnapshotDamaged) {
		t.Errorf("a byte too much: %v", err)
	}
	for _, version := range []string{"0", "2", "9"} {
		other := bytes.Replace(good, []byte("snapshot 1"), []byte("snapshot "+version), 1)
		if _, _, err := DecodeSnapshot(seal(other[:len(other)-sha256.Size])); !errors.Is(err, ErrSnapshotVersion) || !strings.Contains(err.Error(), version) {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

// seal appends the right digest to what may be wrong.
func seal(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clone(body), sum[:]...)
}

// The digest is no proof of anything but that nothing was damaged: what it covers is checked all the same.
func TestForgedSnapshotsAreReadAsStrictlyAsRecords(t *testing.T) {
	good := smallSnapshot(t)
	body := good[:len(good)-sha256.Size]
	for n := len(snapshotMagic); n < len(body); n++ {
		if _, _, err := DecodeSnapshot(seal(body[:n])); !errors.Is(err, ErrSnapshotDamaged) {
			t.Errorf("cut off after %d bytes, with the right digest: %v", n, err)
		}
	}
	replace := func(old, new string) []byte {
		if len(old) != len(new) || bytes.Count(body, []byte(old)) == 0 {
			t.Fatalf("%q cannot be replaced by %q", old, new)
		}
		return bytes.ReplaceAll(body, []byte(old), []byte(new))
	}
	x := b64(publicKey(1))
	for what, c := range map[string]struct {
		body []byte
		want string
	}{
		"a key off the curve":           {replace(x, strings.Repeat("A", 42)+"Q"), ""},
		"a symmetric key":               {replace(`"kty":"OKP"`, `"kty":"oct"`), "kty"},
		"a private member":              {replace(`"kty":"OKP","crv"`, `"kty":"OKP","d":1`), ""},
		"a name that is none":           {replace("key.orders.k1", "key.orders:k1"), "name"},
		"two names in the wrong order":  {replace("issuer.platform", "issuer.aaaaaaaa"), "order"},
		"a record of the wrong type":    {replace(`"type":"client"`, `"type":"clienT"`), "type"},
		"something after the end":       {append(slices.Clone(body), 0), "more"},
		"a token's name that is none":   {replace("jti.", "jtj."), "REVOCATIONS"},
		"another type for the platform": {replace("issuer.platform", "issuer.plattorm"), "platform"},
	} {
		if s, _, err := DecodeSnapshot(seal(c.body)); !errors.Is(err, ErrSnapshotDamaged) || !strings.Contains(err.Error(), c.want) || s != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzSnapshot(f *testing.F) {
	good := smallSnapshot(f)
	body := good[:len(good)-sha256.Size]
	f.Add(body)
	for n := len(snapshotMagic); n < len(body); n += 5 {
		f.Add(body[:n])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, _, err := DecodeSnapshot(seal(body)) // the digest is left out, so that the fuzzer need not find it
		if err != nil {
			if s != nil {
				t.Fatal("a snapshot and an error")
			}
			return
		}
		again := readBack(t, encoded(t, s.Keys, s.Revocations))
		if d := viewOf(t, s.Keys, start).difference(viewOf(t, again.Keys, start)); d != "" {
			t.Fatalf("what was read is written as something else:\n%s", d)
		}
		if again.Revocations.Len() != s.Revocations.Len() {
			t.Fatalf("%d tokens of %d", again.Revocations.Len(), s.Revocations.Len())
		}
	})
}

// BenchmarkSnapshot is what it takes to write 100,000 keys, each of another client, and to start from them: per key, and compared to a
// raw verification. The bar is 1 s each for all of them.
func BenchmarkSnapshot(b *testing.B) {
	const keys = 100_000
	s := NewSet(nil)
	apply := func(name, value string) {
		s.Apply(Entry{Name: name, Value: []byte(value), Revision: s.Revision() + 1, Time: start})
	}
	apply("issuer.platform", platformJSON)
	for i := range keys {
		apply("issuer."+clientName(i), clientJSON)
		apply("key."+clientName(i)+".k1", keyJSON(i))
	}
	data := encoded(b, s, nil)
	verify := rawVerify(b)
	for what, f := range map[string]func() error{
		"write": func() error {
			_, err := (&Snapshot{Keys: s, Revocations: NewRevocations(nil)}).Encode(io.Discard)
			return err
		},
		"read": func() error {
			_, _, err := DecodeSnapshot(data)
			return err
		},
	} {
		b.Run(what, func(b *testing.B) {
			var mine, base time.Duration
			for b.Loop() {
				begin := time.Now()
				if err := f(); err != nil {
					b.Fatal(err)
				}
				mine += time.Since(begin)
				begin = time.Now()
				for range keys / 20 {
					verify()
				}
				base += time.Since(begin) * 20
			}
			b.ReportMetric(float64(mine.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(mine)/float64(base), "x-verify/key")
			b.ReportMetric(float64(len(data))/keys, "B/key")
		})
	}
}
