package snapshot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/eventstest"
)

// bucket is a key set with its revoked tokens, without a bucket.
type bucket struct {
	keys   *events.Set
	tokens *events.Revocations
}

func newBucket() *bucket {
	b := &bucket{events.NewSet(nil), events.NewRevocations(nil)}
	b.put("issuer.orders", `{"type":"client","status":"active","aud":["https://billing"]}`)
	b.put("key.orders.k1", eventstest.KeyJSON(1))
	b.revokeToken("t1")
	return b
}

func (b *bucket) put(name, value string) {
	b.keys.Apply(events.Entry{Name: name, Value: []byte(value), Revision: b.keys.Revision() + 1, Time: time.Now()})
}

func (b *bucket) delete(name string) {
	b.keys.Apply(events.Entry{Name: name, Deleted: true, Revision: b.keys.Revision() + 1, Time: time.Now()})
}

func (b *bucket) revokeToken(jti string) {
	name := events.TokenByID("https://auth.example.com", jti).String()
	b.tokens.Apply(events.Entry{Name: name, Revision: b.tokens.Revision() + 1, Time: time.Now()}, time.Now())
}

// at is the snapshot of the bucket, confirmed at a time.
func (b *bucket) at(confirmed time.Time) *events.Snapshot {
	return &events.Snapshot{Confirmed: confirmed, Keys: b.keys, Revocations: b.tokens}
}

// newFile returns a path in a directory of its own.
func newFile(t *testing.T) file { return file{filepath.Join(t.TempDir(), "keys")} }

// written writes the snapshot of a new bucket.
func written(t *testing.T, f file, confirmed time.Time) events.Digest {
	t.Helper()
	digest, err := f.write(newBucket().at(confirmed))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// has checks that the file is whole, and when it is said to have been confirmed.
func has(t *testing.T, f file, confirmed time.Time) {
	t.Helper()
	s, _, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	if _, keys := s.Keys.Len(); keys == 0 || s.Confirmed.Unix() != confirmed.Unix() {
		t.Errorf("%d keys, confirmed at %d, want %d", keys, s.Confirmed.Unix(), confirmed.Unix())
	}
}

// files are the names in the file's directory.
func files(t *testing.T, f file) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, e := range entries {
		fmt.Fprintln(&out, e.Name())
	}
	return out.String()
}
