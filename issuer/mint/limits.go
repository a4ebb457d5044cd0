package mint

import "time"

// Of requests to the token service.
const (
	// assertionTTL is the life of an assertion. It is used at once, and once.
	assertionTTL = 60 * time.Second
	// maxResponse is the size of an answer, in bytes: a token has at most 8 KiB.
	maxResponse = 64 << 10
	// requestTimeout is how long the HTTP client that is used by default waits, and a [Source] for one token.
	requestTimeout = 10 * time.Second
	// maxRetryAfter bounds what an answer may say about when to ask again: whoever answers once shall not silence a client for long.
	maxRetryAfter = time.Minute
)
