//go:build unix

package bench

import (
	"slices"
	"testing"
	"time"
)

// perTurn is how many requests one turn of a server has: about a tenth of a second.
const perTurn = 1000

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

func report(b *testing.B, mine, base []turn) {
	median := func(of func(i int) float64) float64 {
		values := make([]float64, len(mine))
		for i := range values {
			values[i] = of(i)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	var latencies []time.Duration
	for _, t := range mine {
		latencies = append(latencies, t.latencies...)
	}
	slices.Sort(latencies)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

	b.ReportMetric(median(func(i int) float64 { return float64(base[i].took) / float64(mine[i].took) }), "x-bare")
	b.ReportMetric(median(func(i int) float64 { return float64(base[i].cpu) / float64(mine[i].cpu) }), "x-bare-cpu")
	b.ReportMetric(median(func(i int) float64 { return float64(mine[i].cpu) / perTurn }), "cpu-ns/op")
	b.ReportMetric(median(func(i int) float64 { return float64(base[i].cpu) / perTurn }), "bare-cpu-ns/op")
	b.ReportMetric(median(func(i int) float64 { return perTurn / mine[i].took.Seconds() }), "req/s")
	b.ReportMetric(median(func(i int) float64 { return perTurn / base[i].took.Seconds() }), "bare-req/s")
	b.ReportMetric(median(func(i int) float64 { return float64(mine[i].took) / perTurn }), "ns/op")
	b.ReportMetric(ms(latencies[len(latencies)/2]), "p50-ms")
	b.ReportMetric(ms(latencies[len(latencies)*99/100]), "p99-ms")
}
