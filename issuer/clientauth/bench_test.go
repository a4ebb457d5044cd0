package clientauth

import (
	"context"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier/jws"
)

// BenchmarkRefusal reports x-known: how long it takes to refuse a stranger, as a multiple of how long it takes to refuse a
// known client with a wrong signature, measured in turns in the same run. Near 1 nobody can tell which clients exist.
func BenchmarkRefusal(b *testing.B) {
	w := newWorld(b).federate()
	registered := w.private
	w.private = newPrivateKey(b)
	known := w.assertion(jws.Header{}, claims(nil))
	unknown := w.assertion(jws.Header{}, claims(map[string]any{"iss": "stranger", "sub": "stranger"}))
	knownIdentity := w.assertion(jws.Header{}, foreign(nil))
	unknownIssuer := w.assertion(jws.Header{}, foreign(map[string]any{"iss": "https://stranger.example"}))
	w.private = registered
	ca := newAuthority(b, "clients")
	w.roots = ca.pool()
	w.credentials("orders", events.Client{TLS: &events.TLS{DNS: "orders.example.com"}})
	other := []*x509.Certificate{ca.issue(&x509.Certificate{DNSNames: []string{"other.example.com"}})}
	for _, bench := range []struct {
		name           string
		known, unknown *Request
	}{
		{"assertion", &Request{AssertionType: AssertionType, Assertion: known}, &Request{AssertionType: AssertionType, Assertion: unknown}},
		{"federated", &Request{ClientID: "orders", AssertionType: AssertionType, Assertion: knownIdentity},
			&Request{ClientID: "orders", AssertionType: AssertionType, Assertion: unknownIssuer}},
		{"API key", &Request{Secret: w.apiKeys["closed"].Reveal()}, &Request{Secret: events.NewAPIKey("stranger").Reveal()}},
		{"certificate", &Request{ClientID: "orders", Certificates: other}, &Request{ClientID: "stranger", Certificates: other}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			refuse := func(r *Request) func() {
				return func() {
					if _, err := w.auth.Authenticate(context.Background(), r); err == nil {
						b.Fatal("accepted")
					}
				}
			}
			for b.Loop() {
				refuse(bench.unknown)()
			}
			b.ReportMetric(ratio(refuse(bench.unknown), refuse(bench.known)), "x-known")
		})
	}
}

// ratio is the median of f's time over base's, measured in short turns in one run, because a machine is not equally fast all the time.
func ratio(f, base func()) float64 {
	timed := func(f func()) float64 {
		start := time.Now()
		for range 5 {
			f()
		}
		return float64(time.Since(start))
	}
	ratios := make([]float64, 801)
	for i := range ratios {
		ratios[i] = timed(f) / timed(base)
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}
