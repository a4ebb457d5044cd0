package doctor_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
	"github.com/keyherald/keyherald/events/eventstest"
)

func TestN_DoctorLooksAtEveryServerOfACluster(t *testing.T) {
	t.Parallel()
	w := start(t, setup{nodes: 3})
	w.put(bus.Keys, "issuer.orders", `{"type":"client","status":"active"}`)
	before := w.streams()

	r := w.settled("all members are current")
	if r.Failed() || r.Unknown() || len(bad(r)) != 1 || !strings.Contains(bad(r)[0], notStarted) {
		t.Errorf("found\n%s", strings.Join(bad(r), "\n"))
	}
	for _, n := range []string{"n0", "n1", "n2"} {
		mustSay(t, r, doctor.OK, "nodes", n)
		mustSay(t, r, doctor.OK, "sync", n)
		mustSay(t, r, doctor.OK, "clock", n)
		mustSay(t, r, doctor.OK, "anonymous", n)
		mustSay(t, r, doctor.OK, "roles", "verifier", "on "+n)
		mustSay(t, r, doctor.OK, "members", "KEYS", n)
	}
	if after := w.streams(); after != before {
		t.Errorf("looking has changed\n%s\nto\n%s", before, after)
	}

	w.cfg.Roles = w.cfg.Roles[:1]
	one := w.cfg
	one.NATS.URL, _, _ = strings.Cut(w.cfg.NATS.URL, ",")
	if r := doctor.Examine(t.Context(), one); r.Failed() || r.Unknown() {
		t.Errorf("one address for all found\n%s", strings.Join(bad(r), "\n"))
	}

	r = w.examine(func(c *doctor.Config) { c.Monitors = c.Monitors[:2] })
	if r.Failed() || !r.Unknown() {
		t.Errorf("without a monitor found\n%s", strings.Join(bad(r), "\n"))
	}
	mustSay(t, r, doctor.Warn, "sync", "n2 is unknown", "--monitor")
	mustSay(t, w.examine(func(c *doctor.Config) { c.Roles, c.Monitors = nil, nil }), doctor.Warn, "roles", "not tried")
	mustSay(t, w.examine(func(c *doctor.Config) { c.Replicas = 1 }), doctor.Fail, "replicas", "KEYS has 3", "needed: 1")

	w.edit(bus.Usage, 1, func(*jetstream.StreamConfig) {})
	mustSay(t, w.examine(), doctor.Fail, "replicas", "USAGE is kept on 1 of 3 servers", "needed: 3")
	w.edit(bus.Usage, 3, func(*jetstream.StreamConfig) {})

	address := w.servers[2].Addr().String()
	w.servers[2].Shutdown()
	w.servers[2].WaitForShutdown()
	eventstest.Eventually(t, "a server is told to be down", func() bool {
		r = w.examine()
		return strings.Contains(fmt.Sprint(r.Findings), "KEYS: n2 is down")
	})
	mustSay(t, r, doctor.Fail, "members", "KEYS", "n2 is down", "start it")
	mustSay(t, r, doctor.Fail, "nodes", address, "cannot be reached")
	mustSay(t, r, doctor.Fail, "monitor", w.cfg.Monitors[2])
	mustSay(t, r, doctor.Warn, "sync", "n2 is unknown")
}

func TestN_DoctorFindsOneServerOfAClusterThatIsOtherThanTheRest(t *testing.T) {
	t.Parallel()
	w := start(t, setup{nodes: 3, options: oddOneOut, permit: func(r bus.Role, p *server.Permissions) {
		if r == bus.Verifier { // who may do all that is tried, and of which nothing must come
			*p = server.Permissions{}
		}
	}})
	w.put(bus.Keys, "issuer.orders", `{"type":"client","status":"active"}`)
	w.cfg.Monitors[0] = putForward(t, w.cfg.Monitors[0])
	before := w.streams()
	r := w.examine()
	if after := w.streams(); after != before {
		t.Errorf("trying has changed\n%s\nto\n%s", before, after)
	}
	for _, n := range []string{"n0", "n1", "n2"} {
		mustSay(t, r, doctor.Fail, "roles", "verifier", "on "+n, "other things that it must not")
	}
	mustSay(t, r, doctor.Fail, "sync", "n1", "sync_interval is ")
	mustSay(t, r, doctor.OK, "sync", "n2")
	mustSay(t, r, doctor.Fail, "anonymous", "n2", "let in")
	mustSay(t, r, doctor.OK, "anonymous", "n0")
	mustSay(t, r, doctor.Fail, "clock", "n0 and this machine differ", "the first is ahead")
	mustSay(t, r, doctor.Fail, "clock", "n1 and n0 differ", "the first is behind")
	mustSay(t, r, doctor.OK, "clock", "n1 and this machine")
}

// streams is what there is of the buckets: settings, and what is in them.
func (w *world) streams() string {
	w.t.Helper()
	var all strings.Builder
	for _, b := range bus.Buckets() {
		s, err := w.js.Stream(w.t.Context(), b.Stream())
		if err != nil {
			w.t.Fatal(err)
		}
		info := s.CachedInfo()
		info.State.Consumers = 0 // doctor's own linger for some seconds
		text, err := json.Marshal([]any{info.Config, info.State, info.Created})
		if err != nil {
			w.t.Fatal(err)
		}
		all.Write(append(text, '\n'))
	}
	return all.String()
}

// settled examines until nothing is said of the members, and the servers call themselves well.
func (w *world) settled(what string) (r doctor.Report) {
	w.t.Helper()
	eventstest.Eventually(w.t, what, func() bool {
		r = w.examine()
		for _, f := range r.Findings {
			if (f.Check == "members" || f.Check == "health") && f.Level != doctor.OK {
				return false
			}
		}
		return true
	})
	return r
}
