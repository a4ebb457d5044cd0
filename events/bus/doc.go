// Package bus carries records over NATS JetStream: it connects, creates the buckets with their settings, writes by compare-and-set,
// and follows a bucket with a supervised feed. It is the only package that talks to NATS.
//
// # Writing
//
// Every write says which revision it replaces ([Conn.Put]), so two writers never overwrite each other unseen; [Conn.Update]
// reads, decides and writes, and decides again after a conflict. A write whose answer got lost is looked up before anything
// is reported: the error is [ErrUnknownOutcome] only if it could not be found out within the context's time. Nor is a conflict believed before
// it was looked at what is there instead: it may be the write itself. A write that was acknowledged is on disk.
//
// # Following
//
// A [Feed] brings every message of a bucket, in order and at least once, to a [Follower], and knows whether that was all. It
// does not trust the subscription to tell when something is missing: the subscription can fall silent, lose a message,
// or go on as if nothing had happened after the bucket was restored to an older state. So
//
//   - the feed has caught up only when it has seen everything up to the last sequence that the stream had before it began;
//   - every disconnect, error, gap in the consumer's numbers, missing heartbeat, or heartbeat that is ahead of the last message
//     ends the subscription, and nothing that it still delivers is used; the next one starts at the last message applied, which
//     must be the same one still (revision, name, time and content), else everything is read again into a fresh fold;
//   - every three seconds or so it asks the stream for its last sequence. If that is what has been applied, the set is confirmed to be
//     complete; if it is more and nothing arrives, the subscription has fallen silent and is replaced; if it is less, the bucket was
//     set back and everything is read again;
//   - a question without an answer is asked again, with more patience: after the loss of a server thousands ask the others at once, and
//     whoever takes a late answer for none makes them answer later still;
//   - in a cluster the answer counts from when a majority of the servers last followed the one that gave it, and not at all if that
//     was long ago, or if it is not their leader: who is cut off from the others, was paused, or has lost its store, does not know better;
//   - a server passes over messages that it cannot read any more, and does not say so. What a full read brings is compared with
//     how many messages there are: if some are missing, everything is read again a few times, perhaps from another server, and then the feed
//     goes on without, and says so ([FeedStatus]).
//
// [KeySet] follows KEYS and REVOCATIONS together: it is what verifiers and issuer nodes hold. It can begin with what an earlier one has
// left ([KeySet.Snapshot]), and keep the records of some issuers only ([KeySetConfig]).
//
// Records that are not kept are delivered all the same. The server could leave them out, but only for a credential that may make
// consumers with any filters: a leaked one could then have the server compare every message with tens of thousands of filters, or give
// another verifier's consumer filters under which it misses a revocation and does not know. And only what a feed has looked at itself, it
// knows to be of no concern.
//
// # Unknown keys
//
// The keys of external issuers get into KEYS by whoever fetches them. On the subjects keyherald.unknown-key.<issuer> anybody may say
// that tokens come with a kid that is not there yet, the kid being the whole message ([KeySet.ReportUnknownKey],
// [Conn.OnUnknownKey]). These are no records: nothing stores them, they may get lost, and they prove nothing.
package bus
