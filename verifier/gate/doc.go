// Package gate judges the tokens of requests that a reverse proxy asks about, for services in any language (forward authentication).
//
//	g, err := gate.New(gate.Config{Verifier: v, Policies: map[string]gate.Policy{"orders": {Scopes: []string{"orders:read"}}}})
//	http.Serve(listener, g.Handler())
//
// A proxy sends the head of each request here first, and lets it pass to the service if the answer is 200. Any other answer is the
// caller's; they are those of package [httpauth].
//
//	/verify, /verify/POLICY    nginx auth_request, Traefik ForwardAuth, Caddy forward_auth
//	/ext_authz/POLICY/…        Envoy ext_authz over HTTP, which appends the path and the query of the client; any method
//	/healthz, /readyz          the process answers; tokens can be judged
//
// # What is required
//
// What a token must have is a named [Policy] of the configuration; the one named default is that of /verify, and may be asked for by its
// name, too. The name is in the part of the path that the proxy's configuration writes. Nothing of the requirements is read from a query:
// some proxies append the client's, and a client must not choose what is asked of it. A query at /verify that looks as if somebody
// wanted to set requirements there is answered with 500, since to ignore it would accept more than was meant. There is no policy but those
// that are configured, and a path that names another is not found: no proxy takes 404 for leave to pass.
//
// # Who calls
//
// An accepted request is answered with all of these headers, always, and empty if there is nothing to say. So a proxy that copies them to the
// request replaces whatever the client has sent under their names, which is never looked at here:
//
//	X-Auth-Client        the service client; empty for a token of an external issuer
//	X-Auth-Subject       sub; of an external issuer it says nothing about our clients
//	X-Auth-Issuer        iss
//	X-Auth-Issuer-Name   the name of its record: platform, a client, or an external issuer
//	X-Auth-Scope         the effective scope, values separated by a space
//	X-Auth-Audience      aud, entries separated by a space
//	X-Auth-Token-Id      jti
//	X-Auth-Expires       exp, seconds since 1970
//
// In their values everything but printable ASCII is percent-encoded, byte by byte, and so are the percent sign and, within an entry, the
// space: a claim cannot end a header, and what decodes percent-encoding gets the claim back.
//
// # Where the token is looked for
//
// In the Authorization header, and, if so configured, in a cookie or in the query of the client's request: that of X-Forwarded-Uri, and at
// /ext_authz/ the query itself. More than one token is an error. Bodies are not read.
package gate
