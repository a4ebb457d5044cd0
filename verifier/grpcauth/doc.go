// Package grpcauth protects the services of a gRPC server with access tokens.
//
//	guard, err := grpcauth.New(grpcauth.Config{
//		Verifier: v, // a *verifier.Verifier
//		Methods: map[string]grpcauth.Access{
//			"/orders.Orders/List":     grpcauth.Require("orders:read"),
//			"/orders.Orders/":         grpcauth.Require("orders:write"), // all its other methods
//			"/grpc.health.v1.Health/": grpcauth.Open(),                  // no token needed
//		},
//	})
//	server := grpc.NewServer(guard.ServerOptions()...)
//
//	token, ok := grpcauth.FromContext(ctx) // in a method: who calls, and what it may do; none if the method is open
//
// A method that Methods does not name is refused to everybody: one that is added to a service later is not open by mistake.
//
// # What is answered
//
//	no token, or one that is not valid          Unauthenticated
//	a good one that lacks a required scope      PermissionDenied
//	a method that is not named                  PermissionDenied
//	a token that cannot be judged now           Unavailable, with google.rpc.RetryInfo
//
// Why a token is not valid stands in the log and is told to [Config.Refused], never to the caller: who guesses learns nothing more.
//
// # Where the token is
//
// In the metadata authorization, once: the scheme Bearer in any case, then one space or more, then the token. If authorization is there
// twice, the call is refused, whichever value is good.
//
// A token that is bound to a certificate (RFC 8705 §3) is accepted only on the TLS connection of that certificate, which the
// server must ask for: a [crypto/tls.Config] with ClientAuth. Where a proxy ends TLS there is none, and such tokens are refused.
//
// # Streams
//
// A token is judged when the stream begins, and again for every message that passes, in either direction: that is one verification, which
// makes no call. So a stream lives no longer than its token. When that expires or is revoked, or its client loses a scope that
// is required, the next message is not delivered, the stream's context is cancelled, and the stream ends with the status
// above, whatever its handler returns. It also ends, with Unavailable, when the token cannot be judged any more. The client begins
// anew, after Unavailable with the same token, else with a new one. A stream on which no message passes is left
// alone: nobody is told anything on it. [FromContext] returns what the token was good for when the stream began.
package grpcauth
