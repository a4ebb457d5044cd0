//go:build linux

package faults_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/bus"
	"github.com/keyherald/keyherald/events/eventstest"
)

// TestF_AnIssuerIsNotReadyWhileItsClusterDoesNotDecide has a node of the token service beside a cluster of which two nodes are paused, and then
// one cut off from the others. By its policy it stops answering, and begins again by itself.
func TestF_AnIssuerIsNotReadyWhileItsClusterDoesNotDecide(t *testing.T) {
	t.Parallel()
	c := eventstest.StartCluster(t)
	ready := c.StartIssuer(maxStaleness, platform)
	client := &http.Client{Timeout: 5 * time.Second}
	is := func(status int) func() bool {
		return func() bool {
			response, err := client.Get(ready)
			if err != nil {
				return false
			}
			response.Body.Close()
			return response.StatusCode == status
		}
	}
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
