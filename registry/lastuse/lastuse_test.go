package lastuse_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/registry/lastuse"
)

// start runs a recorder as a node of the token service does.
func start(t *testing.T, store lastuse.Store) *lastuse.Recorder {
	t.Helper()
	r, err := lastuse.New(lastuse.Config{Store: store, Caller: "issuer"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return r
}

func TestNodesTogetherNoteACredentialOnceAnHour(t *testing.T) {
	server := eventstest.Server(t)
	operator := server.Connect(bus.Operator)
	nodes := make([]*lastuse.Recorder, 3)
	for i := range nodes {
		nodes[i] = start(t, server.Connect(bus.Issuer))
	}
	const sub = "repo:acme/orders:ref:refs/heads/main"
	for range 50 {
		for _, n := range nodes {
			n.Note(events.UsedSecret, "orders", "s1")
			n.Note(events.UsedKey, "orders", sub)
		}
	}
	last := func(kind events.UsageKind, id string) time.Time {
		at, err := lastuse.Of(t.Context(), operator, kind, "orders", id)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	eventstest.Eventually(t, "both credentials are noted", func() bool {
		return time.Since(last(events.UsedSecret, "s1")) < time.Minute && time.Since(last(events.UsedKey, sub)) < time.Minute
	})
	if at := last(events.UsedKey, "s1"); !at.IsZero() {
		t.Errorf("a credential of another kind was used at %v", at)
	}
	for _, n := range nodes { // behind whatever waits
		n.Note(events.UsedKey, "orders", "last")
	}
	eventstest.Eventually(t, "all notes are written", func() bool { return !last(events.UsedKey, "last").IsZero() })
	e, err := operator.Get(t.Context(), bus.Usage, events.UsageRecord(events.UsedSecret, "orders", "s1"))
	if err != nil || e.Caller != "issuer" {
		t.Errorf("written by %q (%v)", e.Caller, err)
	}
	stream, err := server.Admin().Stream(t.Context(), bus.Usage.Stream())
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo().State; info.LastSeq != 3 {
		t.Errorf("%d writes for three credentials", info.LastSeq)
	}
}

func TestAnOldNoteIsReplacedAndWhatElseItSaysIsKept(t *testing.T) {
	server := eventstest.Server(t)
	name := events.UsageRecord(events.UsedSecret, "orders", "s1")
	for _, old := range []string{`{"at":1700000000,"newer":true}`, `not json`, `{"at":9000000000000}`} {
		server.Write(bus.Usage, name, old)
		start(t, server.Connect(bus.Issuer)).Note(events.UsedSecret, "orders", "s1")
		operator := server.Connect(bus.Operator)
		eventstest.Eventually(t, "the note is replaced", func() bool {
			at, err := lastuse.Of(t.Context(), operator, events.UsedSecret, "orders", "s1")
			return err == nil && time.Since(at).Abs() < time.Minute
		})
		e, err := operator.Get(t.Context(), bus.Usage, name)
		if err != nil || strings.Contains(old, "newer") != strings.Contains(string(e.Value), `"newer":true`) {
			t.Errorf("%s has become %s (%v)", old, e.Value, err)
		}
	}
}

// stuck is a bucket that answers nothing.
type stuck struct{ asked atomic.Int64 }

func (s *stuck) Update(ctx context.Context, _ bus.Bucket, _, _ string, _ func(events.Entry) (bus.Decision, error)) (uint64, error) {
	s.asked.Add(1)
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestABucketThatDoesNotAnswerHoldsNobodyUp(t *testing.T) {
	bucket := new(stuck)
	r := start(t, bucket)
	for i := range 100_000 { // more than may wait
		r.Note(events.UsedSecret, "orders", strings.Repeat("x", i%3000+1))
	}
	if n := bucket.asked.Load(); n > 1 {
		t.Errorf("%d writes at the same time", n)
	}
}
