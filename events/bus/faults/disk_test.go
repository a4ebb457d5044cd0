//go:build linux

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_ServeHasADamagedStore damages what serve has on its disk, in one way after the other. If something is lost by that, an operator is
// told: by a start that is refused, by the log of one that is not, or by who reads all records.
func TestF_ServeHasADamagedStore(t *testing.T) {
	t.Parallel()
	c := startServe(t)
	n, operator := c.Nodes[0], c.Connect(bus.Operator)
	const records = 20
	for i := range records {
		name := fmt.Sprintf("key.orders.k%d", i)
		if _, err := operator.Put(t.Context(), bus.Put{Bucket: bus.Keys, Name: name, Value: []byte(eventstest.KeyJSON(1))}); err != nil {
			t.Fatal(err)
		}
	}
	want := c.Replicas(bus.Keys)[0]
	eventstest.Eventually(t, "serve has noted how far it has come", func() bool {
		noted, err := os.ReadFile(filepath.Join(n.Dir(), "nats", "REVISIONS"))
		return err == nil && strings.Contains(string(noted), fmt.Sprintf(`"last":%d`, want[len(want)-1].Revision))
	})
	n.Kill()
	putBack := n.Save(t)
	first, seeds := uint64(1), uint64(6)
	if *oneSeed != 0 {
		first, seeds = *oneSeed, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		random := rand.New(rand.NewPCG(seed, 0))
		how, what := n.FlipBit, "a bit has flipped in "
		if seed%2 == 0 {
			how, what = n.Truncate, "something is cut off "
		}
		what += strings.TrimPrefix(how(t, []string{"*.blk", "meta.*", "*.blk"}[seed%3], random), n.Store())
		n.Log.Reset()
		n.Start()
		lost, told := afterDamage(t, c, want)
		t.Logf("seed %d: %s: %s, %s", seed, what, lost, told)
		if lost != "nothing is lost" && told == "nobody is told" {
			t.Errorf("repeat it with: go test ./events/bus/faults -run '^%s$' -seed %d\n%s", t.Name(), seed, n.Log.String())
		}
		n.Kill()
		putBack()
	}
}

// afterDamage waits for the start, and returns what is lost, and who says so.
func afterDamage(t *testing.T, c *eventstest.Cluster, want []events.Entry) (lost, told string) {
	t.Helper()
	n := c.Nodes[0]
	eventstest.Eventually(t, "serve is there, or has given up", func() bool { // its buckets are there before it gives up on what is in them
		return !n.Running() || c.Ready() && strings.Contains(n.Log.String(), "token service on ")
	})
	if !n.Running() {
		why := n.Log.String()
		if !strings.Contains(why, "keyherald: ") || strings.Contains(why, "panic: ") {
			return "it does not start", "nobody is told"
		}
		return "it does not start", "and says: " + why
	}
	fresh := c.ConnectAt(t, n.URL(), bus.Verifier).FollowKeySet(bus.KeySetConfig{})
	defer fresh.Close()
	ctx, cancel := context.WithTimeout(t.Context(), eventstest.Patience)
	defer cancel()
	if err := fresh.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, n.Log.String())
	}
	missing := 0
	for _, e := range want {
		if name, err := events.ParseRecordName(e.Name); err == nil && name.Kind == events.KindKey && revisionOf(fresh.Keys(), e.Name) != e.Revision {
			missing++
		}
	}
	if missing == 0 {
		return "nothing is lost", "nobody is told"
	}
	lost, told = fmt.Sprintf("%d records are lost", missing), "nobody is told"
	if strings.Contains(n.Log.String(), "the bucket has lost what was written to it") {
		return lost, "the log of the start says so"
	}
	for end := time.Now().Add(eventstest.Patience); time.Now().Before(end) && told == "nobody is told"; sleep(t.Context(), 50*time.Millisecond) {
		if fresh.Status().Keys.Missing > 0 {
			told = "who reads all is told"
		}
	}
	return lost, told
}

// TestF_ServeHasNoRoomOnItsDisk: what is there can be read, also by those who come now; no write is said to have been made, a revocation like
// any other, and the log says why; and when there is room again, a restart puts everything right.
func TestF_ServeHasNoRoomOnItsDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		t.Fatalf("this test needs a small disk, and leave to mount one: %v: run it as root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	c := eventstest.StartServe(t, filepath.Join(dir, "data"), platform)
	tr := begin(t, c, 1, false)
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	written := map[string]bool{}
	var refused error
	for i := 0; refused == nil; i++ {
		name := events.KeyRecord(tr.client, events.KeyID(fmt.Sprint("k", i)))
		if refused = tr.write(name, eventstest.KeyJSON(1)); refused == nil {
			written[name.String()] = true
		}
	}
	if !errors.Is(refused, bus.ErrUnknownOutcome) {
		t.Errorf("a write for which there is no room: %v", refused)
	}
	revocation := events.RevokedRecord(tr.client, "token")
	if tr.write(revocation, "{}") == nil {
		written[revocation.String()] = true
	}
	eventstest.Eventually(t, "the log says why", func() bool {
		if strings.Contains(c.Nodes[0].Log.String(), "no space left on device") {
			return true
		}
		if tr.write(revocation, "{}") == nil { // the first refusal was the machine's, which was slow
			written[revocation.String()] = true
		}
		return false
	})
	tr.converge() // a fresh verifier, too

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	c.Nodes[0].Kill()
	c.WaitReady()
	tr.revoke(0)
	have := map[string]bool{}
	for _, e := range c.Replicas(bus.Keys)[0] {
		have[e.Name] = true
	}
	for name := range written {
		if !have[name] {
			t.Errorf("the write of %s was acknowledged and is not there", name)
		}
	}
	for _, w := range tr.watchers {
		eventstest.Eventually(t, w.name+" knows that the key is revoked", func() bool { return w.state() == events.KeyRevoked.String() })
	}
}

// fill writes a file until nothing more fits on its disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); ; {
		if _, err := f.Write(chunk); err != nil {
			if len(chunk) == 1 {
				return
			}
			chunk = chunk[:1]
		}
	}
}
