// Package eventstest is the test kit of everything that follows the buckets:
//
//   - [Stream] is a bucket in memory, with faults: what a server, a network or an administrator can do to a bucket can be done to
//     it, on the clock of testing/synctest;
//   - [NATS] is an embedded server in a temporary directory, and [Proxy] a network between it and its clients that can be cut,
//     frozen or made to swallow answers;
//   - [Cluster] is three nats-servers that keep the buckets together, each a [Process] that can be killed and paused, with networks between
//     them that can be cut one by one (on Linux);
//   - [TestSource] and [TestFeed] are what every implementation of [bus.Source] must pass, and every feed on it;
//   - [NatsCLI] is the unmodified nats command;
//   - [Log] collects what others write, to be read while they do.
package eventstest
