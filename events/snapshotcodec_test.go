package events

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

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
