package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// startCluster starts three servers that keep JetStream's data together, configured alike.
func startCluster(t *testing.T, config ...string) []*foreign {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		addr := eventstest.FreeAddress(t)
		route, err := url.Parse("nats://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(route.Port())
		if err != nil {
			t.Fatal(err)
		}
		routes, ports = append(routes, route), append(ports, port)
	}
	var cluster []*foreign
	for i, port := range ports {
		cluster = append(cluster, startForeign(t, strings.Join(config, "\n"), func(o *server.Options) {
			o.ServerName, o.Routes = fmt.Sprint("n", i), routes
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}
		}))
	}
	eventstest.Eventually(t, "the cluster has a leader and three members", func() bool {
		return slices.ContainsFunc(cluster, func(f *foreign) bool { return f.JetStreamIsLeader() && len(f.JetStreamClusterPeers()) == 3 })
	})
	return cluster
}

func TestN_InitOnAClusterKeepsTheBucketsOnAsManyServersAsAsked(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t)
	urls := cluster[0].url + "," + cluster[1].url + "," + cluster[2].url
	out, errs, err := runCLI("", "init", "--nats", urls, "--replicas", "5")
	if exitOf(err) != exitFailed || !strings.Contains(errs, "cannot keep that many replicas") || !strings.Contains(errs, "hint: ") {
		t.Errorf("five replicas on three servers: %v\n%s%s", err, out, errs)
	}
	if report, code, errs := initJSON(t, "--nats", urls, "--replicas", "3"); code != 0 || !slices.Equal(report.Made, bus.Buckets()) {
		t.Fatalf("exit %d, %+v\n%s", code, report, errs)
	}
	for _, f := range cluster {
		if report, code, errs := initJSON(t, "--nats", f.url, "--replicas", "3"); code != 0 || len(report.Made) != 0 {
			t.Errorf("again: exit %d, %+v\n%s", code, report, errs)
		}
		if report, code, errs := initJSON(t, "--nats", f.url); code != 0 {
			t.Errorf("without saying how many: exit %d, %+v\n%s", code, report, errs)
		}
		report, code, errs := initJSON(t, "--nats", f.url, "--replicas", "1")
		if code != exitFailed || len(report.Drift) != 5 || report.Drift[0].Setting != "num_replicas" || !strings.Contains(errs, "or give --replicas as they are") {
			t.Errorf("with another number: exit %d, %+v\n%s", code, report, errs)
		}
	}

	// A bucket that is made later gets as many as the others have.
	conn, err := bus.Connect(t.Context(), bus.Config{URL: urls})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.JetStream().DeleteStream(t.Context(), bus.Usage.Stream()); err != nil {
		t.Fatal(err)
	}
	if report, code, errs := initJSON(t, "--nats", urls); code != 0 || !slices.Equal(report.Made, []bus.Bucket{bus.Usage}) {
		t.Errorf("exit %d, %+v\n%s", code, report, errs)
	}
	if _, code, errs := initJSON(t, "--nats", urls, "--replicas", "3"); code != 0 {
		t.Error(errs)
	}
}
