// Package backup saves all records in one file, and restores them: to new buckets, or over existing ones that verifiers and nodes follow
// meanwhile. Everything that it does, it does with an operator's credential.
//
// # Records, and not the streams
//
// A backup is made of messages, as a reader of the bucket gets them, and restored as new messages by compare-and-set. JetStream's own
// snapshot of a stream would keep revisions and history; but it takes an admin's credential, which may delete streams; it restores only
// where the stream is not, so that there is a time without one; what it brings back is all that was, the key that was revoked since
// included, before anybody could object; and nobody but a server can read it. Here the file can be checked and read by anybody, and a
// restored bucket is one in which something was written, which every feed follows. What is lost: a restored record has a new revision
// and time, and no history. The file has all of them.
//
// # The file
//
// Lines of JSON, in UTF-8, each at most 64 KiB long, by the rules of package strictjson. Members that are not known mean nothing.
//
//	{"format":"keyherald backup","version":1,"made":time,"by":caller,"nats":version,"iss":…,"account":…}
//
// is the first: when, by whom and from what server it was made, and the platform whose records they are. Then the five buckets, each with
// a line of its own before and after its messages:
//
//	{"bucket":"KEYS","stream":"KV_KEYS","created":time,"first_seq":1,"last_seq":120}
//	{"name":"key.orders.k1","seq":7,"time":time,"caller":"cli:alice@laptop","value":"{\"kty\":…}"}
//	{"name":"key.orders.k2","seq":9,"time":time,"deleted":true}
//	{"end":"KEYS","through":121,"records":2}
//
// seq is the revision, and rises. A name or value that is not printable text is in name64 or value64 instead, in base64. Messages are all
// that the bucket retained when its stream was at the sequence through. The last line is
//
//	{"sha256":"…","records":3}
//
// with the SHA-256, in hexadecimal digits, of all bytes before it, and the number of messages. A file without it is not whole. The checksum
// is against damage, and no signature: whoever can change the file can make another checksum, and whoever restores it trusts it as
// much as an operator. So keep it as the operator's key is kept. It holds no secret: hashes of API keys (which are random), and public keys.
//
// Of message headers only the caller is kept, and that a message is a marker. A marker has no value, whatever it carried. The time that a
// message has to live is not kept: only the leases of the platform's keys have one, and these are not restored.
//
// # One moment
//
// Each bucket is as it was at one moment, and those of the later ones are later: KEYS, CLIENTS, USAGE, ASSERTIONS, REVOCATIONS. Who a client
// is and what it may do is so never newer than its credentials: a client that gets more rights after a leaked credential was taken
// from it is not saved with both. (A credential of a client that is not in the file lets nobody in.) What denies a single token or
// assertion is the newest of all.
//
// # What a restore does
//
// The file is read to its end and checked, before anything else. Then it is compared with the buckets ([Archive.Plan]); what counts is decided by the fold
// of package events, so that a malformed message hides no good one. By name,
//
//	issuer.…, key.…, CLIENTS   are made as they are in the backup: added, changed, brought back if they were deleted,
//	                           and deleted by marker if the backup does not have them
//	revoked.…, REVOCATIONS     are added. None goes away: any message revokes, so that no message takes it back
//	ASSERTIONS                 are added: what was used once may not be used again. Those that the bucket would have forgotten are not
//	USAGE                      is added where there is nothing: what the nodes have noted since is newer
//
// with these exceptions:
//
//   - key.platform.… are leases of the nodes of the token service, who alone have the private keys and make new ones. An old one would be
//     a key that nobody should have any more. They are neither restored nor deleted; tokens signed with one that is not there are refused.
//   - A key that the registry has fetched from its issuer is restored where there is nothing on its name. Otherwise the bucket knows better what
//     the issuer publishes.
//   - A revocation in REVOCATIONS that is over (its exp, or the longest life of a token, has passed) is not written again. The bucket would
//     keep it for another day, and make no difference. This is told by the clock of the server, which may be another one than that of
//     whoever restores.
//   - refresh.… in USAGE says which node fetches, and what it has met: of the past.
//   - Malformed messages, and names that mean nothing, are not restored, and left where they are. What denies does so by its name, and
//     is restored whatever its value is; without one that is larger than a record may be.
//
// # What was taken away since
//
// stays so, unless [Options.Undo] says otherwise:
//
//   - a client or issuer that is disabled, a later not_before, and the narrower of each bound: scope, aud, use, resource, offline, max_token_ttl.
//     An empty aud is no bound; so where those of backup and bucket have nothing in common, the bucket's are left
//   - an end of a key or API key that is earlier, a beginning of a key that is later, and a key that its record says is revoked
//   - credentials (API keys, certificates, identities) that a client's record does not have any more, and require_jti
//   - what the name stood for: where the bucket has another public key under a kid, an external issuer with another iss, or an issuer
//     of another type, the bucket's record is left as it is; so is the jwks_uri of an external issuer
//   - what malformed values have pushed out of a bucket's history: nobody can tell what that was, so that the name is left as it is
//
// All the rest of the record is the backup's. It is the bucket's record, compared with the backup's, that says what was taken away, and no
// clock. A record that was deleted returns with --force, because that is what people need backups for, and a key that was deleted may come
// back by definition; what its last value before had been taken is not given back with it, and if that was another key or issuer, neither
// returns. The plan lists all of this, by name, revision, time and caller.
//
// To new buckets nothing of this applies: what was revoked after the backup is not known there. Revoke it again. (A verifier that goes on
// running remembers what it has seen revoked.) And an assertion that was used after the backup can be used once more, until it ends.
//
// # The order of writing
//
// Phases, each of which is acknowledged before the next begins:
//
//  1. what denies: revocations, used assertions, keys that are there and that their record revokes or ends
//  2. delete markers
//  3. issuers and clients that are there and active: those that get disabled, and the bounds of the others, before any key gets in under them
//  4. credentials
//  5. keys
//  6. issuers and clients that are not there, or disabled: a key is trusted from here on, with everything that it should be bounded by
//
// So there is no moment in which something is accepted that is accepted neither before nor after, but for this: credentials that a client has
// before, and with [Options.Undo] a key that is replaced by another one under its kid, can meet the bounds that the client has after.
//
// # Others, and failures
//
// Every write says which revision it replaces: that of the plan. A record that somebody else has changed meanwhile is not overwritten; the
// restore ends with [ErrChanged]. What it has written until then, or until it was killed, is as it should be: another plan finds only the rest, and
// no write depends on one that was made before. At the end a second plan shows whether anything is left to do ([Archive.Restore]).
//
// Whether the buckets are those of the same platform (issuer URL and account) is asked first: of another they are refused ([ErrOtherPlatform])
// unless [Options] allow it, and even then the platform's own record is replaced, and never deleted. Buckets that a restore finds without any platform are new.
//
// Memory holds no records, but some 200 bytes for each name, and the values of those that are different.
package backup
