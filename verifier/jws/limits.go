package jws

import "github.com/keyherald/keyherald/events/strictjson"

// Limits of a token. They bound what a stranger can make a service do before anything is proved: reading a token of
// any content costs less than half of checking one signature.
const (
	// MaxToken is the length of a token, in bytes: what HTTP servers take as one header line.
	MaxToken = 8 << 10
	// MaxHeader is the size of the decoded header, in bytes. It fits the longest kid, escaped, and then some, and it is
	// decoded on the stack: a token with a bad header costs no memory.
	MaxHeader = 1 << 10
	// MaxSignature is the size of the decoded signature, in bytes: that of RSA with 8192 bits, the longest key there is.
	MaxSignature = 1 << 10
	// MaxKeyID is the length of a kid, in bytes: as long as the names of foreign keys can be.
	MaxKeyID = 256
	// MaxClaims is the number of members of the claims, known or not.
	MaxClaims = strictjson.MaxMembers
	// MaxValues is the number of members and elements in the claims, at all depths: a short one takes as long to read as a
	// hundred bytes of text.
	MaxValues = strictjson.MaxValues
	// MaxDepth is how deeply header and claims nest; the object itself counts as 1.
	MaxDepth = strictjson.MaxDepth
	// MaxAudience is the number of audiences of one token: each is compared with the verifier's.
	MaxAudience = 16
	// MaxScopes is the number of entries of an array of scopes. A string of scopes is bounded by MaxToken alone.
	MaxScopes = 128
	// MinRSABits is the size of an RSA modulus, in bits: RFC 7518 §3.3 and §3.5 demand it.
	MinRSABits = 2048
)
