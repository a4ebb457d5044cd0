package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
	"github.com/keyherald/keyherald/events/eventstest"
)

// doctorJSON runs doctor --json and returns the report, the exit code, and the lines that do not say ok.
func doctorJSON(t *testing.T, args ...string) (r doctor.Report, code int, bad string) {
	t.Helper()
	out, errs, err := runCLI("", append([]string{"doctor", "--json", "--timeout", "60s"}, args...)...)
	if jsonErr := json.Unmarshal([]byte(out), &r); jsonErr != nil {
		t.Fatalf("%v: %q\n%s", jsonErr, out, errs)
	}
	var lines []string
	for _, f := range r.Findings {
		if f.Level != doctor.OK {
			lines = append(lines, f.String())
		}
	}
	return r, exitOf(err), strings.Join(lines, "\n") + "\n" + errs
}

func TestN_DoctorSaysThatAllIsWellWithServe(t *testing.T) {
	t.Parallel()
	dir, natsAddr := filepath.Join(t.TempDir(), "d"), eventstest.FreeAddress(t)
	p := startServe(t, dir, eventstest.FreeAddress(t), natsAddr)
	report, code, bad := doctorJSON(t, "--data", dir)
	if code != 0 || bad != "\n" || report.Version != server.VERSION {
		t.Errorf("exit %d, NATS %q:\n%s", code, report.Version, bad)
	}
	out, errs, err := runCLI("", "doctor", "--data", dir)
	if err != nil || errs != "" {
		t.Errorf("%v\n%s", err, errs)
	}
	tried := map[bus.Role]bool{}
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "ok    ") {
			t.Errorf("line %q", line)
		}
		for _, role := range bus.Roles() {
			tried[role] = tried[role] || strings.HasPrefix(line, "ok    roles       "+string(role)+" ")
		}
	}
	for _, role := range bus.Roles() {
		if !tried[role] {
			t.Errorf("%s was not tried:\n%s", role, out)
		}
	}

	// By its address, as from elsewhere, less is known.
	operator, verifier := filepath.Join(dir, "nats", "operator.nk"), filepath.Join(dir, "nats", "verifier.nk")
	url := "nats://" + natsAddr
	if _, code, bad := doctorJSON(t, "--nats", url, "--nkey", operator, "--check-role", "verifier="+verifier); code != exitUndecided || !strings.Contains(bad, "sync_interval of keyherald is unknown") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
	if _, code, bad := doctorJSON(t, "--nats", url, "--nkey", verifier); code != exitUndecided || !strings.Contains(bad, "CLIENTS: this credential may not look at it") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
	if _, code, bad := doctorJSON(t, "--nats", url, "--nkey", operator, "--check-role", "verifier="+operator); code != exitFailed || !strings.Contains(bad, "verifier (") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
	if _, code, bad := doctorJSON(t, "--nats", url); code != exitFailed || !strings.Contains(bad, "a credential that the server knows") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
	p.kill()
	if _, code, bad := doctorJSON(t, "--data", dir); code != exitFailed || !strings.Contains(bad, "start the NATS server") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
}

func TestN_DoctorSaysThatAllIsWellWithAClusterThatInitMade(t *testing.T) {
	t.Parallel()
	var config string
	keys := startWithRoles(t, func(text string) string { config = text; return text }).keys
	cluster := startCluster(t, config, "http: 127.0.0.1:-1")
	var urls, monitors []string
	for _, f := range cluster {
		urls, monitors = append(urls, f.url), append(monitors, "http://"+f.MonitorAddr().String())
	}
	at := strings.Join(urls, ",")
	if _, code, errs := initJSON(t, "--nats", at, "--nkey", keys[bus.Admin], "--replicas", "3"); code != 0 {
		t.Fatal(errs)
	}
	args := []string{"--nats", at, "--nkey", keys[bus.Operator], "--replicas", "3"}
	for role, file := range keys {
		args = append(args, "--check-role", string(role)+"="+file)
	}
	monitored := append(args, "--monitor", strings.Join(monitors, ","))
	var code int
	var bad string
	eventstest.Eventually(t, "all members are current", func() bool {
		_, code, bad = doctorJSON(t, monitored...)
		return code == 0
	})
	if lines := strings.Split(strings.TrimSpace(bad), "\n"); len(lines) != 1 || !strings.Contains(lines[0], "no token service was ever started here") {
		t.Errorf("exit %d:\n%s", code, bad)
	}
	if _, code, bad := doctorJSON(t, args...); code != exitUndecided || !strings.Contains(bad, "unknown") {
		t.Errorf("without monitors: exit %d:\n%s", code, bad)
	}
}

func TestDoctorPrintsNothingThatSteersATerminal(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"server_id":"\u001b[2J","server_name":"\u001b]0;title\u0007\nok","version":"2.15.2\u001b[31m","now":"2026-01-01T00:00:00Z","jetstream":{"config":{}}}`)
	}))
	defer s.Close()
	out, _, err := runCLI("", "doctor", "--nats", f.url, "--nkey", f.key(bus.Operator), "--monitor", s.URL)
	if exitOf(err) != exitFailed || strings.ContainsAny(out, "\x1b\x07") || !strings.Contains(out, `\x1b]0;title\a\nok`) {
		t.Errorf("%v\n%q", err, out)
	}
}

func TestDoctorRefusesFlagsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	seed := filepath.Join(t.TempDir(), "a.nk")
	if err := os.WriteFile(seed, []byte("SUAFAKESEED"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--replicas", "6"}, {"--replicas", "-1"}, {"--timeout", "0s"}, {"--nkey", seed},
		{"--check-role", "root=" + seed}, {"--check-role", seed}, {"--check-role", "verifier="},
	} {
		nats := []string{"doctor", "--nats", "nats://127.0.0.1:1"}
		if args[0] == "--nkey" {
			nats = nats[:1]
		}
		if out, errs, err := runCLI("", append(nats, args...)...); exitOf(err) != exitUsage || out != "" || strings.Contains(errs, "SUAFAKESEED") {
			t.Errorf("%v: exit %d\n%s%s", args, exitOf(err), out, errs)
		}
	}
}

func TestDoctorTakesSeedsAndCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"a.nk": "SUAFAKESEED", "b.creds": "-----BEGIN NATS USER JWT-----\nfake\n"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		want := doctor.Credential{Role: bus.Issuer, SeedFile: file}
		if name == "b.creds" {
			want = doctor.Credential{Role: bus.Issuer, CredsFile: file}
		}
		if have, err := roleCredential("issuer=" + file); err != nil || have != want {
			t.Errorf("%s: %+v, %v", name, have, err)
		}
	}
	if _, err := roleCredential("issuer=" + filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "--check-role") {
		t.Error(err)
	}
}
