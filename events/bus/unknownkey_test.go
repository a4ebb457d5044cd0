package bus_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
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
	if err := conn.Flush(eventstest.Patience); err != nil {
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

// However many tokens with made-up kids a verifier gets, it sends about one report a second for an issuer; another issuer's report
// still gets through.
func TestAStormOfUnknownKidsIsAFewReports(t *testing.T) {
	t.Parallel()
	s := eventstest.Server(t)
	e := listen(t, s)
	set := s.Connect(bus.Verifier).FollowKeys(zerolog.Nop())
	defer set.Close()
	begun := time.Now()
	for i := range 100_000 {
		set.ReportUnknownKey("login", events.KeyID(fmt.Sprintf("k%d", i)))
		set.ReportUnknownKey("other", "k")
	}
	count := func(issuer string) (n int) {
		for _, r := range e.all() {
			if strings.HasPrefix(r, issuer+" ") {
				n++
			}
		}
		return n
	}
	eventstest.Eventually(t, "both issuers are heard of", func() bool { return count("login") > 0 && count("other") > 0 })
	most := int(time.Since(begun)/time.Second) + 2
	if n := count("login"); n > most {
		t.Errorf("%d reports were sent, want at most %d", n, most)
	}
	first := e.all()[0]
	set.ReportUnknownKey("login", "late")
	eventstest.Eventually(t, "a later one is heard", func() bool { return count("login") > 0 && e.all()[len(e.all())-1] != first })
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
