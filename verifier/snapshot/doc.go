// Package snapshot keeps the last complete key set in a file, so that a verifier can start while NATS is down.
//
// It promises:
//
//   - the file is the old one or the new one, whatever ends the process or the machine while it is written: it is written beside the
//     old one, synced, and moved into its place. Of two processes that share a file the last one to write has it, whole;
//   - a file that is cut off, damaged, of another version, too large, open to others, somebody else's, or none is not used at
//     all, and the log says so once. The next good one takes its place;
//   - what was seen revoked is on the disk within a second or so, and stays in force after a start although the bucket may have
//     lost it meanwhile, whether NATS can be reached then or not;
//   - a set from the file counts as old as the clock on the wall says that it is, and never as up to date: what is not in it may exist. One
//     that was confirmed in the future, because a clock was set back, counts as never confirmed;
//   - once NATS is there the buckets are read from the beginning, into a fresh set that takes the place of the file's at one moment;
//   - of a file that was made for other issuers than are followed now, only the revocations are used;
//   - reading the set takes no lock and waits for nothing.
//
// # What the file is trusted for
//
// There is nothing secret in it. But what it says is believed: whoever can write it, or put another in its place, can add a
// key and so make tokens that are accepted, until NATS is there; whoever puts back an old one takes back the revocations since, until NATS
// is there, and is limited by the age that the file says it has. So it must belong to the user that reads it, with no right to
// write for others, in a directory where nobody else can write. Its loss costs the start without NATS, and the memory of
// revocations that the bucket has lost.
//
// # Files
//
// FILE is a snapshot as package events describes it ([events.Snapshot]), with mode 0600. FILE.confirmed says that it was still complete
// later, so that a large file need not be written again and again for that; it names the snapshot by its digest, and means nothing
// beside another. FILE.new-* and FILE.confirmed.new-* are being written, or were when a process was killed: they are removed after ten
// minutes.
package snapshot
