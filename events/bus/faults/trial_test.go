//go:build linux

package faults_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/issuer/mint"
)

const (
	platform = "https://auth.example.com"
	audience = "https://billing"
)

var oneSeed = flag.Uint64("seed", 0, "the one seed that each test runs, as a failure has printed it")

// TestMain lets several clusters run at a time: they wait more than they compute.
func TestMain(m *testing.M) {
	flag.Parse()
	const atATime = 6
	if n, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String()); err == nil && n < atATime {
		if err := flag.Set("test.parallel", strconv.Itoa(atATime)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// trial is some time in the life of a cluster, with writers and verifiers at each node, in which something happens. A seed fixes what, and
// when; not what the servers, and the machine, make of it.
type trial struct {
	*eventstest.Cluster
	t      *testing.T
	seed   uint64
	random *mathrand.Rand // of what happens
	full   bool           // things last as long as the table of faults says, not as long as it takes to see something

	client   events.Name
	operator *bus.Conn
	history  *history
	revoked  moment
	watchers []*watcher
	clients  []*eventstest.Proxy // between each node and the verifier there
}

// forSeeds tries something with each of the seeds, or with the one that the command line says.
func forSeeds(t *testing.T, c *eventstest.Cluster, seeds int, happen func(*trial)) {
	t.Helper()
	first := uint64(1)
	if raceEnabled { // what differs from seed to seed happens in other processes
		seeds = 1
	}
	if *oneSeed != 0 {
		first, seeds = *oneSeed, 1
	}
	for seed := first; seed < first+uint64(seeds) && !t.Failed(); seed++ {
		try(t, c, seed, false, happen)
	}
}

// try lets something happen, and checks everything.
func try(t *testing.T, c *eventstest.Cluster, seed uint64, full bool, happen func(*trial)) {
	t.Helper()
	tr := begin(t, c, seed, full)

	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for i, n := range tr.Nodes {
		conn := tr.ConnectAt(t, n.URL(), bus.Operator)
		busy.Go(func() { tr.history.run(ctx, i, conn, seed) })
	}
	looking, blind := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	for _, w := range tr.watchers {
		watching.Go(func() { w.run(looking) })
	}
	tr.progress()
	revokeAfter := time.Duration(tr.random.Int64N(int64(5 * time.Second)))
	busy.Go(func() { tr.revoke(revokeAfter) })
	happen(tr)
	tr.Mend()
	tr.WaitReady()
	tr.progress()
	stop()
	busy.Wait()
	now := time.Now()
	for _, w := range tr.watchers {
		eventstest.Eventually(t, w.name+" is up to date", func() bool { return w.set.Confirmed().After(now) })
	}
	blind()
	watching.Wait()
	for _, w := range tr.watchers {
		w.look()
	}
	tr.check()
}

// begin waits until the servers are ready, registers a client, and waits until all verifiers know its key.
func begin(t *testing.T, c *eventstest.Cluster, seed uint64, full bool) *trial {
	t.Helper()
	tr := &trial{Cluster: c.For(t), t: t, seed: seed, full: full, random: mathrand.New(mathrand.NewPCG(seed, 0))}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat it with: go test ./events/bus/faults -run '^%s$' -count 5 -seed %d", t.Name(), seed)
		}
	})
	tr.WaitReady()
	tr.client = events.Name(fmt.Sprintf("c%d-%s", tr.seed, strings.ToLower(rand.Text()[:6])))
	tr.operator = tr.ConnectAt(t, tr.URL(), bus.Operator)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	record, err := (&events.Key{Algorithm: events.EdDSA, Public: public}).Encode("token")
	if err != nil {
		t.Fatal(err)
	}
	put := func(name events.RecordName, value string) {
		t.Helper()
		eventstest.Eventually(t, name.String()+" is written", func() bool { return tr.write(name, value) == nil })
	}
	put(events.IssuerRecord(events.Platform), fmt.Sprintf(`{"type":"platform","status":"active","iss":%q}`, platform))
	put(events.IssuerRecord(tr.client), fmt.Sprintf(`{"type":"client","status":"active","aud":[%q],"offline":true}`, audience))
	put(events.KeyRecord(tr.client, "token"), string(record))
	minter, err := mint.New(mint.Config{Issuer: platform, Client: tr.client, KeyID: "token", Key: private})
	if err != nil {
		t.Fatal(err)
	}
	token, err := minter.Token(mint.Request{Audience: []string{audience}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	tr.history = newHistory(tr.client)
	watch := func(name, url string) {
		t.Helper()
		tr.watchers = append(tr.watchers, newWatcher(t, name, tr.ConnectAt(t, url, bus.Verifier), tr.history, token, &tr.revoked))
	}
	for i, n := range tr.Nodes {
		tr.clients = append(tr.clients, eventstest.NewProxy(t, n.URL()))
		watch("the verifier at "+n.Name, tr.clients[i].URL())
	}
	watch("the verifier", tr.URL())
	for _, w := range tr.watchers {
		eventstest.Eventually(t, w.name+" accepts the token", func() bool {
			_, err := w.verifier.Verify(token)
			return err == nil
		})
	}
	return tr
}

// write writes a record that is not there yet.
func (tr *trial) write(name events.RecordName, value string) error {
	ctx, cancel := context.WithTimeout(tr.t.Context(), 3*time.Second)
	defer cancel()
	_, err := tr.operator.Update(ctx, bus.Keys, name.String(), "", func(last events.Entry) (bus.Decision, error) {
		if last.Revision > 0 {
			return bus.Decision{}, nil
		}
		return bus.Decision{Value: []byte(value)}, nil
	})
	return err
}

// progress waits until some more writes are acknowledged.
func (tr *trial) progress() {
	tr.t.Helper()
	before := len(tr.history.acknowledged(0))
	eventstest.Eventually(tr.t, "more is written", func() bool { return len(tr.history.acknowledged(before)) >= 10 })
}

// revoke revokes the key of the token, after some time, and does not give up.
func (tr *trial) revoke(after time.Duration) {
	time.Sleep(after) // somewhere in what happens
	for deadline := time.Now().Add(2 * eventstest.Patience); ; {
		err := tr.write(events.RevokedRecord(tr.client, "token"), `{"reason":"leaked"}`)
		if err == nil {
			tr.revoked.set()
			return
		}
		if time.Now().After(deadline) {
			tr.t.Errorf("the key could not be revoked: %v", err)
			return
		}
	}
}

// during waits while something lasts.
func (tr *trial) during(d time.Duration) {
	select {
	case <-time.After(d):
	case <-tr.t.Context().Done():
	}
}

// between is a duration that the seed chooses.
func (tr *trial) between(least, most time.Duration) time.Duration {
	return least + time.Duration(tr.random.Int64N(int64(most-least)))
}

// lasting is how long something lasts: as long as it takes to see what comes of it, or, in a long run, up to as long as the table of faults says.
func (tr *trial) lasting(least, most time.Duration) time.Duration {
	if !tr.full {
		return least
	}
	return tr.between(least, most)
}

// choose chooses one of n variants: in a short run, each in its turn.
func (tr *trial) choose(n int) int {
	if tr.full {
		return tr.random.IntN(n)
	}
	return int(tr.seed % uint64(n))
}

func (tr *trial) check() {
	t := tr.t
	t.Helper()
	var logs [][]events.Entry
	for _, log := range tr.Replicas(bus.Keys) {
		logs = append(logs, slices.DeleteFunc(log, func(e events.Entry) bool {
			name, err := events.ParseRecordName(e.Name)
			return err != nil || name.Issuer != tr.client
		}))
	}
	for i, log := range logs {
		if have, want := describe(log), describe(logs[0]); have != want {
			t.Errorf("node %d has\n%s\nand node 0\n%s", i, have, want)
		}
		for _, wrong := range tr.history.check(log) {
			t.Errorf("node %d: %s", i, wrong)
		}
	}
	var counts [4]int
	for _, w := range tr.history.writes {
		counts[w.outcome]++
	}
	var silent time.Duration
	for _, w := range tr.watchers {
		w.check(logs[0])
		silent = max(silent, w.silent)
	}
	t.Logf("seed %d: %d writes acknowledged, %d conflicts, %d unsent, %d never heard of; longest stale without saying so: %v",
		tr.seed, counts[written], counts[conflict], counts[unsent], counts[unknown], silent)
	for longest := longestSilent.Load(); int64(silent) > longest && !longestSilent.CompareAndSwap(longest, int64(silent)); {
		longest = longestSilent.Load()
	}
}

// longestSilent is for how long a verifier of any trial was stale without saying so, in nanoseconds.
var longestSilent atomic.Int64

func describe(log []events.Entry) string {
	var b strings.Builder
	for _, e := range log {
		fmt.Fprintf(&b, "%d %s %s %s\n", e.Revision, e.Name, e.Time, e.Value)
	}
	return b.String()
}
