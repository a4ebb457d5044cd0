// Package verifier judges access tokens from a live local key set: no network call, no lock, no key fetched while a
// request waits.
//
//	v, err := verifier.Connect(ctx, verifier.Config{NATS: "nats://127.0.0.1:4222", SeedFile: "verifier.nk", Audience: "https://billing"})
//	if err != nil { … }
//	defer v.Close()
//
//	token, err := v.Verify(bearer)
//	switch {
//	case err == nil:                              // token.Client, token.Scope.Has("billing:read"), …
//	case errors.Is(err, verifier.ErrUndecided):   // 503 with Retry-After
//	default:                                      // 401; the reason is for the log, not for the caller
//	}
//
// # Three outcomes
//
// A token is valid, invalid, or undecided. A verifier that has lost contact with the bus goes on judging by what it has, and knows how
// old that is. When it cannot know, it says so instead of calling a good token bad or a bad one good:
//
//   - everything is undecided when the set was last confirmed to be complete longer than [Config.MaxStaleness] ago;
//   - an issuer or a kid that is not in the set, and a platform key whose lease has ended, is undecided unless the set was
//     confirmed within the last ten seconds. On a confirmed set, absence is proof: the token is invalid.
//
// # Starting without the bus
//
// [Connect] waits for the bus, unless there is a file to start from ([Config.Snapshot], package snapshot): the last complete set, kept up
// to date by whoever ran here before. It is judged like a set that has lost contact then: old, and never proof that something does not exist.
// What was seen revoked stays so through restarts, even if the bus has lost it.
//
// # What is checked
//
// In this order: size and form; header; claims; the issuer by exact iss; the key by issuer and kid, its state now, and
// that the token names the key's own algorithm; the signature; typ; the claims that must be there; aud; exp, nbf, iat; the token's
// life; that a client speaks only for itself; that the client is active and may have this aud, and the token was not issued before
// a cut-off; that the token is not revoked. The scope that results is never more than the client's (or external
// issuer's) record grants.
//
// A token is accepted from the platform and from clients that may mint their own; from external issuers only if [Config.Externals]
// names them and their record says that they issue access tokens.
//
// The keys of external issuers are in the set like all others: somebody else fetches them. A kid that such an issuer does not have
// is handed to the feed, if that takes it (ReportUnknownKey, as [*bus.KeySet] does), so that a new key is fetched at once. The
// token is refused all the same, until the key is in the set.
//
// # What it costs
//
// Most of the cost of a token that has not been seen before is its Ed25519 signature. A key that has verified several of them gets a
// precomputed table (package keytables), with which it takes about a third of the time; everything else together takes less than a
// twentieth, and one allocation, the [Token].
//
// A token that was accepted is remembered with what it was accepted for: its repeat costs a hundredth of a signature and no allocation, or
// a few hundredths, when there are so many that the processor's caches do not have them. It is accepted again only if its exp has not come,
// the issuer, the client and the key are what they were in the set of now, the key's own time has not ended, and the token is not
// revoked; else it is judged like a new one. So nothing is accepted any longer because it was remembered.
//
// [Config.TokenCacheMemory] and [Config.KeyTableMemory] bound what is remembered, or switch it off. [Verifier.Stats] tells what a verifier
// does and holds; package metrics shows it to Prometheus. Refused tokens leave nothing behind.
package verifier
