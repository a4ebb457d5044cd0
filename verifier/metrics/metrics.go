// Package metrics shows to Prometheus what a verifier does. It is apart from package verifier, so that a service which
// has no Prometheus does not compile it.
//
//	prometheus.WrapRegistererWithPrefix("keyherald_", registry).MustRegister(metrics.NewCollector(v))
package metrics

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyherald/keyherald/verifier"
)

// Source tells its figures at any time. [*verifier.Verifier] is one.
type Source interface{ Stats() verifier.Stats }

var _ Source = (*verifier.Verifier)(nil)

// collector reads the figures of a source at the time of each scrape.
type collector struct {
	source  Source
	tokens  *prometheus.Desc
	figures []figure
}

// figure is a metric without labels.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*verifier.Stats) float64
}

// NewCollector returns the metrics of a verifier, all of them from the first scrape on:
//
//	verifier_tokens_total{outcome,reason}  outcome: accepted, refused, undecided; reason: one of verifier.Reasons, empty for accepted
//	verifier_cache_hits_total              tokens accepted by the cache; they are in the total, too
//	verifier_cached_tokens, verifier_cache_bytes
//	verifier_key_tables, verifier_key_table_bytes, verifier_key_tables_built_total
//	verifier_revision                      complete up to here
//	verifier_staleness_seconds             time since the set was last known to be complete; +Inf if it never was
//	verifier_stale                         1 if every token is undecided
//	verifier_missing_messages              messages that the NATS server has and does not deliver: its files are damaged
//	verifier_issuers, verifier_keys, verifier_revoked_tokens
func NewCollector(source Source) prometheus.Collector {
	c := &collector{
		source: source,
		tokens: prometheus.NewDesc("verifier_tokens_total", "Tokens verified, by outcome and reason.", []string{"outcome", "reason"}, nil),
	}
	add := func(kind prometheus.ValueType, name, help string, value func(*verifier.Stats) float64) {
		c.figures = append(c.figures, figure{prometheus.NewDesc("verifier_"+name, help, nil, nil), kind, value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add(counter, "cache_hits_total", "Tokens accepted by the cache of verified tokens.", func(s *verifier.Stats) float64 { return float64(s.CacheHits) })
	add(gauge, "cached_tokens", "Tokens in the cache of verified tokens.", func(s *verifier.Stats) float64 { return float64(s.CachedTokens) })
	add(gauge, "cache_bytes", "Memory of the cache of verified tokens.", func(s *verifier.Stats) float64 { return float64(s.CacheMemory) })
	add(gauge, "key_tables", "Keys that have a precomputed table.", func(s *verifier.Stats) float64 { return float64(s.KeyTables) })
	add(gauge, "key_table_bytes", "Memory of the precomputed tables.", func(s *verifier.Stats) float64 { return float64(s.KeyTableMemory) })
	add(counter, "key_tables_built_total", "Precomputed tables made.", func(s *verifier.Stats) float64 { return float64(s.TableBuilds) })
	add(gauge, "revision", "The set has everything in the bucket up to this revision.", func(s *verifier.Stats) float64 { return float64(s.Revision) })
	add(gauge, "staleness_seconds", "Time since the set was last known to be complete.", staleness)
	add(gauge, "stale", "1 if the set is older than the staleness limit, so that no token is decided.", stale)
	add(gauge, "missing_messages", "Messages that the NATS server says are in the buckets, and does not deliver: its files are damaged.", func(s *verifier.Stats) float64 { return float64(s.Missing) })
	add(gauge, "issuers", "Issuers in the set.", func(s *verifier.Stats) float64 { return float64(s.Issuers) })
	add(gauge, "keys", "Keys in the set, revoked ones included.", func(s *verifier.Stats) float64 { return float64(s.Keys) })
	add(gauge, "revoked_tokens", "Single tokens that are revoked and have not ended.", func(s *verifier.Stats) float64 { return float64(s.Revocations) })
	return c
}

func staleness(s *verifier.Stats) float64 {
	if !s.Confirmed {
		return math.Inf(1)
	}
	return s.Staleness.Seconds()
}

func stale(s *verifier.Stats) float64 {
	if s.Stale {
		return 1
	}
	return 0
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.tokens
	for _, f := range c.figures {
		descs <- f.desc
	}
}

func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	s := c.source.Stats()
	tokens := func(n uint64, outcome string, reason verifier.Reason) {
		metrics <- prometheus.MustNewConstMetric(c.tokens, prometheus.CounterValue, float64(n), outcome, string(reason))
	}
	tokens(s.Accepted, "accepted", "")
	for reason, n := range s.Refused {
		outcome := "refused"
		if reason.Undecided() {
			outcome = "undecided"
		}
		tokens(n, outcome, reason)
	}
	for _, f := range c.figures {
		metrics <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&s))
	}
}
