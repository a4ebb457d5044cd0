package bus

import (
	"github.com/nats-io/nats.go"

	"github.com/keyherald/keyherald/events"
)

// What the tests outside the package need of its inside.

// NewFeedWithJitter and NewKeySetFromSources take the jitter from the test, so that a simulation can be repeated.
var (
	NewFeedWithJitter    = newFeed
	NewKeySetFromSources = newKeySet
)

// The feeds of a key set.
func (k *KeySet) KeysFeed() *Feed        { return k.keysFeed }
func (k *KeySet) RevocationsFeed() *Feed { return k.revFeed }

// NewReporter is what a key set hands its reports to. It returns how to hand one in, and how to end it.
func NewReporter(send func(events.Name, events.KeyID) error) (report func(events.Name, events.KeyID), stop func()) {
	r := newReporter(send)
	return r.report, r.close
}

// PublishHarmless publishes what Try does, changed.
func (c *Conn) PublishHarmless(subject string, change func(*nats.Msg)) error {
	msg := harmless(subject)
	change(msg)
	if err := c.nc.PublishMsg(msg); err != nil {
		return err
	}
	return c.nc.Flush()
}

// ReadThrough is what [Conn.Read] does with a watch.
var ReadThrough = readThrough
