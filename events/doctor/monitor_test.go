package doctor_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
)

func TestN_DoctorSurvivesAnyMonitoringURL(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"more than can be":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"server_id":"`); pour(w, "a") }, "more than 1024 KiB"},
		"spaces for ever":   {func(w http.ResponseWriter, _ *http.Request) { pour(w, " ") }, "more than 1024 KiB"},
		"nesting for ever":  {func(w http.ResponseWriter, _ *http.Request) { pour(w, "[") }, "something else"},
		"other JSON":        {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) }, "does not say which server"},
		"JSON of a list":    {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[1,2]`) }, "something else"},
		"members are wrong": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"server_id":7,"jetstream":[]}`) }, "something else"},
		"no JSON":           {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>secret</html>") }, "something else"},
		"half of it":        {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"server_id":"A`) }, "something else"},
		"nothing":           {func(http.ResponseWriter, *http.Request) {}, "something else"},
		"not found":         {http.NotFound, "status 404"},
		"to somewhere else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "status 302"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
		"silence after a while": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"server_id":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "not answer in time"},
		"no JetStream": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"server_id":"A","server_name":"\u001b[31mn9","version":"2.15.2","now":"2026-01-01T00:00:00Z"}`)
		}, "no JetStream"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(test.answer)
			defer s.Close()
			r := w.examine(func(c *doctor.Config) {
				c.Monitors, c.Roles = []string{strings.Replace(s.URL, "http://", "http://user:password@", 1)}, nil
			})
			mustSay(t, r, doctor.Fail, "monitor", s.URL, test.want)
			mustSay(t, r, doctor.Warn, "sync", "n0 is unknown")
			for _, line := range bad(r) {
				if strings.Contains(line, "password") || strings.Contains(line, "secret") {
					t.Error(line)
				}
			}
		})
	}
	for _, address := range []string{"", "host:8222", "ftp://127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:1", "file:///etc/passwd", "\x00"} {
		r := w.examine(func(c *doctor.Config) { c.Monitors, c.Roles = []string{address}, nil })
		mustSay(t, r, doctor.Fail, "monitor", "cannot be used")
	}
}

// pour writes the same for as long as somebody reads.
func pour(w io.Writer, s string) {
	for text := []byte(strings.Repeat(s, 1<<12)); ; {
		if _, err := w.Write(text); err != nil {
			return
		}
	}
}

// putForward is a monitoring URL whose server's clock is five minutes ahead.
func putForward(t *testing.T, address string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forward(t, w, r, address, func(members map[string]json.RawMessage) {
			members["now"], _ = json.Marshal(time.Now().Add(5 * time.Minute))
		})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// forward answers what a monitoring URL does, changed.
func forward(t *testing.T, w http.ResponseWriter, r *http.Request, address string, changes ...func(map[string]json.RawMessage)) {
	answer, err := http.Get(address + r.URL.RequestURI())
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	var members map[string]json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&members); err != nil {
		t.Error(err)
	}
	for _, change := range changes {
		change(members)
	}
	_ = json.NewEncoder(w).Encode(members)
}

// TestN_DoctorTellsWhatAServerSaysOfItsHealth: that the server is not well is said with the status 503, and may pass.
func TestN_DoctorTellsWhatAServerSaysOfItsHealth(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	for name, test := range map[string]struct {
		answers []string // the last again and again
		level   doctor.Level
		want    string
	}{
		"it cannot write":             {[]string{`{"status":"unavailable","error":"JetStream stream 'A > KV_KEYS' write error: no space left on device"}`}, doctor.Fail, "make room on its disk"},
		"it has no words for it":      {[]string{`{"status":"error"}`}, doctor.Fail, "n0: error"},
		"it was not well for a while": {[]string{`{"status":"unavailable","error":"not current"}`, `{"status":"ok"}`}, doctor.OK, "n0 is well"},
		"something else answers":      {[]string{`{}`}, doctor.Warn, "that of n0 is unknown"},
		"no JSON":                     {[]string{`<html>`}, doctor.Warn, "that of n0 is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			real := w.cfg.Monitors[0]
			var asked atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/healthz" {
					forward(t, out, r, real)
					return
				}
				out.WriteHeader(http.StatusServiceUnavailable)
				n := min(int(asked.Add(1)), len(test.answers)) - 1
				io.WriteString(out, test.answers[n])
			}))
			defer s.Close()
			r := w.examine(func(c *doctor.Config) { c.Monitors, c.Roles = []string{s.URL}, nil })
			mustSay(t, r, test.level, "health", test.want)
		})
	}
}

// oddOneOut has n1 not sync, and n2 let everybody in.
func oddOneOut(i int, o *server.Options) {
	switch i {
	case 1:
		o.SyncAlways = false
	case 2:
		noAuthUser(o, "KEYHERALD")
	}
}

func TestN_DoctorFindsConsumersThatBelongToNobody(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	w.cfg.Monitors[0] = putForward(t, w.cfg.Monitors[0]) // or they were too young
	set := w.follow()
	defer set.Close()
	mustSay(t, w.examine(), doctor.OK, "owners", "no consumer")
	if _, err := w.js.CreatePushConsumer(t.Context(), bus.Keys.Stream(), jetstream.ConsumerConfig{Name: "left", DeliverSubject: "nowhere", InactiveThreshold: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.js.CreateConsumer(t.Context(), bus.Clients.Stream(), jetstream.ConsumerConfig{Durable: "mine"}); err != nil {
		t.Fatal(err)
	}
	r := w.examine()
	mustSay(t, r, doctor.Warn, "owners", "2 consumers", "KEYS.left", "CLIENTS.mine")
	mustSay(t, r, doctor.OK, "consumers", "CLIENTS has 1 of 100000")
}

func TestN_DoctorTellsAServerThatIsTooOldAndTriesNothingOnIt(t *testing.T) {
	t.Parallel()
	w := start(t, setup{})
	old := asVersion(t, w.servers[0].Addr().String(), server.VERSION, "2.10.9")
	r := w.examine(func(c *doctor.Config) { c.NATS.URL = "nats://" + old })
	mustSay(t, r, doctor.Fail, "version", "n0", `version "2.10.9", and 2.15 is needed`, "upgrade")
	mustSay(t, r, doctor.Warn, "roles", "nothing was tried")
}

// asVersion is the address of a server that says it is of another version, which has as many characters.
func asVersion(t *testing.T, address, is, says string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relay(client, address, []byte(is), []byte(says))
		}
	}()
	return l.Addr().String()
}

// relay ends when one side does.
func relay(client net.Conn, address string, is, says []byte) {
	defer client.Close()
	upstream, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer upstream.Close()
	go func() {
		defer upstream.Close()
		_, _ = io.Copy(upstream, client)
	}()
	for part := make([]byte, 64<<10); ; {
		n, err := upstream.Read(part)
		if _, writeErr := client.Write(bytes.ReplaceAll(part[:n], is, says)); err != nil || writeErr != nil {
			return
		}
	}
}
