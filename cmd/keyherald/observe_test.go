package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
)

// TestAnOperatorSeesWhatANodeDoes looks at a running node as monitoring does: at its metrics, its access log, its audit log and at the
// last use of a credential.
func TestAnOperatorSeesWhatANodeDoes(t *testing.T) {
	t.Setenv("KEYHERALD_LOG_LEVEL", "debug")
	dir := filepath.Join(t.TempDir(), "d")
	httpAddr := eventstest.FreeAddress(t)
	p := startServe(t, dir, httpAddr, "127.0.0.1:0")
	t.Setenv("KEYHERALD_DATA", dir)
	cli := func(args ...string) string {
		t.Helper()
		out, errs, err := runCLI("", args...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, errs)
		}
		return strings.TrimSpace(out)
	}
	cli("client", "create", "orders", "--scope", "billing:read", "--audience", "https://billing")
	secret := cli("secret", "add", "orders")
	ask := func(path string, params url.Values) int {
		t.Helper()
		resp, err := http.PostForm("http://"+httpAddr+path, params)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	const canary = "canary-in-a-query"
	credentials := url.Values{"grant_type": {"client_credentials"}, "client_secret": {secret}}
	if status := ask("/oauth/token", credentials); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	ask("/oauth/token?x="+canary, credentials)
	ask("/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"orders"}})
	ask("/nowhere/"+canary, nil)

	metrics := scrape(t, "http://"+httpAddr+"/metrics")
	for _, name := range []string{
		"keyherald_requests_total", "keyherald_request_duration_seconds_count", "keyherald_keys", "keyherald_issuers", "keyherald_feed_revision",
		"keyherald_feed_complete", "keyherald_feed_freshness_seconds", "keyherald_feed_gaps_total", "keyherald_feed_resyncs_total",
		"keyherald_revoked_tokens", "keyherald_rejected_records", "keyherald_issuer_ready",
		"keyherald_refresh_holding", "keyherald_refresh_fetches_total", "keyherald_refresh_failures_total", "keyherald_refresh_alarms_total", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !slices.ContainsFunc(metrics, func(line string) bool { return strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") }) {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, line := range []string{
		`keyherald_requests_total{endpoint="token",grant="client_credentials",method="client_secret_post",outcome="ok"} 2`,
		`keyherald_requests_total{endpoint="token",grant="client_credentials",method="",outcome="invalid_client"} 1`,
		`keyherald_feed_complete{bucket="CLIENTS"} 1`, `keyherald_feed_missing_messages{bucket="KEYS"} 0`, `keyherald_issuer_ready 1`, `keyherald_nats_writable 1`, `keyherald_keys{state="pending"} 0`,
		`keyherald_issuers{status="active",type="client"} 2`,
	} {
		if !slices.Contains(metrics, line) {
			t.Errorf("the metrics do not say %s", line)
		}
	}

	for deadline := time.Now().Add(patience); !strings.Contains(cli("secret", "list", "orders", "--json"), "last_used"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the last use of the API key was not noted")
		}
	}

	p.kill()
	log := p.err.String()
	requests := map[string]int{}
	for line := range strings.Lines(log) {
		var entry struct {
			Message, Method, Route, Address string
			Status                          int
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "request" {
			if entry.Address != "127.0.0.1" {
				t.Errorf("a request from %q", entry.Address)
			}
			requests[entry.Method+" "+entry.Route+" "+http.StatusText(entry.Status)]++
		}
	}
	for request, n := range map[string]int{"POST /oauth/token OK": 2, "POST /oauth/token Unauthorized": 1, "POST  Not Found": 1, "GET /metrics OK": 1} {
		if requests[request] != n {
			t.Errorf("%q is in the access log %d times, want %d: %v", request, requests[request], n, requests)
		}
	}
	for _, secret := range []string{secret, canary} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %s", secret)
		}
	}
}

// scrape returns the lines of a metrics endpoint.
func scrape(t *testing.T, url string) (lines []string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %s", resp.Status)
	}
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}
