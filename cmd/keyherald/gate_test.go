package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// launchGate starts a gate for billing, and waits until it answers.
func launchGate(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	addr := eventstest.FreeAddress(t)
	p := startProcess(t, append([]string{"gate", "--audience", "https://billing", "--listen", addr}, args...)...)
	within(t, "the gate answers", func() bool { return statusOf(addr, "/healthz") == http.StatusOK })
	return p, addr
}

// statusOf is the answer to a GET with the headers, name, value and so on; 0 if there is none.
func statusOf(addr, path string, headers ...string) int {
	r, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		panic(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestP4_AGateAnswersBeforeNATSIsThereAndAfterItIsGone starts the gate first.
func TestP4_AGateAnswersBeforeNATSIsThereAndAfterItIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	snapshot := filepath.Join(t.TempDir(), "keys")
	p, addr := launchGate(t, "--data", dir, "--snapshot", snapshot)
	if status := statusOf(addr, "/readyz"); status != 503 {
		t.Errorf("/readyz without NATS: status %d", status)
	}
	if status := statusOf(addr, "/verify", "Authorization", "Bearer a.b.c"); status != 503 {
		t.Errorf("a token without NATS: status %d", status)
	}
	serve := startServe(t, dir, eventstest.FreeAddress(t), "127.0.0.1:0")
	t.Setenv("KEYHERALD_DATA", dir)
	at, err := readAddress(dir)
	if err != nil {
		t.Fatal(err)
	}
	keyherald(t, "client", "create", "orders", "--scope", "billing:read", "--audience", "https://billing", "--offline")
	file := writeText(t, "orders.key", keyherald(t, "key", "add", "orders"))
	token := keyherald(t, "token", "mint", "--issuer", at.Issuer, "--key-file", file, "--audience", "https://billing")
	within(t, "the token is accepted", func() bool { return statusOf(addr, "/verify", "Authorization", "Bearer "+token) == 200 })
	if status := statusOf(addr, "/readyz"); status != 200 {
		t.Errorf("/readyz: status %d", status)
	}
	for _, name := range []string{"keyherald_gate_requests_total", "keyherald_gate_request_duration_seconds_count", "keyherald_gate_ready 1", "keyherald_verifier_revision", "keyherald_verifier_tokens_total", "go_goroutines"} {
		if !strings.Contains(strings.Join(scrape(t, "http://"+addr+"/metrics"), "\n"), "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
	serve.kill()
	if status := statusOf(addr, "/verify", "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("without NATS again: status %d", status)
	}
	p.signal(t, syscall.SIGTERM, addr)
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("%v\n%s", p.cmd.ProcessState, p.err.String())
	}
	if strings.Contains(p.err.String(), token) {
		t.Error("the token is in the log")
	}
	_, addr = launchGate(t, "--data", dir, "--snapshot", snapshot)
	within(t, "the token is accepted from the snapshot", func() bool { return statusOf(addr, "/verify", "Authorization", "Bearer "+token) == 200 })
}

// TestAGateEndsWhenWaitingWouldNotMendIt and says what is wrong, but stops cleanly when it is told to while it waits.
func TestAGateEndsWhenWaitingWouldNotMendIt(t *testing.T) {
	f := withBuckets(t)
	stranger, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := stranger.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"a credential that the server refuses": {[]string{"--nats", f.url, "--nkey", writeText(t, "stranger.nk", string(seed))}, "hint: "},
		"no credential":                        {[]string{"--nats", f.url}, "hint: give a credential with --nkey or --creds"},
		"a credential file that is not there":  {[]string{"--nats", f.url, "--nkey", "nowhere.nk"}, "nowhere.nk"},
	} {
		p := startProcess(t, append([]string{"gate", "--audience", "https://billing", "--listen", "127.0.0.1:0"}, c.args...)...)
		p.wait(t)
		if code := p.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(p.err.String(), c.says) {
			t.Errorf("%s: exit %d\n%s", name, code, p.err.String())
		}
	}
	p, addr := launchGate(t, "--nats", "nats://127.0.0.1:1", "--nkey", f.key(bus.Verifier))
	p.signal(t, syscall.SIGTERM, addr)
	p.wait(t)
	if !p.cmd.ProcessState.Success() {
		t.Errorf("stopped while it waits: %v\n%s", p.cmd.ProcessState, p.err.String())
	}
}

func TestAGatesCommandLineIsChecked(t *testing.T) {
	for says, args := range map[string][]string{
		"missing flags: --audience":          {},
		"--audience is empty":                {"--audience", ""},
		"--listen is empty":                  {"--audience", "a", "--listen", ""},
		"is without a path":                  {"--audience", "a", "--listen", "unix:"},
		"such a socket is in no directory":   {"--audience", "a", "--listen", "unix:@gate"},
		"has 108 bytes, more than 107":       {"--audience", "a", "--listen", "unix:/" + strings.Repeat("x", 107)},
		"--scope is empty":                   {"--audience", "a", "--scope", ""},
		`scope "" is not one value`:          {"--audience", "a", "--scope", "x "},
		"a requirement is empty":             {"--audience", "a", "--policy", "p="},
		`policy "" is not NAME=REQUIREMENTS`: {"--audience", "a", "--policy", ""},
		`"p" is not NAME=REQUIREMENTS`:       {"--audience", "a", "--policy", "p"},
		"there is one of this name already":  {"--audience", "a", "--policy", "default=scope:x"},
		`scope "\"" is not one value`:        {"--audience", "a", "--policy", `p=scope:"`},
		"cannot begin the name of a header":  {"--audience", "a", "--header-prefix", "X Auth"},
		"--socket-mode":                      {"--audience", "a", "--listen", "unix:" + filepath.Join(t.TempDir(), "s"), "--socket-mode", "rw"},
		"goes with --trusted-proxy":          {"--audience", "a", "--client-cert-header", "Client-Cert"},
		"--max-staleness 0":                  {"--audience", "a", "--max-staleness", "0"},
		"neither an address nor a network":   {"--audience", "a", "--trusted-proxy", "proxy"},
		"can't be used together":             {"--audience", "a", "--nats", "nats://x", "--nkey", "a", "--creds", "b"},
		"--nkey and --creds go with --nats:": {"--audience", "a", "--nkey", "a", "--listen", "127.0.0.1:0"},
	} {
		var errs bytes.Buffer
		code := run(t.Context(), append([]string{"gate"}, args...), stdio{out: io.Discard, err: &errs})
		if code != exitUsage || !strings.Contains(errs.String(), strings.TrimSuffix(says, ":")) {
			t.Errorf("%v: exit %d: %s", args, code, errs.String())
		}
	}
}

// What is set and empty is not the same as what is not set: it is a variable that was forgotten where the environment was written.
func TestAGateDoesNotTakeAnEmptyRequirementForNone(t *testing.T) {
	for name, value := range map[string]string{"KEYHERALD_SCOPE": "", "KEYHERALD_POLICY": "", "KEYHERALD_AUDIENCE": ""} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KEYHERALD_AUDIENCE", "https://billing")
			t.Setenv(name, value)
			var errs bytes.Buffer
			if code := run(t.Context(), []string{"gate", "--listen", "127.0.0.1:0"}, stdio{out: io.Discard, err: &errs}); code != exitUsage {
				t.Errorf("exit %d: %s", code, errs.String())
			}
		})
	}
	t.Setenv("KEYHERALD_SCOPE", "a b")
	t.Setenv("KEYHERALD_POLICY", "write=scope:w,audience:x;status=any")
	p, _ := launchGate(t, "--data", t.TempDir())
	for _, line := range []string{"default=scope:a,scope:b", "write=scope:w,audience:x", "status=any"} {
		within(t, "it says that there is the policy "+line, func() bool { return strings.Contains(p.err.String(), "keyherald: policy "+line+"\n") })
	}
}

func TestAGateListensOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.sock")
	start := func(more ...string) *process {
		return startProcess(t, append([]string{"gate", "--audience", "https://billing", "--data", t.TempDir(), "--listen", "unix:" + path}, more...)...)
	}
	healthy := func() bool {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && resp.StatusCode == http.StatusOK
	}
	first := start()
	within(t, "the first answers", healthy)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, error %v", info, err)
	}
	second := start()
	second.wait(t)
	if code := second.cmd.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(second.err.String(), "in use") || !healthy() {
		t.Errorf("a second one: exit %d: %s", code, second.err.String())
	}
	first.kill()
	third := start("--socket-mode", "0600")
	within(t, "the third answers", healthy)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info, err)
	}
	if err := third.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	third.wait(t)
	if _, err := os.Stat(path); err == nil || !third.cmd.ProcessState.Success() {
		t.Errorf("after a clean stop the socket is there: %v; %v", err, third.cmd.ProcessState)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fourth := start()
	fourth.wait(t)
	if text, err := os.ReadFile(path); fourth.cmd.ProcessState.ExitCode() != exitFailed || string(text) != "mine" {
		t.Errorf("over a file: %v, error %v: %s", fourth.cmd.ProcessState, err, fourth.err.String())
	}
}

// TestASocketIsNeverOpenToOthers looks at it before its permissions are changed to those of --socket-mode, under the laxest umask.
func TestASocketIsNeverOpenToOthers(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(t.TempDir(), "s")
	l, err := listenPrivately(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, error %v", info.Mode(), err)
	}
}

// TestV19_AGateBelievesItsProxyAboutCertificates: a bound token is accepted with its certificate in the header of a proxy that is named, on
// TCP and by a socket, and not from anybody else.
func TestV19_AGateBelievesItsProxyAboutCertificates(t *testing.T) {
	s := startTLSServe(t)
	s.cli("", "client", "create", "orders", "--audience", "https://billing", "--scope", "billing:read")
	own, other := newIdentity(t, x509.Certificate{}, nil), newIdentity(t, x509.Certificate{}, nil)
	s.cli(string(own.certPEM()), "cert", "add", "orders", "-")
	var token string
	within(t, "a token", func() bool { token, _ = s.token(own, "orders"); return token != "" })
	header := func(id *tlsIdentity) string { return ":" + base64.StdEncoding.EncodeToString(id.cert.Raw) + ":" }
	bearer := []string{"Authorization", "Bearer " + token}

	flags := []string{"--trusted-proxy", "127.0.0.1", "--client-cert-header", "Client-Cert"}
	_, behind := launchGate(t, flags...)
	_, direct := launchGate(t)
	_, elsewhere := launchGate(t, "--trusted-proxy", "192.0.2.1", "--client-cert-header", "Client-Cert")
	for _, addr := range []string{behind, direct, elsewhere} {
		within(t, "it is ready", func() bool { return statusOf(addr, "/readyz") == 200 })
	}
	for name, c := range map[string]struct {
		addr    string
		headers []string
		status  int
	}{
		"its certificate":               {behind, []string{"Client-Cert", header(own)}, 200},
		"another":                       {behind, []string{"Client-Cert", header(other)}, 401},
		"none":                          {behind, nil, 401},
		"its own, twice":                {behind, []string{"Client-Cert", header(own), "Client-Cert", header(own)}, 401},
		"something":                     {behind, []string{"Client-Cert", "x"}, 401},
		"to a gate without a proxy":     {direct, []string{"Client-Cert", header(own)}, 401},
		"to a gate with another's name": {elsewhere, []string{"Client-Cert", header(own)}, 401},
	} {
		if status := statusOf(c.addr, "/verify", append(c.headers, bearer...)...); status != c.status {
			t.Errorf("%s: status %d, want %d", name, status, c.status)
		}
	}

	path := filepath.Join(t.TempDir(), "gate.sock")
	startProcess(t, append([]string{"gate", "--audience", "https://billing", "--listen", "unix:" + path}, flags...)...)
	within(t, "by a socket", func() bool {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nClient-Cert: %s\r\n\r\n", token, header(own))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

// TestP5_NobodyCanHoldAGate: what is too large is refused, what is too slow is cut off, and a flood of garbage costs neither memory nor disk.
func TestP5_NobodyCanHoldAGate(t *testing.T) {
	t.Parallel()
	p, addr := launchGate(t, "--data", t.TempDir(), "--policy", "write=scope:w")
	talk := func(text string) (status string, closed bool) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(conn, text) }() // it may close before it has read all
		in := bufio.NewReader(conn)
		status, _ = in.ReadString('\n')
		_, err = io.Copy(io.Discard, in)
		netErr, timedOut := err.(net.Error)
		return strings.TrimSpace(status), !timedOut || !netErr.Timeout()
	}
	if status, closed := talk("GET /verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 1<<20) + "\r\n\r\n"); !strings.Contains(status, " 431 ") || !closed {
		t.Errorf("a header of 1 MiB: %q, closed %v", status, closed)
	}
	for _, target := range []string{"*", "/../verify", "//verify"} {
		if status, _ := talk("OPTIONS " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(status, " 40") {
			t.Errorf("OPTIONS %s: %q", target, status)
		}
	}
	// A path that is not clean is judged as it is, not redirected.
	if status, _ := talk("GET /ext_authz/write//../x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(status, " 401 ") {
		t.Errorf("a path that is not clean: %q", status)
	}
	if _, closed := talk("GET /verify HTTP/1.1\r\nHost: x\r\nX-Slow: "); !closed {
		t.Errorf("a header that does not end holds the connection for longer than %s", patience)
	}

	garbage := func(n int) {
		for i := range n {
			if status := statusOf(addr, "/verify/"+[]string{"default", "write", "nobody"}[i%3], "Authorization", "Bearer "+strings.Repeat("x", i%8000)+strconv.Itoa(i)); status < 400 {
				t.Fatalf("status %d", status)
			}
		}
	}
	garbage(3000)
	before, lines := heapInUse(t, addr), strings.Count(p.err.String(), "\n")
	began := time.Now()
	garbage(15_000) // 60 MB of it
	if grown := heapInUse(t, addr) - before; grown > 16<<20 {
		t.Errorf("garbage has cost %d KiB", grown>>10)
	}
	// Each of two policies logs ten lines a second; and what the proxy does wrong, one.
	if n := strings.Count(p.err.String(), "\n") - lines; n > 200+int(time.Since(began).Seconds()*21) {
		t.Errorf("garbage has made %d lines in %s", n, time.Since(began))
	}
	if !strings.Contains(p.err.String(), `"left_out":`) {
		t.Error("the log does not say that lines were left out")
	}
}

// heapInUse is the memory that a process has in use, in bytes, as its metrics say.
func heapInUse(t *testing.T, addr string) int {
	t.Helper()
	for _, line := range scrape(t, "http://"+addr+"/metrics") {
		if text, ok := strings.CutPrefix(line, "go_memstats_heap_inuse_bytes "); ok {
			bytes, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(bytes)
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// TestAGateAnswersWhatIsInHandBeforeItEnds: what was accepted until the signal came is answered, and only then the verifier is closed.
func TestAGateAnswersWhatIsInHandBeforeItEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived, goOn, answered := make(chan bool), make(chan bool), make(chan int, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-goOn
	})}
	ctx, cancel := context.WithCancel(t.Context())
	var beside, closed bool
	ended := make(chan error, 1)
	go func() {
		ended <- serveGate(ctx, &app{stdio: stdio{err: io.Discard}}, server, listener,
			func(ctx context.Context) error { <-ctx.Done(); beside = true; return nil }, func() { closed = beside })
	}()
	go func() { answered <- statusOf(listener.Addr().String(), "/") }()
	<-arrived
	cancel()
	within(t, "it takes no more", func() bool { return statusOf(listener.Addr().String(), "/") == 0 })
	select {
	case err := <-ended:
		t.Fatalf("it has ended before the answer: %v", err)
	default:
	}
	close(goOn)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if err := <-ended; err != nil || !closed {
		t.Errorf("error %v, closed after all the rest %v", err, closed)
	}
}
