package clientauth

import "time"

const (
	// MaxAssertionLife is how long a client assertion may live, and so how old one may be. It is made for one request;
	// what is stolen of it should be worth nothing soon. Five minutes is what common libraries make.
	MaxAssertionLife = 5 * time.Minute
	// MaxGrantLife is how long the assertion of a jwt-bearer grant may live: common libraries sign for an hour.
	MaxGrantLife = time.Hour
	// leeway is the tolerance for clocks that differ, as verifiers have it.
	leeway = 30 * time.Second
	// memoryTimeout is how long the replay memory may take for one assertion. A write takes milliseconds; a client that
	// has waited longer has a better use for the time than to wait on.
	memoryTimeout = 5 * time.Second
	// maxIntermediates is how many certificates between its own and its authority a client can make us look at: each may cost
	// a signature, and nobody's chain is that long.
	maxIntermediates = 4
)
