package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`\b(keyherald|go|process)_[a-z0-9_]+`)

// TestTheDashboardShowsMetricsThatExist looks for them in what a token service and a gate say about themselves. That Prometheus understands the
// queries, deploy/compose-test sees.
func TestTheDashboardShowsMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose/grafana/dashboards/keyherald.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	s := startSite(t)
	at, err := readAddress(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	keyherald(t, "token", "request", "--issuer", at.Issuer, "--key-file", s.key) // counted from the first one on
	// One whose keys cannot be had: the address is not a public one.
	keyherald(t, "issuer", "add", "login", "--iss", "https://127.0.0.1:1", "--jwks-uri", "https://127.0.0.1:1/jwks",
		"--use", "access_token", "--audience", "https://orders")
	var have string
	within(t, "the provider's keys cannot be fetched", func() bool {
		have = "\n" + strings.Join(append(scrape(t, at.Issuer+"/metrics"), scrape(t, "http://"+s.gateAddr+"/metrics")...), "\n")
		return strings.Contains(have, "\nkeyherald_refresh_failing{")
	})
	names := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				names++
				if !strings.Contains(have, "\n"+name+"{") && !strings.Contains(have, "\n"+name+" ") {
					t.Errorf("panel %q asks for %s, which nobody has", p.Title, name)
				}
			}
		}
	}
	if names < 15 {
		t.Errorf("the dashboard asks for %d metrics", names)
	}
}
