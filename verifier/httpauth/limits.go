package httpauth

import "time"

const (
	// maxToken is the length of a token, in bytes: no verifier takes a longer one, so it is not even looked at.
	maxToken = 8 << 10
	// retryAfter is when to try again after 503: a verifier that has lost contact looks for it every few seconds.
	retryAfter = 5 * time.Second
	// logRate is how many refusals a second are logged, and logBurst how many at once. What was left out is counted in the next line.
	logRate  = 10
	logBurst = 50
)
