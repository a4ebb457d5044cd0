package gate

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/verifier/httpauth"
)

// metrics count what a gate does. All label values are bounded: policies are configured, outcomes and reasons few.
//
//	gate_requests_total{policy,outcome,reason}  outcome: accepted, unauthenticated, forbidden, invalid_request, undecided, no_policy
//	gate_request_duration_seconds
//	gate_ready
type metrics struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, v Verifier) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gate_requests_total", Help: "Requests that were judged, by policy, outcome and reason.",
		}, []string{"policy", "outcome", "reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gate_request_duration_seconds", Help: "How long it took to judge a request.",
			Buckets: []float64{.000001, .0000025, .000005, .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .1, 1},
		}),
	}
	if registerer == nil {
		return m, nil
	}
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gate_ready", Help: "1 if tokens can be judged, 0 if the key set was not read yet or is too old.",
	}, func() float64 {
		if s := v.Status(); s.Confirmed && !s.Stale {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.requests, m.duration, ready} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// acceptedBy is the counter of the requests that a policy has accepted.
func (m *metrics) acceptedBy(policy string) prometheus.Counter {
	return m.requests.WithLabelValues(policy, "accepted", "")
}

func (m *metrics) noPolicy() { m.requests.WithLabelValues("", "no_policy", "").Inc() }

func (m *metrics) refused(policy string, e *httpauth.Error) {
	outcome := "unauthenticated"
	switch e.Status {
	case http.StatusForbidden:
		outcome = "forbidden"
	case http.StatusBadRequest:
		outcome = "invalid_request"
	case http.StatusServiceUnavailable:
		outcome = "undecided"
	}
	m.requests.WithLabelValues(policy, outcome, string(e.Reason)).Inc()
}
