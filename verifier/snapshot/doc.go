// Package snapshot keeps the last complete key set in a file, so that a verifier can start while NATS is down.
//
// It promises:
//
//   - the file is the old one or the new one, whatever ends the process or the machine while it is written: it is written beside the
//     old one, synced, and moved into its place. Of two processes that share a file the last one to write has it, whole;
//   - a file that is cut off, damaged, of another version, too large, open to others, somebody else's, or none is not used at
//     all, and the log says so once. The next good one takes its place;
//   - what takes trust away is on the disk soon: a revoked key or token, but also a key that is removed, retired, replaced or put off, and
//     an issuer that is changed or disabled; see below for how soon. What was seen revoked by a record of its own stays in force after
//     a start although the bucket may have lost it meanwhile, whether NATS can be reached then or not. That one of the buckets cannot
//     be read keeps nothing of the other from the disk, where the set gets no newer by it;
//   - a set from the file counts as old as the clock on the wall says that it is, and never as up to date: what is not in it may exist. One
//     that was confirmed in the future, because a clock was set back, counts as never confirmed;
//   - once NATS is there the buckets are read from the beginning, into a fresh set that takes the place of the file's at one moment;
//   - of a file that was made for other issuers than are followed now, only the revocations are used;
//   - reading the set takes no lock and waits for nothing.
//
// # A start that is refused
//
// The file stands in for a server that is not there, and not for one that says no. When NATS refuses the credential within the two seconds in
// which a start waits for it, [Follow] returns that error, although there is a file: it was made with a credential that may have been
// withdrawn, and a service that went on from there would only get older, until it refuses everything, long after the mistake was made. A
// refusal that comes later is logged, and the connection tried again.
//
// # How soon
//
// The file is written whole, so that the wait grows with the time that this took the last time. From one write to the next it is
//
//	less than 250 ms (some 50,000 keys)   1 s, whatever has changed
//	more                                  4 times as long, 1 s at least, if trust was taken away;
//	                                      50 times as long, 10 s at least, for anything else
//
// and then comes the half second in which a change is noticed, and the time that writing takes. So of a million keys, which take 5 s, a
// revoked one is on the disk half a minute later at worst: a start without NATS in between would be from the file before. What has not
// been written yet is written when the set is closed, but not when the process is killed. After a write that has failed, on a full disk,
// the next is tried after two seconds, and after twice as long each time, up to a minute.
//
// # What the file is trusted for
//
// There is nothing secret in it. But what it says is believed: whoever can write it, or put another in its place, can add a
// key and so make tokens that are accepted, until NATS is there; whoever puts back an old one takes back the revocations since, until NATS
// is there, and is limited by the age that the file says it has. So it must belong to the user that reads it, with no right to
// write for others, in a directory where nobody else can write. Its loss costs the start without NATS, and the memory of
// revocations that the bucket has lost.
//
// The file does not say which installation it is of. Do not copy it from one to another, and give each its own path: a verifier would start
// from the keys of the other, until NATS is there.
//
// In Kubernetes, whatever is in a volume becomes writable for its group whenever a pod with an fsGroup mounts it, and such a file is refused.
// Leave fsGroup out and give the directory to the user of the container, or set fsGroupChangePolicy to OnRootMismatch.
//
// # Files
//
// FILE is a snapshot as package events describes it ([events.Snapshot]), with mode 0600. FILE.confirmed says that it was still complete
// later, so that a large file need not be written again and again for that; it names the snapshot by its digest, and means nothing
// beside another. FILE.new-* and FILE.confirmed.new-* are being written, or were when a process was killed: they are removed after ten
// minutes.
package snapshot
