package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/doctor"
	"github.com/keyherald/keyherald/events/eventstest"
	"github.com/keyherald/keyherald/verifier"
)

func TestF_WhatTheServerCannotReadIsSaidByStatusDoctorAndMetrics(t *testing.T) {
	t.Parallel()
	f := withBuckets(t)
	conn, err := bus.Connect(t.Context(), bus.Config{URL: f.url, SeedFile: f.key(bus.Operator)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for _, name := range []string{"issuer.orders", "issuer.billing", "issuer.login"} {
		if _, err := conn.JetStream().Publish(t.Context(), bus.Keys.Subject(name), []byte(`{"type":"client","status":"active"}`)); err != nil {
			t.Fatal(err)
		}
	}
	status := func() (text string, report statusReport) {
		t.Helper()
		args := []string{"status", "--nats", f.url, "--nkey", f.key(bus.Verifier)}
		text, errs, err := runCLI("", args...)
		if err != nil {
			t.Fatalf("%v\n%s", err, errs)
		}
		out, errs, err := runCLI("", append(args, "--json")...)
		if err != nil || json.Unmarshal([]byte(out), &report) != nil {
			t.Fatalf("%v\n%s%s", err, out, errs)
		}
		return text, report
	}
	if text, report := status(); strings.Contains(text, "MISSING") || strings.Contains(text, "unknown") || report.Buckets["KEYS"] != (bucketReport{3, true, 0, true}) {
		t.Errorf("before: %+v\n%s", report.Buckets, text)
	}

	f.stop()
	files, err := filepath.Glob(filepath.Join(f.dir, "jetstream", "*", "streams", bus.Keys.Stream(), "msgs", "1.blk"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(files[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	f.start()

	if text, report := status(); !strings.Contains(text, "MISSING    1 message of KEYS, which the server has and does not deliver") ||
		report.Buckets["KEYS"].Missing != 1 || !report.Buckets["KEYS"].Counted || report.Buckets["REVOCATIONS"].Missing != 0 {
		t.Errorf("after: %+v\n%s", report.Buckets, text)
	}
	r, code, bad := doctorJSON(t, "--nats", f.url, "--nkey", f.key(bus.Operator))
	if code != exitFailed || !slices.ContainsFunc(r.Findings, func(d doctor.Finding) bool {
		return d.Check == "delivery" && d.Level == doctor.Fail && strings.HasPrefix(d.Found, "KEYS: there are 1 messages more")
	}) {
		t.Errorf("exit %d\n%s", code, bad)
	}

	keys, clients := conn.FollowKeys(zerolog.Nop()), conn.FollowClients(zerolog.Nop())
	defer keys.Close()
	defer clients.Close()
	if err := keys.WaitCounted(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry, ours := newMetrics()
	ours.MustRegister(newFeedMetrics(keys, clients, func() error { return nil }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "keyherald_feed_missing_messages" {
				missing[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if len(missing) != 3 || missing["KEYS"] != 1 || missing["REVOCATIONS"] != 0 {
		t.Errorf("the metrics say %v", missing)
	}

	for how, snapshot := range map[string]string{"a verifier": "", "a verifier with a snapshot": filepath.Join(t.TempDir(), "snapshot")} {
		v, err := verifier.Connect(t.Context(), verifier.Config{NATS: f.url, SeedFile: f.key(bus.Verifier), Audience: "https://billing", Snapshot: snapshot})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		eventstest.Eventually(t, how+" knows what is missing", func() bool { return v.Status().Missing == 1 })
	}
}
