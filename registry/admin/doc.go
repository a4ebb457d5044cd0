// Package admin is the registry over HTTP, in the shape of Authress, so that its SDKs and scripts work with our issuer URL.
//
//	api, err := admin.New(admin.Config{Issuer: "https://auth.example.com", Registry: reg, Keys: keys, Authorizer: …, Cursors: …})
//	for _, pattern := range admin.Patterns(issuer) {
//		mux.Handle(pattern, api.Handler())
//	}
//	mux.Handle("GET "+admin.DocumentPattern(issuer), admin.OpenAPI(issuer))
//
// # Endpoints
//
// Under the path of the issuer's URL; openapi.json has every member.
//
//	POST   /v1/clients                                    create a client                      clients:write
//	GET    /v1/clients?limit&cursor                       list the clients, by id              clients:read
//	GET    /v1/clients/{clientId}                         one client                           clients:read
//	PUT    /v1/clients/{clientId}                         change a client                      clients:write
//	DELETE /v1/clients/{clientId}                         disable a client                     clients:write
//	POST   /v1/clients/{clientId}/access-keys             add a key, made here or brought      keys:write
//	DELETE /v1/clients/{clientId}/access-keys/{keyId}     revoke a key for ever                keys:write
//	POST   /v1/clients/{clientId}/secrets                 add an API key                       keys:write
//	GET    /v1/clients/{clientId}/secrets                 list API keys                        clients:read
//	DELETE /v1/clients/{clientId}/secrets/{secretId}      revoke an API key                    keys:write
//
// A client is never deleted, so that nobody else can get its id: DELETE disables it, with all its tokens for ever. From then on it is
// not there for this API (404), and its id is taken (409). An operator can enable it again with keyherald client enable.
//
// # Who may
//
// The caller shows an access token (RFC 6750), in one Authorization header and nowhere else: one of the platform for the issuer's
// URL, or one that a client has minted for it or for the audience of the account. Its scope must have the value above. The
// registry then holds the caller to it that nobody grants more than he has: see [registry.Authority].
//
// # How much
//
// A client that calls may write 200 times at once and then five times a second, at each node: a write beyond that is 429, with Retry-After. DELETE
// is not limited. In all, callers may create clients until there are [registry.DefaultMaxClients], those that were deleted and those of
// operators included (409, its type ends with full).
//
// # What a client gets that sends only a name
//
// No scope, the audience of the account, and leave to mint its own tokens, as the SDKs expect: it can prove who it is, and nothing else. The
// members scope, audience, resource, offline and maxTokenTtl, which Authress does not have, say otherwise. A caller that may not
// mint makes clients that may not; one that may not give the audience of the account gives its own; and no token lives longer than
// the caller's.
//
// PUT replaces name, options and tags: what is left out is gone. The members that Authress does not have stay as they are when they
// are left out, or else an SDK that changes a name would take a client's rights away. PUT with If-Match changes the client only if neither it nor
// its keys have changed since the answer with that ETag.
//
// # Errors
//
// Problem details (RFC 9457). A body that is malformed, or that cannot be a record, is 400. 503 is either that nothing was done, or that
// it is not known whether something was (its type ends with outcome-unknown): all requests may be repeated, and those that create something
// should be preceded by a look at what is there. A refusal does not say what others have or who they are: that is in the log. Members of a body that are not known are ignored; wrong types and duplicates are not.
//
// # Cursors
//
// A cursor is opaque, signed by the node that made it, good for ten minutes, at every node, and only for the caller that got it. See [Cursors].
package admin
