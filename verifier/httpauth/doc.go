// Package httpauth protects handlers of net/http with access tokens (RFC 6750).
//
//	mux.Handle("GET /orders", httpauth.Require(v, "orders:read")(handler)) // v is a *verifier.Verifier
//
//	token, _ := httpauth.FromContext(r.Context()) // in the handler: who calls, and what it may do
//
// What [Require] returns is middleware as every router of net/http takes it. [New] makes a [Guard] for all that there is to set.
//
// # What is answered
//
//	no token                                    401  WWW-Authenticate: Bearer realm="…"
//	a token that is not valid                   401  … error="invalid_token"
//	a good one that lacks a required scope      403  … error="insufficient_scope", scope="what is required"
//	a request that cannot be understood         400  … error="invalid_request"
//	a token that cannot be judged now           503  Retry-After, and no challenge: another token would not help
//
// Why a token is not valid stands in the log and is told to [Config.Refused], never to the caller: who guesses learns nothing
// more (RFC 6750 §3.1). Answers to refused requests are not to be stored; to accepted ones nothing is added.
//
// # Where the token may be
//
// In the Authorization header, scheme Bearer in any case, then one space or more, then the token (RFC 9110 §11.4, RFC 6750 §2.1). Another
// scheme, such as Basic or DPoP, counts as no token. In the query (access_token) or in a cookie it is found only if the configuration says
// so; query strings are in logs and histories, and cookies are sent by browsers whoever wrote the page, so that a service
// that takes them has to do something against forged requests (CSRF). A request has one token at most (RFC 6750 §2): a second Authorization
// header, or one beside access_token in the query, is an error, whether tokens are taken from there or not. The body is never read:
// a token in a form (RFC 6750 §2.2) is no token.
//
// A token that is bound to a certificate (RFC 8705 §3) is accepted on the TLS connection of that certificate only, or with what
// [Config.Certificate] says.
package httpauth
