package bus_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// ear collects what is reported.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) hear(issuer events.Name, kid events.KeyID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, fmt.Sprintf("%s %s", issuer, kid))
}

func (e *ear) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.heard...)
}

// listen makes an operator listen, who is heard by all that is published after it returns.
func listen(t *testing.T, s *eventstest.NATS) *ear {
	t.Helper()
	e := new(ear)
	conn := s.Connect(bus.Operator)
	stop, err := conn.OnUnknownKey(e.hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := conn.JetStream().Conn().FlushTimeout(eventstest.Patience); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAnyRoleReportsAnUnknownKeyAndOperatorsHearIt(t *testing.T) {
	t.Parallel()
	s := eventstest.Server(t)
	e := listen(t, s)
	long := events.KeyID(strings.Repeat("ü", events.MaxForeignKeyID/2))
	for _, role := range bus.Roles() {
		conn := s.Connect(role)
		for _, kid := range []events.KeyID{events.KeyID(role), "https://login/#1", long, ""} {
			if err := conn.ReportUnknownKey("login", kid); err != nil {
				t.Errorf("%s: %v", role, err)
			}
		}
	}
	eventstest.Eventually(t, "all are heard", func() bool { return len(e.all()) == 4*len(bus.Roles()) })
	if got := strings.Join(e.all(), "\n"); !strings.Contains(got, "login "+string(long)) || !strings.Contains(got, "login verifier") {
		t.Errorf("heard %s", got)
	}
}

func TestAReportThatCannotBeOneIsNeitherSentNorHeard(t *testing.T) {
	t.Parallel()
	s := eventstest.Server(t)
	e := listen(t, s)
	conn := s.Connect(bus.Verifier)
	for _, r := range []struct {
		issuer events.Name
		kid    events.KeyID
	}{
		{"", "k"}, {"a.b", "k"}, {"*", "k"}, {">", "k"}, {"a b", "k"},
		{"login", events.KeyID(strings.Repeat("ü", 129))}, {"login", "a\nb"}, {"login", "\xff"},
	} {
		if err := conn.ReportUnknownKey(r.issuer, r.kid); err == nil {
			t.Errorf("%q %q was sent", r.issuer, r.kid)
		}
		plain := s.Connect(bus.Operator).JetStream().Conn() // as anybody else may
		if err := plain.Publish("keyherald.unknown-key.login", []byte(r.kid)); r.issuer == "login" && err != nil {
			t.Fatal(err)
		}
		if err := plain.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.ReportUnknownKey("login", "last"); err != nil {
		t.Fatal(err)
	}
	eventstest.Eventually(t, "the last is heard", func() bool { return strings.Contains(strings.Join(e.all(), "\n"), "login last") })
	for _, r := range e.all() {
		if r != "login last" && r != "login k" {
			t.Errorf("heard %q", r)
		}
	}
}

// However many tokens with made-up kids a verifier gets, it sends about one report a second for an issuer.
func TestAStormOfUnknownKidsIsOneReportASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(ear)
		report, stop := bus.NewReporter(func(issuer events.Name, kid events.KeyID) error {
			e.hear(issuer, kid)
			return bus.ErrUnreachable // which changes nothing
		})
		defer stop()
		for i := range 60_000 {
			report("login", events.KeyID(fmt.Sprintf("k%d", i)))
			time.Sleep(time.Millisecond)
		}
		if n := len(e.all()); n < 45 || n > 61 {
			t.Errorf("%d reports in a minute", n)
		}
		time.Sleep(time.Minute)
		before := len(e.all())
		report("login", "late")
		time.Sleep(250 * time.Millisecond)
		if all := e.all(); len(all) != before+1 || all[before] != "login late" {
			t.Errorf("heard %q", all[before:])
		}
	})
}

func TestAStormAtOneIssuerLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(ear)
		report, stop := bus.NewReporter(func(issuer events.Name, kid events.KeyID) error { e.hear(issuer, kid); return nil })
		defer stop()
		for range 1000 {
			report("login", "k")
		}
		for i := range 15 {
			report(events.Name(fmt.Sprintf("other%d", i)), "k")
		}
		time.Sleep(time.Second)
		if all := e.all(); len(all) != 16 {
			t.Errorf("heard %q", all)
		}
	})
}

func TestHandingInAReportTakesNoMemoryWhileOneWaits(t *testing.T) {
	s := eventstest.Server(t)
	set := s.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer set.Close()
	set.ReportUnknownKey("login", "k")
	if n := testing.AllocsPerRun(1000, func() { set.ReportUnknownKey("login", "another") }); n > 0.1 { // the slot may be emptied meanwhile
		t.Errorf("%.2f allocations", n)
	}
}

func TestAReportWithoutAServerIsForgotten(t *testing.T) {
	t.Parallel()
	s := eventstest.Server(t)
	conn := s.Connect(bus.Verifier)
	set := conn.FollowKeys(zerolog.Nop())
	conn.Close()
	set.ReportUnknownKey("login", "k")
	set.Close()
	set.ReportUnknownKey("login", "after the end")
	set.Close()
	if _, err := conn.OnUnknownKey(func(events.Name, events.KeyID) {}); err == nil {
		t.Error("listens on a closed connection")
	}
}
