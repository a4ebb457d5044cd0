package issuer

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what the nodes of a process do. All label values are bounded.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them: a program does so once.
//
//	requests_total{endpoint,grant,method,outcome}  endpoint: token, introspect, revoke; outcome: ok, throttled or the OAuth error code
//	request_duration_seconds{endpoint}
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "requests_total", Help: "Requests of clients, by endpoint, grant, way of authentication and outcome.",
		}, []string{"endpoint", "grant", "method", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "request_duration_seconds", Help: "How long requests of clients took, by endpoint.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"endpoint"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// observe counts a request. Of a grant it knows those that there are.
func (m *Metrics) observe(c *call, outcome string, took time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(c.endpoint, c.grant, c.method, outcome).Inc()
	m.duration.WithLabelValues(c.endpoint).Observe(took.Seconds())
}

// outcomeOf is an answer as a label.
func outcomeOf(answer *oauthError) string {
	if answer.status == http.StatusTooManyRequests {
		return "throttled"
	}
	return answer.Code
}
