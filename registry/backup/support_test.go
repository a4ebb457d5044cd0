package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

const platformJSON = `{"type":"platform","status":"active","iss":"https://auth.example.com","account":"acc-0123456789abcdefghij"}`

// clientJSON is the record of an active client, with members added.
func clientJSON(members ...string) string {
	return `{` + strings.Join(append([]string{`"type":"client","status":"active","aud":["https://billing"],"offline":true`}, members...), ",") + `}`
}

// world is a server with the records of a platform.
type world struct {
	*eventstest.NATS
	t    testing.TB
	conn *bus.Conn // operator
}

// empty starts a server with nothing in its buckets.
func empty(t testing.TB) *world {
	t.Helper()
	n := eventstest.Server(t)
	return &world{n, t, n.Connect(bus.Operator)}
}

// start starts a server with a platform on it.
func start(t testing.TB) *world {
	t.Helper()
	w := empty(t)
	w.Write(bus.Keys, "issuer.platform", platformJSON)
	return w
}

// save makes a backup.
func (w *world) save() []byte {
	w.t.Helper()
	var file bytes.Buffer
	if _, err := backup.Save(w.t.Context(), w.conn, &file, "tester", nil); err != nil {
		w.t.Fatal(err)
	}
	return file.Bytes()
}

func open(t testing.TB, file []byte) *backup.Archive {
	t.Helper()
	a, err := backup.Open(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) plan(file []byte, o backup.Options) *backup.Plan {
	w.t.Helper()
	p, err := open(w.t, file).Plan(w.t.Context(), w.conn, o, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// restore does what restore --force does.
func (w *world) restore(file []byte, o backup.Options) *backup.Plan {
	w.t.Helper()
	plan, err := restoreTo(w.t.Context(), w.conn, open(w.t, file), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return plan
}

func restoreTo(ctx context.Context, to backup.Target, a *backup.Archive, o backup.Options) (*backup.Plan, error) {
	plan, err := a.Plan(ctx, to, o, nil)
	if err != nil {
		return nil, err
	}
	return plan, a.Restore(ctx, to, plan, o, "tester (restore)", nil)
}

// last returns the last message on every name of a bucket; a marker is "deleted".
func (w *world) last(b bus.Bucket) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	_, err := w.conn.Read(w.t.Context(), b, func(e events.Entry) error {
		all[e.Name] = string(e.Value)
		if e.Deleted {
			all[e.Name] = "deleted"
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// sequences are the last sequences of all buckets: what a write changes.
func (w *world) sequences() (all []uint64) {
	w.t.Helper()
	for _, b := range bus.Buckets() {
		x, err := w.conn.Extent(w.t.Context(), b)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, x.Last)
	}
	return all
}

// has compares the buckets with what they must have.
func (w *world) has(b bus.Bucket, want map[string]string) {
	w.t.Helper()
	have := w.last(b)
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			w.t.Errorf("%s has %s: %s", b, name, have[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if have[name] != want[name] {
			w.t.Errorf("%s has on %s\n%q and not\n%q", b, name, have[name], want[name])
		}
	}
}

// names are what a list says, one line each.
func names(list []backup.Named) (lines []string) {
	for _, n := range list {
		lines = append(lines, n.Name+": "+n.What)
	}
	return lines
}

func token(n int) events.TokenID { return events.TokenByID("https://auth.example.com", fmt.Sprint(n)) }

// assertion is the name of a used assertion, as the token service makes it.
func assertion(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "orders\n%d", n))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// revocation is the value of a revoked token that ends after d.
func revocation(d time.Duration) string { return fmt.Sprintf(`{"exp":%d}`, time.Now().Add(d).Unix()) }

func secretJSON(ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, fmt.Sprintf(`{"id":"%s","sha256":"%x","iat":1}`, id, sha256.Sum256([]byte(id))))
	}
	return `{"secrets":[` + strings.Join(list, ",") + `]}`
}
