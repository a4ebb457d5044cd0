package admin

import "time"

const (
	// maxBody is the size of a request's body, in bytes: what a strict JSON reader takes.
	maxBody = 64<<10 - 1
	// maxCursor is the size of a cursor, in bytes: a token of a name and some claims has less than 1 KiB.
	maxCursor = 2 << 10
	// defaultPage and maxPage are how many clients are in a page.
	defaultPage = 20
	maxPage     = 100
	// profileReaders is how many profiles of a page are read from the bucket at one time.
	profileReaders = 8
	// requestTimeout bounds the work on a request: less than the server's time to write the answer.
	requestTimeout = 10 * time.Second
	// retryAfter is what a client is told to wait when nothing can be decided.
	retryAfter = 5 * time.Second
	// A caller may write 200 times at once, which sets up a deployment or ends a bad day, and then once in 200 milliseconds: clients and
	// revoked keys stay for ever, in the memory of every node and verifier. It counts at each node and for each client that calls.
	writeBurst = 200
	writeRate  = 200 * time.Millisecond
	// throttleMemory is how many callers are remembered, well below a megabyte: few clients have a scope that gets them this far.
	throttleMemory = 1 << 12
)
