package metrics_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
	"github.com/keyherald/keyherald/verifier/metrics"
)

// figures is a source that says what it is told.
type figures verifier.Stats

func (f figures) Stats() verifier.Stats { return verifier.Stats(f) }

func some() figures {
	f := figures{
		Accepted: 11, CacheHits: 7, Refused: map[verifier.Reason]uint64{}, CachedTokens: 5, CacheMemory: 4096, KeyTables: 3, KeyTableMemory: 45056,
		TableBuilds: 9, Issuers: 21, Keys: 22, Revocations: 23,
		Status: verifier.Status{Revision: 77, Confirmed: true, Staleness: 1500 * time.Millisecond, Stale: true, Missing: 4},
	}
	for i, reason := range verifier.Reasons() {
		f.Refused[reason] = uint64(100 + i)
	}
	return f
}

func gather(t *testing.T, source metrics.Source) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(source))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// Every figure of the statistics is in the scrape: one that is added there is added here.
func TestEveryFigureIsInTheScrape(t *testing.T) {
	source := some()
	want := map[string]float64{
		"verifier_tokens_total accepted ": 11, "verifier_cache_hits_total": 7, "verifier_cached_tokens": 5, "verifier_cache_bytes": 4096,
		"verifier_key_tables": 3, "verifier_key_table_bytes": 45056, "verifier_key_tables_built_total": 9, "verifier_issuers": 21, "verifier_keys": 22,
		"verifier_revoked_tokens": 23, "verifier_revision": 77, "verifier_staleness_seconds": 1.5, "verifier_stale": 1, "verifier_missing_messages": 4,
	}
	for reason, n := range source.Refused {
		outcome := "refused"
		if reason == verifier.ReasonStale || reason == verifier.ReasonBehind {
			outcome = "undecided"
		}
		want[fmt.Sprintf("verifier_tokens_total %s %s", outcome, reason)] = float64(n)
	}
	got := gather(t, source)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if fields := reflect.TypeFor[verifier.Stats]().NumField() + reflect.TypeFor[verifier.Status]().NumField() - 1; fields != 16 {
		t.Errorf("the statistics have %d figures: this test knows 16", fields)
	}
}

func TestASetThatWasNeverCompleteIsInfinitelyStale(t *testing.T) {
	source := some()
	source.Confirmed, source.Staleness = false, 0
	if got := gather(t, source)["verifier_staleness_seconds"]; !math.IsInf(got, 1) {
		t.Errorf("staleness is %v", got)
	}
}

// feed is an empty set.
type feed struct {
	keys        *events.Set
	revocations *events.Revocations
}

func (f feed) Keys() *events.Set                { return f.keys }
func (f feed) Revocations() *events.Revocations { return f.revocations }
func (f feed) Confirmed() time.Time             { return time.Now() }

// All series are there from the beginning: one that comes with the first refusal is one that an alert has not seen before.
func TestAVerifierHasAllItsSeriesFromTheBeginning(t *testing.T) {
	v, err := verifier.New(verifier.Config{Audience: "https://billing"}, feed{events.NewSet(nil), events.NewRevocations(nil)})
	if err != nil {
		t.Fatal(err)
	}
	before := len(gather(t, v))
	if _, err := v.Verify("garbage"); err == nil {
		t.Fatal("accepted")
	}
	after := gather(t, v)
	if len(after) != before {
		t.Errorf("%d series before the first token, %d after", before, len(after))
	}
	if n := after["verifier_tokens_total refused "+string(verifier.ReasonMalformed)]; n != 1 {
		t.Errorf("%v malformed tokens", n)
	}
}

func TestTheMetricsAreNamedWell(t *testing.T) {
	problems, err := testutil.CollectAndLint(metrics.NewCollector(some()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, strings.TrimSpace(p.Text))
	}
}
