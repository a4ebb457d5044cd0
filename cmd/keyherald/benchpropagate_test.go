package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// left is what the records of a server say of the temporary clients of bench propagate. It needs no consumer: there may be too many.
func left(t *testing.T, server *eventstest.NATS) (clients []*events.IssuerEntry, keys []*events.KeyEntry) {
	t.Helper()
	stream, err := server.Admin().Stream(t.Context(), bus.Keys.Stream())
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(bus.Keys.Filter()))
	if err != nil {
		t.Fatal(err)
	}
	operator := server.Connect(bus.Operator)
	var records []events.Entry
	for subject := range info.State.Subjects {
		record, err := operator.Get(t.Context(), bus.Keys, strings.TrimPrefix(subject, bus.Keys.Subject("")))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	slices.SortFunc(records, func(a, b events.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	set := events.NewSet(nil)
	for _, record := range records {
		set.Apply(record)
	}
	for e := range set.Issuers() {
		if !strings.HasPrefix(string(e.Name), "bench-") {
			t.Errorf("the issuer %s does not say what it is for", e.Name)
		}
		clients = append(clients, e)
	}
	return clients, slices.Collect(set.AllKeys())
}

// cleanedUp checks that there is one temporary client, which is disabled, may do nothing and has no key.
func cleanedUp(t *testing.T, server *eventstest.NATS) {
	t.Helper()
	clients, keys := left(t, server)
	if len(clients) != 1 || len(keys) != 0 {
		t.Fatalf("%d clients and %d keys are left", len(clients), len(keys))
	}
	if c := clients[0].Record; c.Status != events.Disabled || c.Offline || !c.Scope.IsEmpty() || len(c.Resource) > 0 {
		t.Errorf("what is left is %+v", c)
	}
}

// announced checks that standard error says what is going to be written, and nothing else.
func announced(t *testing.T, said, server string, changes int) {
	t.Helper()
	want := fmt.Sprintf(`^keyherald: on %s: registering the client bench-[a-z0-9]+, to change its key %d times, and at the end to remove the key and disable the client\n$`,
		regexp.QuoteMeta(server), changes)
	if !regexp.MustCompile(want).MatchString(said) {
		t.Errorf("%q, want %s", said, want)
	}
}

func TestBenchPropagateTakesNoServerFromTheEnvironment(t *testing.T) {
	server := eventstest.Server(t)
	t.Setenv("KEYHERALD_NATS", server.URL())
	t.Setenv("KEYHERALD_NKEY", server.KeyFile(bus.Operator))
	t.Setenv("KEYHERALD_CREDS", "operator.creds")
	propagate := func(args ...string) (code int, out, errs string) {
		var o, e bytes.Buffer
		code = run(t.Context(), append([]string{"bench", "propagate", "--verifiers", "1", "--changes", "2"}, args...), stdio{out: &o, err: &e})
		return code, o.String(), e.String()
	}
	code, out, errs := propagate()
	if own := "its own server, in the same process"; code != 0 || !strings.Contains(out, "on "+own+"\n") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	} else {
		announced(t, errs, own, 2)
	}
	if code, out, errs := propagate("--nats", server.URL()); code != exitFailed || !strings.Contains(errs, "hint: give a credential") || out != "" {
		t.Errorf("with a server and no credential: exit %d\n%s%s", code, out, errs)
	}
	if clients, _ := left(t, server); len(clients) > 0 {
		t.Errorf("%s was written", clients[0].Name)
	}
}

func TestBenchPropagateCountsEveryChangeAtEveryVerifier(t *testing.T) {
	server := eventstest.Server(t)
	var out, errs bytes.Buffer
	args := []string{"bench", "propagate", "--nats", server.URL(), "--nkey", server.KeyFile(bus.Operator), "--verifiers", "3", "--changes", "20", "--interval", "0s", "--json"}
	if code := run(t.Context(), args, stdio{out: &out, err: &errs}); code != 0 {
		t.Fatalf("exit %d\n%s", code, errs.String())
	}
	announced(t, errs.String(), server.URL(), 20)
	var got propagateReport
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Server != server.URL() || got.Verifiers != 3 || got.Changes != 20 || got.Acknowledged.Count != 20 || got.Applied.Count != 60 || got.Everywhere.Count != 20 {
		t.Errorf("%+v", got)
	}
	total := 0
	for _, b := range got.Histogram {
		total += b.Count
	}
	if last := got.Histogram[len(got.Histogram)-1]; total != 60 || last.UpToMS < got.Applied.Max {
		t.Errorf("%d times in the histogram, up to %g ms; the longest took %g ms", total, last.UpToMS, got.Applied.Max)
	}
	for _, l := range []latencyReport{got.Acknowledged, got.Applied, got.Everywhere} {
		if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
			t.Errorf("times that cannot be: %+v", l)
		}
	}
	if got.Everywhere.Max != got.Applied.Max || got.Everywhere.P50 < got.Applied.P50 {
		t.Errorf("the last verifier is not the slowest: %+v, %+v", got.Everywhere, got.Applied)
	}
	cleanedUp(t, server)
}

// TestBenchPropagateCleansUpWhenItIsInterrupted once it has begun to change the key.
func TestBenchPropagateCleansUpWhenItIsInterrupted(t *testing.T) {
	server := eventstest.Server(t)
	set := server.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer set.Close()
	changes := set.Subscribe(1000)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	go func() {
		n := 0
		for change := range changes.C() {
			if n++; strings.HasPrefix(change.Name, "key.bench-") && n > 5 {
				interrupt()
			}
		}
	}()
	var out, errs bytes.Buffer
	args := []string{"bench", "propagate", "--nats", server.URL(), "--nkey", server.KeyFile(bus.Operator), "--verifiers", "2", "--changes", "10000"}
	code := run(ctx, args, stdio{out: &out, err: &errs})
	said, interrupted := strings.CutSuffix(errs.String(), "keyherald: interrupted\n")
	if code != exitFailed || !interrupted || out.Len() > 0 {
		t.Errorf("exit %d\n%s%s", code, out.String(), errs.String())
	}
	announced(t, said, server.URL(), 10000)
	cleanedUp(t, server)
}

func TestBenchPropagateSaysWhyItCannot(t *testing.T) {
	nats := eventstest.Server(t)
	full := eventstest.Server(t)
	few := bus.StreamConfig(bus.Keys, 1)
	few.MaxConsumers = 3
	js := full.Admin()
	if err := js.DeleteStream(t.Context(), few.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), few); err != nil {
		t.Fatal(err)
	}
	empty := startForeign(t, "")
	crowded := startForeign(t, "", func(o *server.Options) { o.MaxConn = 3 })
	if code := run(t.Context(), []string{"init", "--nats", crowded.url}, stdio{out: io.Discard, err: io.Discard}); code != 0 {
		t.Fatalf("init: exit %d", code)
	}
	for _, test := range []struct {
		name string
		args []string
		want []string
	}{
		{"the credential may not write", []string{"--nats", nats.URL(), "--nkey", nats.KeyFile(bus.Verifier)}, []string{"registering the client bench-", "credential does not allow it", "hint: use the operator's credential"}},
		{"there is no credential", []string{"--nats", nats.URL()}, []string{"refused the credential", "hint: give a credential"}},
		{"there is no server", []string{"--nats", "nats://" + eventstest.FreeAddress(t), "--timeout", "100ms"}, []string{"NATS cannot be reached", "hint: start keyherald serve, or give"}},
		{"there are no buckets", []string{"--nats", empty.url}, []string{"the bucket does not exist: keyherald init makes"}},
		{"the server allows no more consumers", []string{"--nats", full.URL(), "--nkey", full.KeyFile(bus.Operator), "--verifiers", "20"}, []string{": watching ", "allows no more consumers", "hint: use fewer verifiers"}},
		{"the server allows no more connections", []string{"--nats", crowded.url, "--verifiers", "20"}, []string{"keyherald: verifier ", "hint: the server was there for those before: use fewer verifiers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(t.Context(), append([]string{"bench", "propagate"}, test.args...), stdio{out: &out, err: &errs})
			if code != exitFailed || out.Len() > 0 {
				t.Errorf("exit %d\n%s", code, out.String())
			}
			for _, want := range test.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("%q is not in\n%s", want, errs.String())
				}
			}
		})
	}
	cleanedUp(t, full)
	if clients, _ := left(t, nats); len(clients) > 0 {
		t.Errorf("without the right to write, %s was written", clients[0].Name)
	}
}
