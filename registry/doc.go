// Package registry is the write authority: the one place that registers clients, keys, API keys, certificates, federated identities and
// external issuers, ends and revokes them, and knows what must not be written.
//
// The buckets refuse nothing: whoever has an operator's credential may put any record with the nats command, and the fold of
// package events makes the best of it. What comes through a Registry has been checked before:
//
//   - a name is given once. Clients are disabled, never deleted, and a name whose record was deleted by other means is not given again;
//   - a key that is registered is public, strong, new (no other issuer has it) and has a window that is yet to end;
//   - a rotation makes before it breaks: the new key is acknowledged before an old one gets its end, and an old key ends when the
//     last token that it may have signed has ended, unless somebody forces it;
//   - an identifier (iss) has one owner;
//   - keys that an external issuer publishes come and go as it says ([Registry.SyncKeys]), but never against what an operator decided.
//
// Every operation that writes takes a [Caller], who goes into the record's message as a header and, together with what was done to
// what and with which outcome, into one line of the audit log; refused attempts too. No secret is in a line or in an error.
// Who may call at all is decided by NATS: a Registry can do what the credential of its connection can. On whose behalf it does so may
// be bounded further by an [Authority]: a caller that came with an access token can give to others only what it has itself, in scope,
// audiences, resources, and the making and the life of tokens. That is held against the very record that a write replaces. For a credential, which is a record of its own,
// it is looked at before and after the write; what should not be there then is revoked before anybody gets the private half. (Who brings
// the public half of a key along has it already: his key is trusted for the milliseconds in between.)
//
// A client may have a profile (name, options, tags), which is for people and their programs and decides nothing. It is in another record
// than what the client may do, and of the two writes the one that matters decides: a new client's comes last, a changed one's first.
//
// # Concurrency
//
// Every write is a compare-and-set of one record, and what it is based on is read again after a conflict: any number of registries,
// and the nats command, may write at the same time and nothing is lost. What depends on several records (how many keys a client has,
// whether another has the same public key or iss) is decided in a key set that is brought up to date first. That
// is exact within a Registry, which takes such decisions one at a time. Two registries that take
// one in the very same moment can both say yes, so that a client has a sixth key, or a public key two
// owners. Neither lets anybody in who was not: a key counts for the issuer that it is registered under, and of two external issuers with
// one iss none is trusted.
//
// # Outcomes
//
// An error that tests as [bus.ErrUnknownOutcome] says that the write may have taken place. All operations may be repeated: what
// has been done is found and left as it is, and a key or API key of which nobody has the private half is ended by the next
// rotation, or can be revoked by the id in the error.
//
//	reg, err := registry.New(registry.Config{Store: conn, Keys: keys, Logger: log})
//	by := registry.Caller{Name: "cli:alice@laptop"}
//	client, err := reg.CreateClient(ctx, by, "orders", registry.ClientSpec{Audience: []string{"https://billing"}, Offline: true})
//	key, err := reg.AddKey(ctx, by, "orders", registry.KeySpec{})
//	fmt.Println(key.AccessKey.Reveal()) // once, and nowhere else
//	rotated, err := reg.RotateKey(ctx, by, "orders", registry.Rotation{Overlap: time.Hour})
//	revoked, err := reg.RevokeKey(ctx, by, "orders", key.KeyID, "laptop lost")
package registry
