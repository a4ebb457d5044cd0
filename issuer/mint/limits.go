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

// Of a source, which renews a token when a part of its life is left: time enough for many attempts, and little of the life lost.
const (
	renewPart  = 10 // the part is one in so many, plus up to a half of that by chance,
	renewLeast = 10 * time.Second
	renewMost  = 5 * time.Minute
	// retryFirst and retryMost bound the backoff after a request that failed. Callers that have no token get its error in the
	// meantime: they are not made to wait, and the token service is not asked by every one of them.
	retryFirst = 250 * time.Millisecond
	retryMost  = 10 * time.Second
	// renewAge is how old a token must be for another one to be worth a request because a service refused it: what is
	// refused when it is new is refused for another reason than its age, and the next one would be, too.
	renewAge = 10 * time.Second
)

// maxDrain is how much of a refusal's body is read, in bytes, so that its connection can be used again.
const maxDrain = 4 << 10
