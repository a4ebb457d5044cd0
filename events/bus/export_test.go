package bus

import "github.com/keyherald/keyherald/events"

// What the tests outside the package need of its inside.

// NewFeedWithJitter and NewKeySetFromSources take the jitter from the test, so that a simulation can be repeated.
var (
	NewFeedWithJitter    = newFeed
	NewKeySetFromSources = newKeySet
)

// The feeds of a key set.
func (k *KeySet) KeysFeed() *Feed        { return k.keysFeed }
func (k *KeySet) RevocationsFeed() *Feed { return k.revFeed }

// CheckVersion is what SetUp asks of a server's version.
var CheckVersion = checkVersion

// NewReporter is what a key set hands its reports to. It returns how to hand one in, and how to end it.
func NewReporter(send func(events.Name, events.KeyID) error) (report func(events.Name, events.KeyID), stop func()) {
	r := newReporter(send)
	return r.report, r.close
}
