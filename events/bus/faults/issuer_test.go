//go:build linux

package faults_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// answers returns a check whether a node of the token service says that it is ready, with a status.
func answers(ready string) func(status int) func() bool {
	client := &http.Client{Timeout: 5 * time.Second}
	return func(status int) func() bool {
		return func() bool {
			response, err := client.Get(ready)
			if err != nil {
				return false
			}
			response.Body.Close()
			return response.StatusCode == status
		}
	}
}

// TestF_AnIssuerOnTheSideOfTheFewIsNotReady has a node of the token service that knows nobody but the leader, which is cut off from the others, and one
// that knows them.
func TestF_AnIssuerOnTheSideOfTheFewIsNotReady(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	leader := c.LeaderOf(bus.Keys)
	a, b := (leader+1)%3, (leader+2)%3
	few := answers(c.StartIssuer(c.Nodes[leader].URL(), maxStaleness, platform))
	many := answers(c.StartIssuer(c.Nodes[a].URL()+","+c.Nodes[b].URL(), maxStaleness, platform))
	eventstest.Eventually(t, "one issuer is ready", few(http.StatusOK))
	eventstest.Eventually(t, "the other issuer is ready", many(http.StatusOK))
	c.Partition([]int{a, b}, []int{leader})
	eventstest.Eventually(t, "the issuer of the few is not ready", few(http.StatusServiceUnavailable))
	eventstest.Eventually(t, "the issuer of the many is ready", many(http.StatusOK))
	if few(http.StatusOK)() {
		t.Error("the issuer of the few is ready, and its server decides nothing")
	}
	c.Mend()
	eventstest.Eventually(t, "the issuer of the few is ready again", few(http.StatusOK))
}

// TestF_AnIssuerIsNotReadyWhileItsClusterDoesNotDecide has a node of the token service beside a cluster of which two nodes are paused, and then
// one cut off from the others. By its policy it stops answering, and begins again by itself.
func TestF_AnIssuerIsNotReadyWhileItsClusterDoesNotDecide(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	is := answers(c.StartIssuer(c.URL(), maxStaleness, platform))
	eventstest.Eventually(t, "the issuer is ready", is(http.StatusOK))
	for what, happen := range map[string]struct{ begin, end func() }{
		"two nodes are paused": {
			func() { c.Nodes[0].Pause(); c.Nodes[1].Pause() },
			func() { c.Nodes[0].Resume(); c.Nodes[1].Resume() },
		},
		"no node reaches another": {func() { c.Partition() }, c.Mend},
	} {
		happen.begin()
		eventstest.Eventually(t, "the issuer is not ready when "+what, is(http.StatusServiceUnavailable))
		happen.end()
		eventstest.Eventually(t, "the issuer is ready again after "+what, is(http.StatusOK))
	}
	leader := c.LeaderOf(bus.Keys)
	c.Nodes[leader].Pause() // the others go on without it
	defer c.Nodes[leader].Resume()
	eventstest.Eventually(t, "another node decides", func() bool { return c.LeaderOf(bus.Keys) != leader })
	eventstest.Eventually(t, "the issuer is ready without the leader of before", is(http.StatusOK))
}
