//go:build linux

package faults_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/keyherald/keyherald/events/eventstest"
)

func startServe(t *testing.T) *eventstest.Cluster {
	t.Helper()
	return eventstest.StartServe(t, filepath.Join(t.TempDir(), "data"), platform)
}

// onServe tries something on keyherald serve, with each of the seeds.
func onServe(t *testing.T, seeds int, happen func(*trial)) {
	t.Helper()
	t.Parallel()
	forSeeds(t, startServe(t), seeds, happen)
}

func TestF_ServeIsKilledMidWrite(t *testing.T) {
	onServe(t, 3, (*trial).serveKilled)
}

func (tr *trial) serveKilled() {
	for range 3 {
		tr.Nodes[0].Kill()
		tr.during(tr.between(0, time.Second))
		tr.Nodes[0].Start()
		tr.during(tr.between(0, 2*time.Second))
	}
}

func TestF_ServeIsPaused(t *testing.T) {
	onServe(t, 1, (*trial).servePaused)
}

func (tr *trial) servePaused() {
	tr.Nodes[0].Pause()
	tr.during(tr.lasting(maxStaleness+2*time.Second, 15*time.Second))
	tr.Nodes[0].Resume()
}

func TestF_ServeLosesItsVerifiers(t *testing.T) {
	onServe(t, 2, (*trial).cutOff)
}
