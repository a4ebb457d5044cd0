// Package jws reads and makes tokens: signed claims in the compact form of RFC 7515, as RFC 7519 defines them, in the one
// strict dialect that everybody in keyherald speaks. It decides what a token says; whether to believe it is for
// others to decide, with [Verify] and the key that they, not the token, choose.
//
// # Form
//
// A token is
//
//	base64url(header) "." base64url(claims) "." base64url(signature)
//
// with exactly three segments, none empty, of A-Z a-z 0-9 - and _ only, unpadded, the unused bits of a last character zero.
// So a token has one spelling: [Parse] accepts no two strings with the same content, and what is remembered of a token by
// its text cannot be evaded by writing it differently. Encrypted tokens (five segments), JSON serializations, detached
// content and unencoded payloads (RFC 7797) are refused, before anything is decoded where the form shows it.
//
// # Header
//
// A JSON object in which these members matter; every other is ignored.
//
//	alg   required: EdDSA, Ed25519 (RFC 9864), ES256, RS256 or PS256, exactly so. There is no "none", no HMAC
//	kid   required: the key's name within its issuer, 1 to 256 bytes
//	typ   what kind of token it is; see [Header.IsType]
//	crit  refused whatever it says (RFC 7515 §4.1.11: no extension is understood); so are b64 and enc
//	jku, jwk, x5u, x5c  never used: a key does not come from a token. [Header.Ignored] tells that they were there
//
// # Claims
//
// A JSON object in which these members matter. One that is there must be of its type; what is required is for the reader
// to say. An identifier is a string that is not empty and has no control characters. A time is a number of seconds since
// 1970, an integer written as one (no fraction, no exponent), from 0 to 2^53 - 1.
//
//	iss, sub, client_id, jti   identifiers
//	aud                        an identifier, or an array of 1 to 16, to the same effect
//	exp, nbf, iat              times
//	scope                      a string, scopes separated by spaces. Where it is missing, scopes counts: the
//	                           same, or an array of single scopes, as some clients send it
//	nonce, at_hash, c_hash     only their presence matters: they mark an ID token
//	token_use                  an identifier
//	cnf                        an object: the token is bound to a key (RFC 7800)
//
// Both objects are read by package strictjson: valid UTF-8, no duplicate names at any depth, names compared exactly,
// nesting and members limited. All limits are in limits.go.
//
// # Signature
//
// Over the ASCII bytes of the first two segments and their dot. Ed25519 as RFC 8037 §3.1 has it; ES256 as the 64 bytes
// R || S (RFC 7518 §3.4); RS256 and PS256 (RFC 7518 §3.3, §3.5: salt as long as the hash) with moduli of 2048
// bits or more.
//
// # Example
//
// This token (the package's Example makes it and reads it again)
//
//	eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIiwidHlwIjoiYXQrand0In0
//	.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZS5jb20vdjEvY2xpZW50cy9vcmRlcnMiLCJzdWIiOiJvcmRlcnMi
//	 LCJhdWQiOiJodHRwczovL2JpbGxpbmciLCJleHAiOjE3OTAwMDA5MDB9
//	.R_er72OqAuwQna5T-a2c9rFsWIYkcpYu65i2chvXZ-lZYS_0Wz6vPBDEBuD3Xr6tgIWCRHRGyhv7pWgSTSomDQ
//
// has the header and the claims
//
//	{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}
//	{"iss":"https://auth.example.com/v1/clients/orders","sub":"orders","aud":"https://billing","exp":1790000900}
//
// and whoever reads it does
//
//	token, err := jws.Parse(text)
//	// look the key up by token.Claims.Issuer and token.Header.KeyID, with the algorithm that is registered for it;
//	// refuse unless token.Header.Algorithm.Same(registered.Algorithm)
//	err = jws.Verify(registered.Algorithm, registered.Key, token.SigningInput(), token.Signature())
//	// then judge the claims
package jws
