package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyherald/keyherald/events/bus"
)

// exitOf is the exit code of a process that has ended.
func exitOf(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}

// initJSON runs init --json and returns the report and the exit code.
func initJSON(t *testing.T, args ...string) (initReport, int, string) {
	t.Helper()
	out, errs, err := runCLI("", append([]string{"init", "--json"}, args...)...)
	var report initReport
	if jsonErr := json.Unmarshal([]byte(out), &report); jsonErr != nil {
		t.Fatalf("%v: %q\n%s", jsonErr, out, errs)
	}
	return report, exitOf(err), errs
}

func TestN_InitMakesTheBucketsOnceOnAServerOfSomebodyElse(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*foreign{"with the roles": startWithRoles(t), "without credentials": startForeign(t, "")} {
		at := []string{"--nats", f.url}
		if file := f.key(bus.Admin); file != "" {
			at = append(at, "--nkey", file)
		}
		report, code, _ := initJSON(t, append(at, "--check")...)
		if code != exitFailed || len(report.Made) != 0 || len(report.Drift) != 5 || !report.Drift[0].IsMissing() {
			t.Errorf("%s: --check before: exit %d, %+v", name, code, report)
		}
		report, code, errs := initJSON(t, at...)
		if code != 0 || !slices.Equal(report.Made, bus.Buckets()) || len(report.Drift) != 0 || report.Version != server.VERSION {
			t.Errorf("%s: exit %d, %+v\n%s", name, code, report, errs)
		}
		for _, again := range [][]string{nil, {"--check"}, {"--replicas", "1"}} {
			report, code, errs := initJSON(t, append(at, again...)...)
			if code != 0 || len(report.Made) != 0 || len(report.Drift) != 0 {
				t.Errorf("%s: again with %v: exit %d, %+v\n%s", name, again, code, report, errs)
			}
		}
		out, errs, err := runCLI("", append([]string{"init"}, at...)...)
		if err != nil || !strings.Contains(out, "as they must be") || !strings.Contains(errs, "keyherald serve --nats "+f.url) {
			t.Errorf("%s: %v\n%s%s", name, err, out, errs)
		}
		out, errs, err = runCLI("", append([]string{"init", "--check"}, at...)...)
		if err != nil || !strings.Contains(out, "as they must be") || errs != "" {
			t.Errorf("%s: --check tells what to do next though nothing is known of it: %v\n%s%s", name, err, out, errs)
		}
	}
}

func TestN_InitRefusesBucketsThatItDidNotMakeAndTellsDrift(t *testing.T) {
	t.Parallel()
	f := startForeign(t, "")
	conn, err := bus.Connect(t.Context(), bus.Config{URL: f.url})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js := conn.JetStream()
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "CLIENTS"}); err != nil {
		t.Fatal(err)
	}
	out, errs, err := runCLI("", "init", "--nats", f.url)
	if exitOf(err) != exitFailed || !strings.Contains(out, "stream KV_CLIENTS was not made by keyherald\n") || !strings.Contains(errs, "hint: find out who") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	if report, code, _ := initJSON(t, "--nats", f.url, "--check"); code != exitFailed || len(report.Drift) != 5 {
		t.Errorf("after a refusal: exit %d, %+v: nothing must have been made", code, report)
	}
	if err := js.DeleteStream(t.Context(), "KV_CLIENTS"); err != nil {
		t.Fatal(err)
	}
	if _, code, errs := initJSON(t, "--nats", f.url); code != 0 {
		t.Fatal(errs)
	}
	changed := bus.StreamConfig(bus.Keys, 1)
	changed.MaxMsgsPerSubject, changed.MaxBytes = 1, 1<<20
	if _, err := js.UpdateStream(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	for _, check := range [][]string{nil, {"--check"}} {
		report, code, errs := initJSON(t, append(check, "--nats", f.url)...)
		want := []bus.Drift{
			{Stream: "KV_KEYS", Setting: "max_bytes", Have: "1048576", Want: "-1"},
			{Stream: "KV_KEYS", Setting: "max_msgs_per_subject", Have: "1", Want: "16"},
		}
		if code != exitFailed || !slices.Equal(report.Drift, want) || !strings.Contains(errs, "2 settings") {
			t.Errorf("%v: exit %d, %+v\n%s", check, code, report, errs)
		}
	}
	out, _, _ = runCLI("", "init", "--nats", f.url)
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 2 || lines[1] != "stream KV_KEYS has max_msgs_per_subject 1 and must have 16" {
		t.Errorf("printed %q, want one line for each setting", out)
	}
}

func TestN_InitSaysWhatIsWrongWithTheServer(t *testing.T) {
	t.Parallel()
	roles := startWithRoles(t)
	plain := startForeign(t, "")
	without := startForeign(t, "", func(o *server.Options) { o.JetStream = false })
	notForAll := startForeign(t, `accounts: { A: { users: [ { user: a, password: a } ] }, B: { jetstream: enabled } }`)
	for name, test := range map[string]struct {
		args []string
		want []string
		code int
	}{
		"nothing there":                {[]string{"--nats", "nats://127.0.0.1:1"}, []string{"cannot be reached", "hint: start the NATS server"}, exitFailed},
		"too old":                      {[]string{"--nats", oldServer(t)}, []string{`version "2.10.29", and 2.15 is needed`, "hint: upgrade"}, exitFailed},
		"no JetStream":                 {[]string{"--nats", without.url}, []string{"no JetStream", "hint: switch JetStream on"}, exitFailed},
		"no JetStream for the account": {[]string{"--nats", "nats://a:a@" + strings.TrimPrefix(notForAll.url, "nats://")}, []string{"no JetStream"}, exitFailed},
		"no cluster":                   {[]string{"--nats", plain.url, "--replicas", "3"}, []string{"cannot keep that many replicas", "non-clustered", "hint: "}, exitFailed},
		"no credential":                {[]string{"--nats", roles.url}, []string{"credential", "hint: init needs a NATS credential of the role admin"}, exitFailed},
		"an operator's credential":     {[]string{"--nats", roles.url, "--nkey", roles.key(bus.Operator)}, []string{"make bucket KEYS", "does not allow it", "role admin"}, exitFailed},
		"a verifier's credential":      {[]string{"--nats", roles.url, "--nkey", roles.key(bus.Verifier), "--check"}, []string{"bucket CLIENTS", "does not allow it"}, exitFailed},
		"no server named":              {nil, []string{"--nats"}, exitUsage},
		"too many replicas":            {[]string{"--nats", plain.url, "--replicas", "6"}, []string{"between 1 and 5"}, exitUsage},
	} {
		began := time.Now()
		out, errs, err := runCLI("", append([]string{"init"}, test.args...)...)
		if exitOf(err) != test.code || out != "" {
			t.Errorf("%s: exit %d, want %d; printed %q", name, exitOf(err), test.code, out)
		}
		for _, want := range test.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %q is not in: %s", name, want, errs)
			}
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("%s: took %v: the refusal was not seen", name, took)
		}
	}
	if report, code, errs := initJSON(t, "--nats", roles.url, "--nkey", roles.key(bus.Operator), "--check"); code != exitFailed || len(report.Drift) != 5 {
		t.Errorf("an operator cannot check: exit %d, %+v\n%s", code, report, errs)
	}
}

// oldServer answers as a server of 2024 does.
func oldServer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, `INFO {"server_id":"OLD","version":"2.10.29","proto":1,"headers":true,"max_payload":1048576}`+"\r\n")
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if lines.Text() == "PING" {
				fmt.Fprint(conn, "PONG\r\n")
			}
		}
	}()
	return "nats://" + listener.Addr().String()
}
