package refresh

import "time"

// Of what a provider may send. It is somebody else, and may be hostile.
const (
	// maxBody is the size of a document, in bytes. Sets of the large providers have 2 to 20 KiB.
	maxBody = 1 << 20
	// maxHeader is the size of an answer's headers, in bytes.
	maxHeader = 64 << 10
	// maxKeys is how many keys of a set are used. Providers publish two to a dozen.
	maxKeys = 50
	// maxElements is how many keys of a set are looked at, of any use.
	maxElements = 500
	// maxETag is the length of an entity tag that is sent back, in bytes.
	maxETag = 256
	// fetchTimeout is what one document may take in all: name, connection, TLS and body.
	fetchTimeout = 10 * time.Second
	// maxNewKeys is how many keys of an issuer are registered, or changed under their kid, within a day: each is a write that goes to
	// every verifier, and stays in the bucket for ever, if only as a marker.
	maxNewKeys = 100
	newKeysPer = 24 * time.Hour
)

// Of when a provider is asked.
const (
	// A set is fetched again when its cache headers say that it may have changed, but within these.
	leastLife = 5 * time.Minute
	mostLife  = time.Hour
	// defaultLife is for answers that do not say.
	defaultLife = 15 * time.Minute
	// After a failure it is tried again within 30 s, and at last within 10 min.
	firstRetry = 30 * time.Second
	lastRetry  = 10 * time.Minute
	// forcedEvery is how often it is asked because somebody reports an unknown kid, after the first forcedBurst times.
	forcedEvery = 10 * time.Second
	forcedBurst = 2
	// A kid that was not there is not looked for again for so long; twice as long each time.
	firstMiss = 30 * time.Second
	lastMiss  = 15 * time.Minute
	// maxMisses is how many such kids are remembered of an issuer.
	maxMisses = 1024
	// maxWanted is how many reported kids of an issuer are looked up in one fetch. One is enough to make it happen.
	maxWanted = 64
	// maxFetches is how many providers are asked at one time.
	maxFetches = 4
)

// Of the node itself.
const (
	// defaultLease is how long the holder of the lease may be silent before another node takes over.
	defaultLease = 30 * time.Second
	// renewals is how often a lease is renewed within its length.
	renewals = 3
	// publishTimeout bounds the writes that follow from one fetch.
	publishTimeout = 30 * time.Second
	// stateTimeout bounds leaving the state of an issuer for others to read.
	stateTimeout = 5 * time.Second
	// stopTimeout bounds giving the lease back.
	stopTimeout = 2 * time.Second
	// reportBacklog and changeBacklog are how many reports and changes may wait. Reports beyond are dropped; after lost changes everything is
	// looked up.
	reportBacklog = 256
	changeBacklog = 1 << 10
)
