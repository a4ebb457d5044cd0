package bus

// What the tests outside the package need of its inside.

// NewFeedWithJitter and NewKeySetWithJitter take the jitter from the test, so that a simulation can be repeated.
var (
	NewFeedWithJitter   = newFeed
	NewKeySetWithJitter = newKeySet
)

// The feeds of a key set.
func (k *KeySet) KeysFeed() *Feed        { return k.keysFeed }
func (k *KeySet) RevocationsFeed() *Feed { return k.revFeed }

// CheckVersion is what CheckServer asks of a server's version.
var CheckVersion = checkVersion
