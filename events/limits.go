package events

import "time"

// Limits of what is written to and accepted from the buckets. A record over a limit is malformed.
const (
	// MaxValue is the size of a record's JSON text, in bytes. The streams refuse larger messages, too.
	MaxValue = 16 << 10
	// MaxName is the length of an issuer's name, in characters: a name is a part of URLs and subjects.
	MaxName = 64
	// MaxKeyID is the length of a kid of the plain alphabet, in characters.
	MaxKeyID = 128
	// MaxForeignKeyID is the length of any other kid, in bytes: a token's header has 1 KiB in all.
	MaxForeignKeyID = 256
	// MaxAudiences is how many audiences, and how many resources, an issuer record has.
	MaxAudiences = 64
	// MaxURI is the length of an audience, an issuer identifier or another URI, in bytes.
	MaxURI = 1024
	// MaxScope is the length of a scope, in bytes; 8 KiB is what a whole token has.
	MaxScope = 4 << 10
	// MaxSecrets is how many API keys, certificates or federated identities a client has of each.
	MaxSecrets = 16
	// MaxReason is the length of the reason that is kept with a revocation, in bytes.
	MaxReason = 256
	// MaxProfileName, MaxTag and MaxOptions are the lengths in a client's profile of its name, of a tag's name and value, and
	// of the options as JSON text, in bytes. MaxTags is how many tags it has. They bound what a list of clients is long.
	MaxProfileName = 128
	MaxTag         = 128
	MaxOptions     = 2 << 10
	MaxTags        = 32
	// MaxClientKeys is how many keys of a client are pending, active or retiring at one time. The registry enforces
	// it; the fold does not, because a set must not depend on the order in which clients were filled.
	MaxClientKeys = 5

	// MinRSABits and MaxRSABits bound an RSA modulus: below it is weak (NIST SP 800-131A), above it a single
	// verification costs as much as an attack.
	MinRSABits = 2048
	MaxRSABits = 8192

	// History is how many revisions a bucket keeps of one name in KEYS and CLIENTS. It is part of the fold: a valid value
	// counts until as many malformed ones have followed it.
	History = 16

	// DefaultTokenTTL is the longest life of a token whose issuer record does not say.
	DefaultTokenTTL = time.Hour
	// MaxTokenTTL is the longest life of any token: a revocation must be kept as long.
	MaxTokenTTL = 24 * time.Hour
	// MaxLeeway is the largest tolerance for clocks that a verifier may be configured with.
	MaxLeeway = 60 * time.Second
	// RevocationsMaxAge is how long the REVOCATIONS bucket keeps a message.
	RevocationsMaxAge = MaxTokenTTL + 2*MaxLeeway
	// LeaseKeep is how long after its exp a platform key is still kept, by the bucket (as message TTL) and by a set.
	LeaseKeep = time.Hour
)
