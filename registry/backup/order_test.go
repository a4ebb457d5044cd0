package backup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/backup"
)

// target is a server, and something that happens at each write.
type target struct {
	*bus.Conn
	mu sync.Mutex // at is called once at a time
	// at is called for the n-th write, from 0 on. It says whether that takes place, and how it comes out.
	at func(n int, p bus.Put) (apply bool, err error)
	n  int
}

func (t *target) Put(ctx context.Context, p bus.Put) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	apply, err := t.at(t.n, p)
	t.n++
	if !apply {
		return 0, err
	}
	revision, failed := t.Conn.Put(ctx, p)
	return revision, errors.Join(failed, err)
}

// accepted is the keys that a verifier accepts, and within which bounds.
func accepted(t *testing.T, records map[string]string) map[string]string {
	t.Helper()
	set := events.NewSet(nil)
	revision := uint64(0)
	for name, value := range records {
		revision++
		set.Apply(events.Entry{Name: name, Value: []byte(value), Deleted: value == "deleted", Revision: revision})
	}
	keys := map[string]string{}
	for k := range set.AllKeys() {
		issuer := set.Issuer(k.Issuer)
		if k.Record == nil || !k.State(time.Now()).Usable() || issuer == nil || issuer.Record.Status != events.Active {
			continue
		}
		thumbprint, err := events.Thumbprint(k.Record.Public)
		if err != nil {
			t.Fatal(err)
		}
		keys[fmt.Sprintf("%s %s %s", k.Issuer, k.KeyID, thumbprint)] = issuer.Record.Scope.String()
	}
	return keys
}

// TestF_NoMomentOfARestoreAcceptsWhatIsAcceptedNeitherBeforeNorAfter restores random states over random states, and looks at the buckets
// after every single write.
func TestF_NoMomentOfARestoreAcceptsWhatIsAcceptedNeitherBeforeNorAfter(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := start(t)
	for round := range 25 {
		w.scramble(random, round)
		file := w.save()
		w.scramble(random, round)
		records := w.last(bus.Keys)
		before := accepted(t, records)
		moments := []map[string]string{}
		recorder := &target{Conn: w.conn, at: func(_ int, p bus.Put) (bool, error) {
			if p.Bucket == bus.Keys {
				if records[p.Name] = string(p.Value); p.Delete {
					records[p.Name] = "deleted"
				}
				moments = append(moments, accepted(t, records))
			}
			return true, nil
		}}
		undo := round%3 == 0
		if _, err := restoreTo(t.Context(), recorder, open(t, file), backup.Options{Undo: undo}); err != nil {
			t.Fatal(err)
		}
		after, bounds := accepted(t, w.last(bus.Keys)), map[string]string{}
		for key, scope := range after {
			client, _, _ := strings.Cut(key, " ")
			bounds[client] = scope
		}
		for i, moment := range moments {
			for key, scope := range moment {
				client, _, _ := strings.Cut(key, " ")
				was, isOld := before[key]
				is, isNew := after[key]
				bound, hasBound := bounds[client]
				switch {
				case isOld && was == scope, isNew && is == scope:
				case undo && isOld && hasBound && bound == scope && slices.ContainsFunc(slices.Collect(maps.Keys(after)), sameKid(key)):
					// It is replaced by another key under its kid, and not dead.
				default:
					t.Errorf("round %d: after %d writes of %d, key %s is accepted within %q", round, i+1, len(moments), key, scope)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// scramble writes random records of three clients of a round.
func (w *world) scramble(random *rand.Rand, round int) {
	for c := range 3 {
		client := fmt.Sprintf("r%dc%d", round, c)
		switch random.IntN(5) {
		case 0:
			w.Write(bus.Keys, "issuer."+client, strings.Replace(clientJSON(), "active", "disabled", 1))
		case 1:
			w.Delete(bus.Keys, "issuer."+client)
		case 2, 3:
			w.Write(bus.Keys, "issuer."+client, clientJSON(fmt.Sprintf(`"scope":"s%d s%d"`, random.IntN(3), random.IntN(3))))
		}
		for k := range 3 {
			kid := fmt.Sprintf("%s.k%d", client, k)
			switch random.IntN(8) {
			case 0:
				w.Delete(bus.Keys, "key."+kid)
			case 1:
				w.Write(bus.Keys, "key."+kid, eventstest.KeyJSON(byte(random.IntN(3)), `"revoked":{}`))
			case 2:
				w.Write(bus.Keys, "key."+kid, eventstest.KeyJSON(byte(random.IntN(3)), `"exp":5`))
			case 3, 4, 5:
				w.Write(bus.Keys, "key."+kid, eventstest.KeyJSON(byte(random.IntN(3))))
			case 6:
				if random.IntN(3) == 0 {
					w.Write(bus.Keys, "revoked."+kid, `{}`)
				}
			}
		}
	}
}

// TestF_RestoreThatFailsAnywhereIsDoneByTheNext lets each write in turn be the last one: it takes place or not, and its outcome is not known.
func TestF_RestoreThatFailsAnywhereIsDoneByTheNext(t *testing.T) {
	t.Parallel()
	w := start(t)
	state := func(since bool) {
		if !since {
			w.Write(bus.Keys, "issuer.orders", clientJSON(`"scope":"read"`))
			w.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1, `"exp":4000000000`))
			w.Write(bus.Clients, "orders", secretJSON("a", "b"))
			w.Write(bus.Keys, "issuer.billing", clientJSON())
			w.Delete(bus.Keys, "issuer.new")
			w.Delete(bus.Keys, "key.new.k1")
			return
		}
		w.Write(bus.Keys, "issuer.orders", strings.Replace(clientJSON(`"scope":"read write"`), "active", "disabled", 1))
		w.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
		w.Write(bus.Clients, "orders", secretJSON("b"))
		w.Delete(bus.Keys, "issuer.billing")
		w.Write(bus.Keys, "issuer.new", clientJSON())
		w.Write(bus.Keys, "key.new.k1", eventstest.KeyJSON(3))
	}
	state(false)
	file := w.save()
	state(true)
	writes := w.restore(file, backup.Options{}).Writes()
	want := map[bus.Bucket]map[string]string{bus.Keys: w.last(bus.Keys), bus.Clients: w.last(bus.Clients)}
	if writes != 5 {
		t.Fatalf("%d writes: the test would test something else", writes)
	}
	broken := errors.New("broken")
	for stop := range writes {
		for _, applied := range []bool{false, true} {
			state(false)
			state(true)
			fails := &target{Conn: w.conn, at: func(n int, _ bus.Put) (bool, error) {
				if n >= stop {
					return applied && n == stop, broken
				}
				return true, nil
			}}
			if _, err := restoreTo(t.Context(), fails, open(t, file), backup.Options{}); !errors.Is(err, broken) {
				t.Fatalf("stopped at write %d: %v", stop, err)
			}
			w.restore(file, backup.Options{})
			for b, records := range want {
				w.has(b, records)
			}
		}
	}
}

// What somebody else writes between the plan and the write is not overwritten, and not passed over in silence.
func TestF_RestoreOverwritesNobody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		record string // written by somebody else, right before the restore writes it, or anything
		value  string
		want   error
	}{
		{"a record that is changed", "issuer.orders", clientJSON(`"scope":"theirs"`), backup.ErrChanged},
		{"a record that is added", "key.orders.k1", eventstest.KeyJSON(9), backup.ErrChanged},
		{"a record that the backup does not have", "issuer.theirs", clientJSON(), backup.ErrChanged},
		{"a key that is revoked twice", "revoked.orders.k0", `{"reason":"theirs"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.Write(bus.Keys, "issuer.orders", clientJSON())
			w.Write(bus.Keys, "key.orders.k1", eventstest.KeyJSON(1))
			w.Write(bus.Keys, "revoked.orders.k0", `{}`)
			file := w.save()
			w = start(t)
			w.Write(bus.Keys, "issuer.orders", clientJSON(`"scope":"old"`))
			theirs := &target{Conn: w.conn, at: func(n int, p bus.Put) (bool, error) {
				if p.Name == tt.record || n == 0 && tt.record == "issuer.theirs" {
					w.Write(bus.Keys, tt.record, tt.value)
				}
				return true, nil
			}}
			if _, err := restoreTo(t.Context(), theirs, open(t, file), backup.Options{}); !errors.Is(err, tt.want) {
				t.Errorf("error %v", err)
			}
			if have := w.last(bus.Keys)[tt.record]; have != tt.value {
				t.Errorf("their value is gone: %s", have)
			}
		})
	}
}

// sameKid finds the keys with the name of another one, whatever key they are.
func sameKid(key string) func(string) bool {
	prefix := key[:strings.LastIndexByte(key, ' ')+1]
	return func(other string) bool { return strings.HasPrefix(other, prefix) }
}
