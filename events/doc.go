// Package events is the language that everything here speaks: the records in the buckets, their names, how they are read and
// written, and what set of keys follows from them. It does no I/O.
//
// It promises that what it reads is safe to use: every value is checked by one function per type, on the way in and on the
// way out. It promises that [Set] is a pure function of the messages that the bucket retains, the same on every node. And
// it promises that a malformed message crashes no reader and replaces nothing.
//
// This comment is the specification of the format. A writer in another language needs nothing else, and neither does
// an operator with the plain nats command.
//
// # Buckets
//
// A bucket is a NATS JetStream key-value bucket. A revision is the sequence of a message in its stream.
//
//	KEYS         issuers, their public keys, revoked keys; public material only   history 16, no expiry
//	REVOCATIONS  single revoked tokens                                            history 1, kept for 24 h 2 min
//	CLIENTS      how a client may authenticate at the token service               history 16
//	USAGE        what nodes and operators should know of, and nothing depends on  history 1
//
// A value is one JSON object of at most 16 KiB ([MaxValue]). Package strictjson says what JSON is here: no two members of
// one name, valid UTF-8, at most 8 levels deep, at most 64 members. Member names are case-sensitive.
//
//   - A time is a NumericDate in whole seconds (RFC 7519 §2), from 0 to 2^53-1. 1.0 and 1e9 are refused. An exp of 0 is refused.
//   - A text has no control characters. A list of strings has no string twice.
//   - A member that is not named below is unknown. It is kept when a record is rewritten, and means nothing.
//   - A member of the wrong type makes the whole record malformed. null is of no type: leave the member out.
//   - Times, false, empty texts and empty lists that say nothing are left out by our writers.
//
// # Names in KEYS
//
//	issuer.<name>         name: 1 to 64 of A-Z a-z 0-9 _ -, case-sensitive
//	key.<name>.<kid>      kid: 1 to 128 of the same characters
//	key.<name>.b64.<x>    any other kid: UTF-8 text of 1 to 256 bytes; x is its unpadded base64url
//	revoked.<name>.<kid>  likewise, or revoked.<name>.b64.<x>
//
// A record has exactly one name: b64 is refused for a kid that can stand as it is. A key is identified by issuer and kid,
// never by kid alone. See [ParseRecordName].
//
// # Issuer records
//
//	{"type":"client","status":"active","aud":["https://billing"],"scope":"billing:read","offline":true}
//
//	type           platform, client or external; required
//	status         active or disabled; required. The tokens of a disabled issuer are refused
//	aud            up to 64 texts of up to 1 KiB: audiences its tokens may carry. None: no limit
//	scope          up to 4 KiB, syntax of RFC 6749 §3.3: the most its tokens may carry. None: none
//	resource       like aud, client only: the audiences that this client is
//	offline        true or false, client only: it may mint its own tokens. Then aud must not be empty
//	max_token_ttl  1 to 86400 seconds; none: 3600
//	not_before     time: tokens issued at or before it are refused
//	iss            https URL of up to 1 KiB without query, fragment and user; http for loopback only.
//	               Required for platform, which has no slash at its end, and external. A client has none
//	use            external only, required: access_token, assertion or both. With access_token, aud must not be empty
//	jwks_uri       external only: URL, may have a query. Where the registry fetches the keys from
//	account        platform only: acc, then 8 to 33 of a-z 0-9 _ -
//	iat            time: when it was registered; information
//
// A platform has no aud, scope or resource. The name platform, and only it, is for the type platform.
//
// The iss of a client is derived when it is looked up: <iss of the platform>/v1/clients/<name>. So two issuers cannot claim one
// client's URL, and it does not matter whether the client's record or the platform's comes first.
//
// # Key records
//
//	{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","exp":1795000000}
//
// A public JWK (RFC 7517), with validity members as in OpenID Federation 1.0 §8.7.
//
//	OKP  crv Ed25519, x of 32 bytes (RFC 8037); alg none, EdDSA or Ed25519. Both names mean EdDSA
//	EC   crv P-256, x and y of 32 bytes each (RFC 7518 §6.2); alg none or ES256
//	RSA  n of 2048 to 8192 bits, odd; e odd, 3 to 2^31-1, both in their shortest form; alg RS256 or PS256, required
//
//	kid      none, or the one in the name
//	use      none or sig
//	key_ops  none, or a list with verify in it
//	iat      time: when the key was made; information
//	nbf      time: not trusted before it
//	exp      time after nbf: not trusted from then on
//	revoked  {"revoked_at":time,"reason":text of up to 256 bytes}, both optional: revoked as long as the record says so
//
// The record of a key that the registry has fetched has a member jwks_uri, which says where, and jwks_exp if its exp is what the issuer says
// of it: the same time. They mean nothing here. The registry removes such a key when its issuer does not publish it any more, and no other.
//
// Refused: symmetric keys and every private member, with an alarm ("a private key was put in a public bucket"); Ed25519 points of
// small order, in a non-canonical encoding or not on the curve; P-256 points not on the curve; RSA moduli of the generator of
// CVE-2017-15361; members of two types of keys in one record.
//
// # Revoked keys
//
// Any message on a name revoked.… revokes the key for ever, whatever its value, be it a marker. The value is meant to be
// {"revoked_at":…,"reason":…} as above; what the last such message says is shown, if it can be read.
//
// # The state of a key
//
// It is derived at the moment of asking and never stored ([KeyEntry.State]):
//
//	revoked   there is a name revoked.…, or the record has the member revoked
//	expired   from exp on
//	pending   before nbf
//	retiring  otherwise, with an exp
//	active    otherwise
//	unknown   there is no valid record
//
// Only active and retiring keys verify anything, and only those of an issuer with an active record. Keys without one
// are known, and not trusted.
//
// # The fold
//
// Messages are applied in the order of their revisions; one that is not newer than the last is ignored.
//
//   - Per name issuer.… and key.…, the last valid one of the retained 16 revisions counts.
//   - A delete or purge marker is valid, and removes the record. A key that was deleted may come back.
//   - A malformed value replaces nothing. It is reported with name, revision and reason ([Set.Rejected]) until a valid message
//     or a marker follows on its name. So is a message on a name that is none of the above.
//   - When 16 malformed revisions have followed a valid one, the bucket has dropped it. It does not count any more.
//   - Names revoked.… accumulate. A reader that must start afresh keeps the revocations that it has seen, even if the bucket has
//     lost them ([Set.KeepRevocations]).
//   - Keys of the platform are leases of its nodes: put with an exp, renewed, and dropped by the bucket (message TTL) 1 h after it. A
//     set forgets them at the first key put to the platform 1 h after their exp. A record that shortens a lease must stay in
//     the bucket at least as long as the longer ones before it, else these would come back. Nodes that have the same key renew its one
//     record together, and none of them shortens it.
//
// An iss is looked up in this order ([Set.IssuerOf]), byte by byte: the platform; the clients; the external issuers. An
// external issuer is not trusted under an iss that is the platform's or begins with its /v1/clients/. Two external
// issuers with one iss, disabled or not, are both not trusted, and reported ([Set.Ambiguous]).
//
// # REVOCATIONS
//
//	jti.<base64url of SHA-256(iss "\n" jti)>              {"exp":time,"reason":text of up to 256 bytes}
//	tok.<base64url of SHA-256(header "." payload)>        for a token without jti
//
// exp is that of the token, and required. Any message on such a name revokes the token: put, marker or malformed alike. It is
// forgotten 60 s after its exp ([MaxLeeway]), after 24 h 2 min if there is none or a later one, and never before.
//
// # CLIENTS
//
// The name is the client's. The fold is that of KEYS.
//
//	{"secrets":[{"id":"k3","sha256":"<64 hexadecimal digits>","iat":1790000000,"exp":1795000000}],"require_jti":true}
//
//	secrets      up to 16: id (alphabet of names, once each), sha256 of the whole API key, iat, exp after iat
//	require_jti  true or false: assertions of the jwt-bearer grant need a jti
//	tls          {"x5t#S256":[…]}: up to 16 base64url SHA-256 of the DER of certificates, each good by itself, whoever signed it; or
//	             one subject of certificates of an accepted authority (RFC 8705 §2.1.2): {"san_dns":"…"}, {"san_uri":"…"},
//	             {"san_ip":"…"}, {"san_email":"…"} or {"subject_dn":"…"} (RFC 4514 text, compared byte by byte)
//	federated    up to 16 of {"issuer":name,"sub":text,"aud":text}: whoever has an assertion of that external issuer for that
//	             subject and that audience alone is the client. sub is exact, or a prefix of at least one character before a * at its end
//	profile      {"name":text of up to 128 bytes,"options":JSON object of up to 2 KiB,"tags":{name:text}}, all optional, up to 32
//	             tags with names and values of up to 128 bytes: information. A record with nothing else is as good as none, and
//	             nodes of the token service do not hold it
//
// # USAGE
//
// Nothing in this bucket makes a token good or bad. Whoever reads it takes it for what somebody said.
//
//	<kind>.<client>.<credential>  {"at":time}: when a credential was last used at the token service, written at most once an hour. kind is
//	                       secret (credential: the id of an API key), key (a kid) or certificate (x5t#S256, if that is registered);
//	                       credential is written as a kid is in KEYS
//	refresh.lease          {"holder":text,"exp":time}: the node that fetches the keys of external issuers. Another one takes over when the
//	                       record has not changed for 30 s; exp is for people to read
//	refresh.issuer.<name>  {"success":time,"failure":time,"error":text,"next":time,"keys":number}: how that went last with one issuer
//
// # Writing
//
// A writer says which revision of the name it has seen (header Nats-Expected-Last-Subject-Sequence; 0: none). When the server
// says that there is another one, it reads again and decides again: what it wanted may be wrong by now. When no answer comes,
// the outcome is unknown: it reads, and compares, before it says that it failed. It keeps unknown members. It says who it is in
// the header Keyherald-Caller, which is information and no proof. Clients and issuers are disabled, not deleted, so that
// nobody else can take their name.
package events
