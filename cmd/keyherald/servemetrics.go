package main

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/events/bus"
)

// metricsPrefix begins the names of all our metrics; those of Go and of the process have their usual ones.
const metricsPrefix = "keyherald_"

// newMetrics makes the registry of a process, and what to register our metrics with.
func newMetrics() (*prometheus.Registry, prometheus.Registerer) {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r, prometheus.WrapRegistererWithPrefix(metricsPrefix, r)
}

// feedMetrics shows what the live sets of a process know, at the time of each scrape.
type feedMetrics struct {
	keys    *bus.KeySet
	clients *bus.ClientSet
	ready   func() error

	revision, complete, freshness, missing, gaps, resyncs *prometheus.Desc
	keysBy, issuersBy, revoked, rejected, up              *prometheus.Desc

	mu    sync.Mutex // for what follows
	count keyCount
}

// keyCount is how many keys and issuers there are. To count a million takes a while, and anybody may scrape.
type keyCount struct {
	at      time.Time
	keys    map[events.KeyState]int
	issuers map[issuerKind]int
}

type issuerKind struct {
	kind   events.IssuerType
	status events.Status
}

// countAgain is how old a count may be.
const countAgain = 5 * time.Second

var _ prometheus.Collector = (*feedMetrics)(nil)

func newFeedMetrics(keys *bus.KeySet, clients *bus.ClientSet, ready func() error) *feedMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &feedMetrics{
		keys: keys, clients: clients, ready: ready,
		revision:  desc("feed_revision", "Everything in the bucket up to this revision is applied.", "bucket"),
		complete:  desc("feed_complete", "1 if the set has caught up with the bucket, 0 while it is read (again).", "bucket"),
		freshness: desc("feed_freshness_seconds", "Time since the set was last known to be complete; that of KEYS is of KEYS and REVOCATIONS together.", "bucket"),
		missing:   desc("feed_missing_messages", "Messages that the server says are in the bucket, and does not deliver: its files may be damaged.", "bucket"),
		gaps:      desc("feed_gaps_total", "How often the subscription ended and was made again.", "bucket"),
		resyncs:   desc("feed_resyncs_total", "How often the bucket was read from the beginning.", "bucket"),
		keysBy:    desc("keys", "Keys by state.", "state"),
		issuersBy: desc("issuers", "Issuers by type and status.", "type", "status"),
		revoked:   desc("revoked_tokens", "Single tokens that are revoked and have not ended."),
		rejected:  desc("rejected_records", "Records of KEYS that are malformed now; what was there before counts."),
		up:        desc("issuer_ready", "1 if this node issues tokens, 0 if it cannot; /readyz says why."),
	}
}

func (m *feedMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.revision, m.complete, m.freshness, m.missing, m.gaps, m.resyncs, m.keysBy, m.issuersBy, m.revoked, m.rejected, m.up} {
		descs <- d
	}
}

func (m *feedMetrics) Collect(metrics chan<- prometheus.Metric) {
	now := time.Now()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	feeds := m.keys.Status()
	for bucket, status := range map[bus.Bucket]bus.FeedStatus{bus.Keys: feeds.Keys, bus.Revocations: feeds.Revocations, bus.Clients: m.clients.Status()} {
		gauge(m.revision, float64(status.Revision), string(bucket))
		gauge(m.complete, boolean(status.CaughtUp), string(bucket))
		gauge(m.missing, float64(status.Missing), string(bucket))
		metrics <- prometheus.MustNewConstMetric(m.gaps, prometheus.CounterValue, float64(status.Gaps), string(bucket))
		metrics <- prometheus.MustNewConstMetric(m.resyncs, prometheus.CounterValue, float64(status.Resyncs), string(bucket))
	}
	for bucket, confirmed := range map[bus.Bucket]time.Time{bus.Keys: m.keys.Confirmed(), bus.Clients: m.clients.Confirmed()} {
		if !confirmed.IsZero() {
			gauge(m.freshness, events.Staleness(now, confirmed).Seconds(), string(bucket))
		}
	}
	set := m.keys.Keys()
	count := m.counted(set, now)
	for state, n := range count.keys {
		gauge(m.keysBy, float64(n), state.String())
	}
	for kind, n := range count.issuers {
		gauge(m.issuersBy, float64(n), string(kind.kind), string(kind.status))
	}
	gauge(m.revoked, float64(m.keys.Revocations().Len()))
	gauge(m.rejected, float64(len(set.Rejected())))
	gauge(m.up, boolean(m.ready() == nil))
}

// natsWritable shows whether the embedded server takes writes; of another server, its own metrics tell.
func natsWritable(unwritable func() error) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "nats_writable", Help: "1 if the embedded NATS server takes writes, 0 if it could not write to its files and so takes no revocations either.",
	}, func() float64 { return boolean(unwritable() == nil) })
}

func boolean(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// counted returns the count of now, or of a moment ago.
func (m *feedMetrics) counted(set *events.Set, now time.Time) keyCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.count.keys == nil || now.Sub(m.count.at) > countAgain {
		m.count = countKeys(set, now)
	}
	return m.count
}

// keyStates are the states that a key in a set can have.
var keyStates = []events.KeyState{events.KeyActive, events.KeyRetiring, events.KeyPending, events.KeyExpired, events.KeyRevoked}

func countKeys(set *events.Set, now time.Time) keyCount {
	c := keyCount{at: now, keys: map[events.KeyState]int{}, issuers: map[issuerKind]int{}}
	for _, s := range keyStates { // a gauge that comes and goes looks like a fault
		c.keys[s] = 0
	}
	for key := range set.AllKeys() {
		c.keys[key.State(now)]++
	}
	for e := range set.Issuers() {
		c.issuers[issuerKind{e.Record.Type, e.Record.Status}]++
	}
	return c
}
