package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/registry/refresh"
)

// refreshMetrics shows how the refresh of external issuers' keys is going.
type refreshMetrics struct {
	status func() refresh.Status

	holding, keys, success, failing *prometheus.Desc
	counters                        []refreshCounter
}

type refreshCounter struct {
	desc  *prometheus.Desc
	value func(refresh.Status) uint64
}

var _ prometheus.Collector = (*refreshMetrics)(nil)

func newRefreshMetrics(status func() refresh.Status) *refreshMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("refresh_"+name, help, labels, nil)
	}
	counter := func(name, help string, value func(refresh.Status) uint64) refreshCounter {
		return refreshCounter{desc(name, help), value}
	}
	return &refreshMetrics{
		status:  status,
		holding: desc("holding", "1 if this node refreshes the keys of external issuers, 0 if another one does."),
		keys:    desc("keys", "Keys that the issuer publishes and that can be used.", "issuer"),
		success: desc("last_success_timestamp_seconds", "When the issuer's keys were fetched and published last.", "issuer"),
		failing: desc("failing", "1 if the last fetch has failed: the last good keys stay.", "issuer"),
		counters: []refreshCounter{
			counter("fetches_total", "Documents asked for.", func(s refresh.Status) uint64 { return s.Fetches }),
			counter("unchanged_total", "Fetches that brought nothing new (304).", func(s refresh.Status) uint64 { return s.Unchanged }),
			counter("failures_total", "Fetches that failed, or whose keys could not be published.", func(s refresh.Status) uint64 { return s.Failures }),
			counter("out_of_turn_total", "Fetches because of an unknown kid, or by hand.", func(s refresh.Status) uint64 { return s.OutOfTurn }),
			counter("keys_added_total", "Keys registered.", func(s refresh.Status) uint64 { return s.Added }),
			counter("keys_changed_total", "Keys replaced under their kid.", func(s refresh.Status) uint64 { return s.Changed }),
			counter("keys_removed_total", "Keys withdrawn.", func(s refresh.Status) uint64 { return s.Removed }),
			counter("alarms_total", "Private keys that a provider has published.", func(s refresh.Status) uint64 { return s.Alarms }),
			counter("reports_total", "Reports of unknown kids that were heard.", func(s refresh.Status) uint64 { return s.Reports }),
			counter("reports_dropped_total", "Reports that were not looked at, because too many came.", func(s refresh.Status) uint64 { return s.Dropped }),
		},
	}
}

func (m *refreshMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.holding, m.keys, m.success, m.failing} {
		descs <- d
	}
	for _, c := range m.counters {
		descs <- c.desc
	}
}

func (m *refreshMetrics) Collect(metrics chan<- prometheus.Metric) {
	s := m.status()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	gauge(m.holding, boolean(s.Holding))
	for _, c := range m.counters {
		metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(c.value(s)))
	}
	for _, i := range s.Issuers { // that operators have registered: there are not many
		gauge(m.keys, float64(i.Keys), string(i.Issuer))
		gauge(m.failing, boolean(i.LastError != ""), string(i.Issuer))
		if !i.LastSuccess.IsZero() {
			gauge(m.success, float64(i.LastSuccess.Unix()), string(i.Issuer))
		}
	}
}
