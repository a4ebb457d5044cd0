package clientauth

import "time"

const (
	// MaxAssertionLife is how long a client assertion may live, and so how old one may be. It is made for one request;
	// what is stolen of it should be worth nothing soon. Five minutes is what common libraries make.
	MaxAssertionLife = 5 * time.Minute
	// leeway is the tolerance for clocks that differ, as verifiers have it.
	leeway = 30 * time.Second
)
