package issuer

import (
	"time"

	"github.com/keyherald/keyherald/events"
)

// Of the signing key's lease.
const (
	// leaseLife is how far in the future a lease ends when it is written: how long NATS may be away before a node stops
	// to issue tokens, about an hour and three quarters.
	leaseLife = 2 * time.Hour
	// renewEvery is how often a lease is written. Verifiers get a change for each node each time.
	renewEvery = 10 * time.Minute
	// leaseMargin is how long before its key's lease a token ends, in seconds: the tolerance for clocks that verifiers
	// may have.
	leaseMargin = int64(events.MaxLeeway / time.Second)
	// settleTime is how long a key must be in the node's own set before it signs, so that it is in the verifiers', too.
	settleTime = time.Second
	// lapseMargin is how long before its end a lease counts as ended for the node's keys, in seconds: more than lookEvery. No token has
	// been signed for leaseMargin then.
	lapseMargin = 2
	// lookEvery is how often a node looks at its own set for what has become of its key. That is a few loads of
	// memory. What must not wait is looked up for each token.
	lookEvery = 200 * time.Millisecond
	// lostAfter is how long after a write was acknowledged the set can be confirmed complete without it before the key
	// counts as lost. A confirmation that was under way at the time of the write takes less.
	lostAfter = 10 * time.Second
	// publishTimeout bounds one write of a lease, and at the end all of them together.
	publishTimeout = 5 * time.Second
	// unseenRetry is how soon a lease is written again if the write was acknowledged but is not seen in the set.
	unseenRetry = time.Minute
	// retryFirst and retryMost bound the backoff after a lease could not be written, and after a key was lost.
	retryFirst = time.Second
	retryMost  = 30 * time.Second

	defaultRotation = 24 * time.Hour
	// MinKeyRotation is the least that [Config.KeyRotation] may be. It keeps the number of keys of a node in a bucket, each of which stays there for three hours, low.
	MinKeyRotation = 10 * time.Minute
)

// Of tokens.
const (
	defaultTokenTTL = 15 * time.Minute
	// MaxTokenTTL is the most that [Config.TokenTTL] may be. It leaves a lease that could not be renewed for 45 minutes long enough for a new token.
	MaxTokenTTL = time.Hour
)

// Of requests and answers.
const (
	defaultStaleness = time.Hour
	// maxBody is the size of a token request's body, in bytes: an assertion has 8 KiB, audiences and scope at most 20.
	maxBody = 64<<10 - 1
	// usualBody is the size of the bodies for which there is memory before they arrive, in bytes. Others get it as they come.
	usualBody = 4 << 10
	// maxParams is the number of parameters in a form: no more are known than a token has audiences, and a few.
	maxParams = 64
	// retryAfter is what a client is told to wait when the node cannot answer.
	retryAfter = 5 * time.Second
	// jwksMaxAge is how long others may keep a list of keys. A revocation reaches them that late: they should follow
	// the events instead.
	jwksMaxAge = time.Minute
	// metadataMaxAge is how long others may keep the metadata, which changes with the program's version only.
	metadataMaxAge = time.Hour
)

// Of authentications that fail. A good client that was misconfigured is slowed down, and found in the log; a secret of 256 bits is not guessed
// at any rate.
const (
	// An address may fail 50 times at once, and then once a second: some of them have many clients behind them.
	addressBurst = 50
	addressEvery = time.Second
	// A client may fail 20 times at once, and then once in five seconds.
	clientBurst = 20
	clientEvery = 5 * time.Second
	// An address that fails 2,000 times at once, and then 200 times a second, is not heard: each costs a signature's check, so that is a
	// fiftieth of a processor.
	floodBurst = 2000
	floodRate  = 200
	// throttleMemory is how many addresses, and how many clients, are remembered: some megabytes. Whoever has more addresses than that is
	// limited by what the network gives.
	throttleMemory = 1 << 14
	// A client may revoke 500 tokens at once, and then 5 a second: each is in the memory of every verifier for as long as a token may live.
	revokeBurst = 500
	revokeRate  = 5
)
