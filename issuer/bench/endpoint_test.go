//go:build unix

package bench

import (
	"slices"
	"testing"
	"time"
)

// perTurn is how many requests one turn of a server has: some hundredths of a second, so that many turns are undisturbed.
const perTurn = 250

// BenchmarkTokenEndpoint compares the token endpoint with a bare server; see the documentation of the package.
func BenchmarkTokenEndpoint(b *testing.B) {
	for _, bench := range []struct {
		name       string
		node, bare serverKind
		request    func(*child) [][]byte
	}{
		{"method=private_key_jwt/replay=none", nodeForgetful, bareVerifySign, withAssertions},
		{"method=private_key_jwt/replay=nats", nodeNATS, bareVerifySign, withAssertions},
		{"method=api_key", nodeForgetful, bareSign, withAPIKeys},
	} {
		b.Run(bench.name, func(b *testing.B) {
			node, bare := startChild(b, bench.node), startChild(b, bench.bare)
			clients := dial(b, node)
			callers := dial(b, bare)
			clients.send(b, bench.request(node)) // warm up
			callers.send(b, bench.request(node))
			node.profile(b)
			bare.profile(b)
			var mine, base []turn
			for b.Loop() {
				requests := bench.request(node)
				mine = append(mine, clients.send(b, requests))
				base = append(base, callers.send(b, requests))
			}
			report(b, mine, base)
		})
	}
}

// BenchmarkReplayWrite reports what the replay memory adds to a token, with the embedded NATS server in the same process, every
// write on its disk before it is acknowledged: replay-cpu-ns/op of processor time, and replay-p50-ms that a caller waits longer.
func BenchmarkReplayWrite(b *testing.B) {
	with, without := startChild(b, nodeNATS), startChild(b, nodeForgetful)
	remembered, forgotten := dial(b, with), dial(b, without)
	remembered.send(b, withAssertions(with)) // warm up
	forgotten.send(b, withAssertions(without))
	var mine, base []turn
	for b.Loop() {
		mine = append(mine, remembered.send(b, withAssertions(with)))
		base = append(base, forgotten.send(b, withAssertions(without)))
	}
	b.ReportMetric(undisturbed(mine, wall)-undisturbed(base, wall), "ns/op")
	b.ReportMetric(undisturbed(mine, cpu)-undisturbed(base, cpu), "replay-cpu-ns/op")
	b.ReportMetric(quantile(mine, 50)-quantile(base, 50), "replay-p50-ms")
	b.ReportMetric(undisturbed(base, wall)/undisturbed(mine, wall), "x-forgetful")
}

func report(b *testing.B, mine, base []turn) {
	b.ReportMetric(undisturbed(base, wall)/undisturbed(mine, wall), "x-bare")
	b.ReportMetric(undisturbed(base, cpu)/undisturbed(mine, cpu), "x-bare-cpu")
	b.ReportMetric(undisturbed(mine, cpu), "cpu-ns/op")
	b.ReportMetric(undisturbed(base, cpu), "bare-cpu-ns/op")
	b.ReportMetric(float64(time.Second)/undisturbed(mine, wall), "req/s")
	b.ReportMetric(float64(time.Second)/undisturbed(base, wall), "bare-req/s")
	b.ReportMetric(undisturbed(mine, wall), "ns/op")
	b.ReportMetric(quantile(mine, 50), "p50-ms")
	b.ReportMetric(quantile(mine, 99), "p99-ms")
}

func wall(t turn) time.Duration { return t.took }
func cpu(t turn) time.Duration  { return t.cpu }

// undisturbed is what one request takes, in nanoseconds, in the turn that is faster than nine of ten: other processes only ever
// make a turn slower.
func undisturbed(turns []turn, of func(turn) time.Duration) float64 {
	times := make([]time.Duration, len(turns))
	for i, t := range turns {
		times[i] = of(t)
	}
	slices.Sort(times)
	return float64(times[len(times)/10]) / perTurn
}

// quantile is the latency that so many percent of the requests of all turns did not exceed, in milliseconds.
func quantile(turns []turn, percent int) float64 {
	var latencies []time.Duration
	for _, t := range turns {
		latencies = append(latencies, t.latencies...)
	}
	slices.Sort(latencies)
	return float64(latencies[len(latencies)*percent/100]) / float64(time.Millisecond)
}
