// Package refresh keeps the keys of external issuers fresh: it fetches what they publish, and puts it into KEYS, so that all verifiers and
// nodes have an issuer's new key within milliseconds, and none of them ever fetches anything.
//
// A [Refresher] runs in every process that may write records; by a lease in the bucket USAGE one of them works, and another takes over
// when that one has been silent for half a minute. It fetches the jwks_uri of every active external issuer
//
//   - when the cache headers of the last answer say so, but within 5 min and 1 h, and 15 min if they do not say;
//   - at once when an issuer appears or its record changes, and when somebody reports a kid that is not known: a verifier or a token
//     service that got a token with it, or an operator. Of one issuer at most twice in a row and then once in ten seconds, however many
//     kids are reported; a kid that was not there is not looked for again for 30 s, then twice as long each time.
//
// # What is taken
//
// [ReadJWKS] says what of a set is used; what a provider withdraws is not trusted from then on, and a key's own exp is that of
// its record. All of it goes through [registry.Registry.SyncKeys]: what an operator has registered, ended or revoked stays so. When a fetch
// fails in any way (no answer, another status than 200, no JSON, no usable key) the last good keys stay until their own exp, if they have
// one, and it is tried again after up to 30 s, then twice as long each time up to 10 min. So a provider that is gone for a day takes no token
// down. One whose keys must not be trusted any more is disabled, or its keys are revoked.
//
// # What a provider can do
//
// An issuer is believed only what it says of itself: its keys count under its own name, in tokens with its own iss. It can have at most 50
// keys at a time, and 100 new ones a day, be it under kids that were there before, or with another exp only; which node works makes no
// difference. It is asked by a [Fetcher], which can be sent to public addresses only, does not follow redirects and knows no proxy
// (HTTP_PROXY and the like are not read), and which reads at most 1 MiB in at most 10 s.
//
// # Where it is told
//
// Each failure and each change is a line of the log; [Refresher.Status] has the states and counters of this node. For others, the node that
// works leaves a [State] in USAGE for each issuer.
package refresh
