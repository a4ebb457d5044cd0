package events

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Records that many tests use.
const (
	platformIss  = "https://auth.example.com"
	idpIss       = "https://idp.example.net/tenant"
	platformJSON = `{"type":"platform","status":"active","iss":"https://auth.example.com","account":"acc-0123456789ab"}`
	clientJSON   = `{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read billing:write","offline":true}`
	externalJSON = `{"type":"external","status":"active","iss":"https://idp.example.net/tenant","use":["assertion"]}`
)

// start is when the tests begin to write.
var start = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// publicKey is the public half of the n-th test key.
func publicKey(n int) ed25519.PublicKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("events test key "), uint64(n)))
	return ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
}

// keyJSON is a record of the n-th test key; members are appended as they are.
func keyJSON(n int, members ...string) string {
	x := base64.RawURLEncoding.EncodeToString(publicKey(n))
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s"%s}`, x, strings.Join(append([]string{""}, members...), ","))
}

// bucket is a model of a bucket with history: it numbers messages and retains the last 16 of each name.
type bucket struct {
	now     time.Time
	all     []Entry
	expires map[uint64]time.Time // message TTL, by revision
}

func newBucket() *bucket { return &bucket{now: start, expires: map[uint64]time.Time{}} }

func (b *bucket) write(e Entry) Entry {
	e.Revision, e.Time = uint64(len(b.all)+1), b.now
	b.all = append(b.all, e)
	b.now = b.now.Add(time.Second)
	return e
}

func (b *bucket) put(name, value string) Entry {
	return b.write(Entry{Name: name, Value: []byte(value)})
}
func (b *bucket) del(name string) Entry { return b.write(Entry{Name: name, Deleted: true}) }

// putUntil puts a message that the bucket drops at the given time.
func (b *bucket) putUntil(name, value string, until time.Time) Entry {
	e := b.put(name, value)
	b.expires[e.Revision] = until
	return e
}

// retained is what the bucket still has, in the order of revisions.
func (b *bucket) retained() []Entry {
	byName := map[string][]Entry{}
	for _, e := range b.all {
		kept := append(byName[e.Name], e)
		byName[e.Name] = kept[max(0, len(kept)-History):]
	}
	all := slices.Concat(slices.Collect(maps.Values(byName))...)
	all = slices.DeleteFunc(all, func(e Entry) bool {
		until, ok := b.expires[e.Revision]
		return ok && !until.After(b.now)
	})
	slices.SortFunc(all, func(x, y Entry) int { return int(x.Revision) - int(y.Revision) })
	return all
}

// fold applies messages to a fresh set.
func fold(entries []Entry) *Set {
	s := NewSet(nil)
	for _, e := range entries {
		s.Apply(e)
	}
	return s
}

// recorder collects changes.
type recorder struct{ changes []Change }

func (r *recorder) emit(c Change) { r.changes = append(r.changes, c) }

// take returns what was told since the last call, as "event name".
func (r *recorder) take() []string {
	var out []string
	for _, c := range r.changes {
		out = append(out, string(c.Event)+" "+c.Name)
	}
	r.changes = nil
	return out
}

// goldenFiles reads testdata/golden/<prefix>*.json. It fails when there is none: a fuzz target without seeds finds nothing.
func goldenFiles(tb testing.TB, prefix string) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "golden", prefix+"*.json"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no golden records %s*.json (%v)", prefix, err)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(path), ".json")] = []byte(strings.TrimSuffix(string(data), "\n"))
	}
	return out
}

// checkRefused fails unless err is there and says what was wrong.
func checkRefused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want an error with %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Fatalf("error %q does not say %q", err, want)
	}
}

func unixOf(e *KeyEntry) time.Time { return time.Unix(e.Modified, 0) }
